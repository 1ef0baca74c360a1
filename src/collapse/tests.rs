use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;

use super::*;
use crate::clock::Clock;

#[derive(Debug)]
enum Words {}

impl Cargo for Words {
    type Mark = ();
    type Head = &'static str;
    type Response = &'static str;
    type Error = &'static str;
}

mod interleavings;
mod pace;

const KEY: FlightKey = FlightKey(7);
const PATIENCE: Duration = Duration::from_secs(1);
const CHUNK: usize = 64 * 1024;

fn chunk() -> bytes::Bytes {
    vec![0; CHUNK].into()
}

fn flight(followers: usize) -> (Flights<Words>, Producer<Words>, Vec<Seat<Words>>) {
    let flights = Flights::new(u64::MAX, Clock::start());
    let Joined::Leader(producer, first) = flights.join(KEY, |_| true, || ()) else {
        panic!("nobody else is there")
    };
    let mut seats = vec![first];
    for _ in 0..followers {
        let Joined::Follower(seat) = flights.join(KEY, |_| true, || ()) else { panic!("there is a flight") };
        seats.push(seat);
    }
    (flights, producer, seats)
}

async fn reader(seat: Seat<Words>) -> Reader<Words> {
    match seat.outcome().await {
        Outcome::Shared(_, reader) => reader,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_of_the_first_sends_the_others_on_their_own() {
    let (_flights, producer, seats) = flight(2);
    producer.refuse("not you");
    let mut outcomes = Vec::new();
    for seat in seats {
        outcomes.push(match seat.outcome().await {
            Outcome::Failed(reason) => reason,
            Outcome::Alone => "alone",
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(outcomes, ["not you", "alone", "alone"]);
}

#[tokio::test]
async fn a_failure_of_the_fetch_is_everybodys() {
    let (_flights, producer, seats) = flight(2);
    producer.fail("unreachable");
    for seat in seats {
        assert!(matches!(seat.outcome().await, Outcome::Failed("unreachable")));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_fetched_for_readers_that_were_all_cut() {
    let (flights, mut producer, seats) = flight(1);
    producer.share("head");
    let mut stalled = Vec::new();
    for seat in seats {
        stalled.push(reader(seat).await);
    }
    let pushed = async {
        let mut pushed = 0;
        while producer.push(chunk(), 0, PATIENCE).await.is_ok() {
            pushed += 1;
        }
        pushed
    };
    assert!(pushed.await < 8);
    producer.abandoned().await;
    assert!(flights.retained() <= 2 * CHUNK as u64);
}

#[tokio::test]
async fn a_producer_that_is_lost_breaks_every_body_off() {
    let (_flights, mut producer, mut seats) = flight(0);
    producer.share("head");
    producer.push(chunk(), u64::MAX, PATIENCE).await.unwrap();
    drop(producer);
    let mut reader = reader(seats.remove(0)).await;
    assert!(reader.frame().await.is_some_and(|frame| frame.is_ok()));
    assert!(matches!(reader.frame().await, Some(Err(Broken))));
}

#[tokio::test]
async fn who_joins_while_a_flight_is_given_up_gets_all_of_it() {
    let (flights, mut producer, seats) = flight(0);
    producer.share("head");
    drop(seats);
    producer.abandoned().await;
    let Joined::Follower(late) = flights.join(KEY, |_| true, || ()) else { panic!("it has not landed") };
    assert!(!flights.give_up(KEY, &producer));
    assert!(matches!(flights.join(KEY, |_| true, || ()), Joined::Leader(..)), "nobody joins after that");
    let late = reader(late).await;
    producer.push(chunk(), u64::MAX, PATIENCE).await.unwrap();
    producer.finish(None);
    assert_eq!(late.collect().await.unwrap().to_bytes().len(), CHUNK);
}

#[tokio::test]
async fn a_flight_that_everybody_has_left_is_given_up() {
    let (flights, producer, seats) = flight(1);
    drop(seats);
    producer.abandoned().await;
    assert!(flights.give_up(KEY, &producer));
    assert_eq!(flights.count(), 0);
}

#[tokio::test]
async fn a_fetch_that_panics_leaves_no_flight_behind() {
    let (flights, producer, mut seats) = flight(0);
    let flights = Arc::new(flights);
    let under_way = Arc::clone(&flights);
    let fetch = tokio::spawn(async move {
        let _landing = under_way.landing(KEY, &producer);
        tokio::task::yield_now().await;
        panic!("a fault in the fetch");
    });
    assert!(fetch.await.is_err());
    assert_eq!(flights.count(), 0);
    assert!(matches!(seats.remove(0).outcome().await, Outcome::Alone));
}

#[tokio::test]
async fn a_landing_leaves_a_later_flight_alone() {
    let (flights, producer, _seats) = flight(0);
    let landing = flights.landing(KEY, &producer);
    flights.land(KEY, &producer);
    let Joined::Leader(..) = flights.join(KEY, |_| true, || ()) else { panic!("the first has landed") };
    drop(landing);
    assert_eq!(flights.count(), 1);
}

#[test]
fn no_more_take_part_than_may() {
    let (flights, _producer, seats) = flight(flights::MAX_SEATS - 1);
    assert!(matches!(flights.join(KEY, |_| true, || ()), Joined::Full));
    drop(seats);
    assert!(matches!(flights.join(KEY, |_| true, || ()), Joined::Follower(_)));
}

#[test]
fn who_insists_joins_only_before_the_upstream_is_asked() {
    let (flights, producer, _seats) = flight(0);
    let insist = || flights.join(KEY, |flight| !flight.has_departed(), || ());
    assert!(matches!(insist(), Joined::Follower(_)));
    producer.depart();
    assert!(matches!(insist(), Joined::Leader(..)));
}

#[test]
fn what_could_not_be_shared_is_forgotten_in_time_or_when_it_can_be() {
    let flights = Flights::<Words>::with_memory(u64::MAX, Clock::start(), Duration::from_millis(50));
    let is_alone = || matches!(flights.join(KEY, |_| true, || ()), Joined::Alone);
    assert!(!is_alone());
    flights.remember_unshareable(KEY);
    assert!(is_alone());
    flights.forget_unshareable(KEY);
    assert!(!is_alone());
    flights.remember_unshareable(KEY);
    let (clock, mut looks) = (Clock::start(), 0_u64);
    while is_alone() {
        looks += 1;
        assert!(
            clock.now() - clock.epoch() < Duration::from_secs(30),
            "still remembered after {looks} looks"
        );
        std::thread::yield_now();
    }
}
