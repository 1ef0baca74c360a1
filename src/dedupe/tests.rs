use std::time::Duration;

use super::*;
use crate::clock::Clock;

fn now() -> Instant {
    Clock::start().now()
}

fn starts() -> Arc<Starts<&'static str>> {
    Arc::default()
}

fn answer(body: &'static str) -> Outcome<&'static str> {
    let (status, headers) = (StatusCode::OK, HeaderMap::new());
    Outcome::Answered(Arc::new(Answer { status, headers, body: Bytes::from_static(body.as_bytes()) }))
}

fn first(starts: &Arc<Starts<&'static str>>, key: u128) -> (Ticket<&'static str>, Waiting<&'static str>) {
    match starts.enter(key, 0, now()) {
        Entered::First(ticket, waiting) => (ticket, waiting),
        other => panic!("{other:?}"),
    }
}

async fn body(waiting: Waiting<&'static str>) -> String {
    match waiting.outcome().await {
        Some(Outcome::Answered(answer)) => String::from_utf8_lossy(&answer.body).into_owned(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_start_is_waited_for_and_then_answered_until_its_time_is_over() {
    let starts = starts();
    let (ticket, own) = first(&starts, 1);
    let Entered::Same(follower) = starts.enter(1, 0, now()) else { panic!() };
    assert!(matches!(starts.enter(1, 9, now()), Entered::Other), "the key was used for another request");
    let until = now() + Duration::from_secs(5);
    ticket.keep(answer("one"), until);
    assert_eq!((body(own).await, body(follower).await), ("one".into(), "one".into()));
    tokio::time::advance(Duration::from_millis(4999)).await;
    let Entered::Same(late) = starts.enter(1, 0, now()) else { panic!() };
    assert!(late.has_ended());
    assert_eq!(body(late).await, "one");
    tokio::time::advance(Duration::from_millis(1)).await;
    first(&starts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_told_to_those_who_wait_and_to_nobody_after_them() {
    let starts = starts();
    let (ticket, own) = first(&starts, 1);
    let Entered::Same(follower) = starts.enter(1, 0, now()) else { panic!() };
    ticket.tell(Outcome::Failed("no"));
    drop(ticket);
    for waiting in [own, follower] {
        assert!(matches!(waiting.outcome().await, Some(Outcome::Failed("no"))));
    }
    first(&starts, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_may_have_been_made_and_is_lost_is_not_made_by_those_who_wait() {
    let starts = starts();
    let (ticket, own) = first(&starts, 1);
    let Entered::Same(follower) = starts.enter(1, 0, now()) else { panic!() };
    ticket.begun("lost");
    drop(ticket);
    for waiting in [own, follower] {
        assert!(matches!(waiting.outcome().await, Some(Outcome::Failed("lost"))));
    }
    first(&starts, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_on_after_its_news_is_not_made_again_before_its_end() {
    let starts = starts();
    let (ticket, _own) = first(&starts, 1);
    let under_way = ticket.clone();
    ticket.begun("lost");
    ticket.tell(Outcome::Failed("late"));
    drop(ticket);
    let Entered::Same(again) = starts.enter(1, 0, now()) else { panic!("it is under way") };
    assert!(matches!(again.outcome().await, Some(Outcome::Failed("late"))));
    drop(under_way);
    first(&starts, 1);
}

/// A reload may shorten the window.
#[tokio::test(start_paused = true)]
async fn each_is_kept_for_its_own_time() {
    let starts = starts();
    first(&starts, 1).0.keep(answer("long"), now() + Duration::from_secs(3600));
    first(&starts, 2).0.keep(answer("short"), now() + Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(5)).await;
    first(&starts, 2);
    assert!(matches!(starts.enter(1, 0, now()), Entered::Same(_)));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_to_no_end_is_tried_anew() {
    let starts = starts();
    let (ticket, _own) = first(&starts, 1);
    let Entered::Same(follower) = starts.enter(1, 0, now()) else { panic!() };
    drop(ticket);
    assert!(follower.outcome().await.is_none());
    first(&starts, 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_abandoned_when_the_last_has_left_and_not_before() {
    let starts = starts();
    let (ticket, own) = first(&starts, 1);
    let Entered::Same(follower) = starts.enter(1, 0, now()) else { panic!() };
    let is_abandoned =
        async || tokio::time::timeout(Duration::from_secs(1), ticket.abandoned()).await.is_ok();
    drop(own);
    assert!(!is_abandoned().await);
    drop(follower);
    assert!(is_abandoned().await);
    first(&starts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded_in_number_and_size() {
    let starts = starts();
    let until = now() + Duration::from_secs(3600);
    for key in 0..2 * MAX_STARTS as u128 {
        first(&starts, key).0.keep(answer("x"), until);
    }
    let running: Vec<_> = (0..MAX_STARTS as u128).map(|key| first(&starts, 1 << 64 | key)).collect();
    assert!(matches!(starts.enter(7, 0, now()), Entered::Full));
    drop(running);
    let large: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    for key in 0..100 {
        first(&starts, 2 << 64 | key).0.keep(answer(large), until);
    }
    let table = starts.table.lock();
    assert!(
        table.bytes <= MAX_BYTES && table.entries.len() < 32,
        "{} in {}",
        table.bytes,
        table.entries.len()
    );
}

#[test]
fn bodies_that_are_compared_are_bounded_together() {
    let starts = starts();
    let held: Vec<_> = (0..64).map(|_| starts.room(1 << 20).unwrap()).collect();
    assert!(starts.room(1).is_none());
    assert!(starts.room(0).is_some(), "without a body");
    drop(held);
    assert!(starts.room(1 << 20).is_some());
}
