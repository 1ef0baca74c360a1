use http_body_util::BodyExt as _;

use super::*;

#[derive(Debug)]
enum Words {}

impl Cargo for Words {
    type Mark = ();
    type Head = &'static str;
    type Response = &'static str;
    type Error = &'static str;
}

const KEY: FlightKey = FlightKey(7);
const PATIENCE: Duration = Duration::from_secs(1);
const CHUNK: usize = 64 * 1024;

fn chunk() -> bytes::Bytes {
    vec![0; CHUNK].into()
}

fn flight(followers: usize) -> (Flights<Words>, Producer<Words>, Vec<Seat<Words>>) {
    let flights = Flights::new(u64::MAX);
    let Joined::Leader(producer, first) = flights.join(KEY, |()| true, || ()) else {
        panic!("nobody else is there")
    };
    let mut seats = vec![first];
    for _ in 0..followers {
        let Joined::Follower(seat) = flights.join(KEY, |()| true, || ()) else { panic!("there is a flight") };
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
async fn a_slow_reader_is_cut_and_the_others_get_everything() {
    let (_flights, producer, mut seats) = flight(1);
    producer.share("head");
    let mut slow = reader(seats.remove(0)).await;
    let quick = tokio::spawn(reader(seats.remove(0)).await.collect());
    for _ in 0..32 {
        producer.push(chunk(), 0, PATIENCE).await.unwrap();
        tokio::task::yield_now().await;
    }
    producer.finish(None);
    assert_eq!(quick.await.unwrap().unwrap().to_bytes().len(), 32 * CHUNK);
    assert!(matches!(slow.frame().await, Some(Err(Broken))));
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_fetched_for_readers_that_were_all_cut() {
    let (flights, producer, seats) = flight(1);
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
    assert!(flights.retained.load(std::sync::atomic::Ordering::Relaxed) <= 2 * CHUNK as u64);
}

#[tokio::test]
async fn a_producer_that_is_lost_breaks_every_body_off() {
    let (_flights, producer, mut seats) = flight(0);
    producer.share("head");
    producer.push(chunk(), u64::MAX, PATIENCE).await.unwrap();
    drop(producer);
    let mut reader = reader(seats.remove(0)).await;
    assert!(reader.frame().await.is_some_and(|frame| frame.is_ok()));
    assert!(matches!(reader.frame().await, Some(Err(Broken))));
}

#[tokio::test]
async fn who_joins_while_a_flight_is_given_up_gets_all_of_it() {
    let (flights, producer, seats) = flight(0);
    producer.share("head");
    drop(seats);
    producer.abandoned().await;
    let Joined::Follower(late) = flights.join(KEY, |()| true, || ()) else { panic!("it has not landed") };
    assert!(!flights.give_up(KEY, &producer));
    assert!(matches!(flights.join(KEY, |()| true, || ()), Joined::Leader(..)), "nobody joins after that");
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
    let Joined::Leader(..) = flights.join(KEY, |()| true, || ()) else { panic!("the first has landed") };
    drop(landing);
    assert_eq!(flights.count(), 1);
}
