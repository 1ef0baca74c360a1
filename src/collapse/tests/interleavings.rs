//! The flights once more, built from the same sources on the locks of a model checker, which runs their threads in one
//! order after the other. It reports who waits for ever, so that no wake-up is ever lost; the tests see to it that nobody
//! takes a part of a body for the whole, and that nothing is kept in the end.

use std::cell::Cell;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use shuttle::future::block_on;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread::{self, JoinHandle};

use self::checked::flight::{Outcome, Producer, Seat};
use self::checked::flights::{Flights, Joined};
use super::{KEY, Words};
use crate::checker::in_many_orders;
use crate::clock::Clock;

#[expect(clippy::duplicate_mod, reason = "the same files on other locks")]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "what is not tried here is used by the other build of these files"
)]
#[path = ".."]
mod checked {
    pub(super) mod flight;
    pub(super) mod flights;
    pub(super) mod reader;

    pub(crate) use crate::collapse::{Cargo, FlightKey};

    mod sync {
        use std::task::Poll;
        use std::time::Duration;

        pub(super) use crate::checker::{Mutex, MutexGuard};

        /// Where patience may end, it ends at once.
        pub(super) async fn timeout<T>(_: Duration, work: impl Future<Output = T>) -> Result<T, ()> {
            let mut work = std::pin::pin!(work);
            std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending if super::super::ENDS.get() => Poll::Ready(Err(())),
                Poll::Pending => Poll::Pending,
            })
            .await
        }
    }
}

thread_local! {
    /// Whether the fetch's patience with its readers ends. The checker runs all of its threads on one of the system's.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `test` in many orders; at the end of each run nothing may be left.
fn check(patience_ends: bool, test: impl Fn(&Arc<Flights<Words>>) + Send + Sync + 'static) {
    in_many_orders(move || {
        ENDS.set(patience_ends);
        let flights = Arc::new(Flights::new(u64::MAX, Clock::start()));
        test(&flights);
        assert_eq!((flights.count(), flights.retained()), (0, 0));
    });
}

/// Two of them fill the window.
const LENGTH: usize = 128 * 1024;
const CHUNKS: u8 = 5;
static CHUNK: LazyLock<Vec<Bytes>> =
    LazyLock::new(|| (0..CHUNKS).map(|number| vec![number; LENGTH].into()).collect());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    BrokenOff,
}

/// The fetch: the head, the body, the end. As in the proxy, it lands before it finishes.
fn fetch(
    flights: &Arc<Flights<Words>>,
    mut producer: Producer<Words>,
    retain: u64,
    end: End,
) -> JoinHandle<()> {
    let flights = Arc::clone(flights);
    thread::spawn(move || {
        let _landing = flights.landing(KEY, &producer);
        producer.share("head");
        for chunk in CHUNK.iter() {
            if block_on(producer.push(chunk.clone(), retain, super::PATIENCE)).is_err() {
                return;
            }
        }
        flights.land(KEY, &producer);
        if end == End::Whole {
            producer.finish(None);
        }
    })
}

/// What a reader got: how many chunks, in their order, and whether it was told that these are all.
fn read(seat: Seat<Words>, most: usize) -> (usize, Option<End>) {
    block_on(async {
        let Outcome::Shared(_, mut reader) = seat.outcome().await else { panic!("the head is for all") };
        let mut got = 0;
        while got < most {
            match reader.frame().await {
                Some(Ok(frame)) => assert_eq!(frame.into_data().unwrap(), CHUNK[got]),
                Some(Err(_)) => return (got, Some(End::BrokenOff)),
                None => return (got, Some(End::Whole)),
            }
            got += 1;
        }
        (got, None)
    })
}

const ALL: (usize, Option<End>) = (CHUNKS as usize, Some(End::Whole));

/// A request: joins the flight where there is one, else begins one.
fn request(flights: &Arc<Flights<Words>>, retain: u64, end: End) -> (Seat<Words>, Option<JoinHandle<()>>) {
    match flights.join(KEY, |_| true, || ()) {
        Joined::Leader(producer, seat) => (seat, Some(fetch(flights, producer, retain, end))),
        Joined::Follower(seat) => (seat, None),
        other => panic!("{other:?}"),
    }
}

/// Requests that come, read and leave beside one another; what each of them got.
fn crowd(flights: &Arc<Flights<Words>>, end: End) -> Vec<(usize, (usize, Option<End>))> {
    let retain = [0, 3 * LENGTH as u64, u64::MAX][thread_rng().gen_range(0..3)];
    let one = |most: usize| {
        let flights = Arc::clone(flights);
        thread::spawn(move || {
            let (seat, fetch) = request(&flights, retain, end);
            let got = read(seat, most);
            fetch.into_iter().for_each(|fetch| fetch.join().unwrap());
            (most, got)
        })
    };
    let threads: Vec<_> =
        [usize::MAX, usize::MAX, thread_rng().gen_range(0..5)].into_iter().map(one).collect();
    threads.into_iter().map(|one| one.join().unwrap()).collect()
}

#[test]
fn everybody_gets_the_whole_body_or_leaves() {
    check(false, |flights| {
        for (most, got) in crowd(flights, End::Whole) {
            assert_eq!(got, if most == usize::MAX { ALL } else { (most, None) });
        }
    });
}

#[test]
fn a_body_that_breaks_off_is_never_taken_for_a_whole_one() {
    check(false, |flights| {
        for (_, (_, end)) in crowd(flights, End::BrokenOff) {
            assert_ne!(end, Some(End::Whole));
        }
    });
}

#[test]
fn a_reader_that_stalls_stops_nobody_and_learns_that_it_was_cut() {
    check(true, |flights| {
        let Joined::Leader(producer, stalled) = flights.join(KEY, |_| true, || ()) else {
            panic!("the first")
        };
        let (seat, _) = request(flights, 0, End::Whole);
        let quick = thread::spawn(move || read(seat, usize::MAX));
        fetch(flights, producer, 0, End::Whole).join().unwrap();
        for (got, end) in [quick.join().unwrap(), read(stalled, usize::MAX)] {
            assert!(end == Some(End::BrokenOff) || got == usize::from(CHUNKS), "{got} chunks and {end:?}");
        }
    });
}

#[test]
fn a_flight_is_given_up_only_when_nobody_is_left_and_nobody_can_come() {
    check(false, |flights| {
        let Joined::Leader(producer, seat) = flights.join(KEY, |_| true, || ()) else { panic!("the first") };
        let (other, _) = request(flights, u64::MAX, End::Whole);
        let leavers = [seat, other].map(|seat| thread::spawn(move || drop(seat)));
        block_on(producer.abandoned());
        let late = Arc::clone(flights);
        let late = thread::spawn(move || {
            let (seat, fetch) = request(&late, u64::MAX, End::Whole);
            let got = read(seat, usize::MAX);
            fetch.into_iter().for_each(|fetch| fetch.join().unwrap());
            got
        });
        if !flights.give_up(KEY, &producer) {
            fetch(flights, producer, u64::MAX, End::Whole).join().unwrap();
        }
        leavers.into_iter().for_each(|leaver| leaver.join().unwrap());
        assert_eq!(late.join().unwrap(), ALL);
    });
}
