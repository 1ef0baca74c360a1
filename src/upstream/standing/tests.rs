//! The breaker and the checks as rules of `now`.

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

const RULES: BreakerRules = BreakerRules { failures: 3, open: Duration::from_secs(10) };
const CHECKS: CheckRules = CheckRules { unhealthy_after: 3, healthy_after: 2 };

fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn check(standing: &Standing, has_passed: bool, times: u32, now: Instant) {
    (0..times).for_each(|_| {
        standing.checked(has_passed, now, CHECKS);
    });
}

fn fail(standing: &Standing, times: u32, now: Instant) -> Option<Change> {
    (0..times).filter_map(|_| standing.judge(false, None, now, now, Some(RULES))).last()
}

#[test]
fn so_many_failures_in_a_row_open_the_breaker_and_a_success_between_does_not() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    fail(&standing, 2, now);
    standing.judge(true, None, now, now, Some(RULES));
    assert_eq!((fail(&standing, 2, now), standing.share(now)), (None, ALL));
    assert_eq!((fail(&standing, 1, now), standing.share(now)), (Some(Change::Opened), 0));
    assert_eq!(standing.state(now), ServerState::Open);
    assert_eq!(fail(&standing, 9, now), None, "what was under way says nothing new");
}

#[test]
fn without_rules_nothing_opens() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    assert!((0..100).all(|_| standing.judge(false, None, now, now, None).is_none()));
    assert_eq!(standing.share(now), ALL);
}

#[test]
fn one_request_tries_and_decides() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    fail(&standing, 3, now);
    assert!(standing.try_again(now + second(8), Some(RULES)).is_none(), "too early");
    let later = now + second(12);
    let trial = standing.try_again(later, Some(RULES));
    assert!(trial.is_some() && standing.try_again(later, Some(RULES)).is_none(), "one at a time");
    assert_eq!((standing.share(later), standing.state(later)), (0, ServerState::HalfOpen));
    standing.judge(false, trial, later, later, Some(RULES));
    assert_eq!(standing.state(later), ServerState::Open);
    let later = later + second(12);
    drop(standing.try_again(later, Some(RULES)).unwrap());
    let trial = standing.try_again(later, Some(RULES));
    assert!(trial.is_some(), "who leaves without a verdict leaves the try to the next");
    assert_eq!(standing.judge(true, trial, later, later, Some(RULES)), Some(Change::Closed));
    assert_eq!(standing.state(later), ServerState::Returning);
}

#[test]
fn a_try_that_hangs_keeps_nobody_out_for_ever() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    fail(&standing, 3, now);
    let hanging = standing.try_again(now + second(12), Some(RULES));
    assert!(hanging.is_some() && standing.try_again(now + second(20), Some(RULES)).is_none());
    assert!(standing.try_again(now + second(23), Some(RULES)).is_some());
}

/// The first of two overlapping trials, the second, and when both are under way.
fn two_trials(standing: &Standing) -> (Trial<'_>, Trial<'_>, Instant) {
    let now = Clock::start().now();
    fail(standing, 3, now);
    let first = standing.try_again(now + second(12), Some(RULES)).unwrap();
    let now = now + second(23);
    (first, standing.try_again(now, Some(RULES)).unwrap(), now)
}

#[test]
fn a_trial_that_the_next_one_has_overtaken_does_not_decide_in_its_place() {
    for first_ends_without_a_verdict in [true, false] {
        let standing = Standing::default();
        let (first, next, now) = two_trials(&standing);
        if first_ends_without_a_verdict {
            drop(first);
        } else {
            assert_eq!(standing.judge(false, Some(first), now, now, Some(RULES)), None);
        }
        assert!(standing.try_again(now, Some(RULES)).is_none(), "one is under way");
        assert_eq!(standing.judge(true, Some(next), now, now, Some(RULES)), Some(Change::Closed));
        assert_eq!(standing.figures.opened.value(), 1);
    }
}

#[test]
fn a_late_answer_brings_the_server_back_and_who_tried_at_the_same_time_keeps_nobody_out() {
    let standing = Standing::default();
    let (first, next, now) = two_trials(&standing);
    let began = now - second(1);
    assert_eq!(standing.judge(true, Some(first), began, now, Some(RULES)), Some(Change::Closed));
    assert_eq!(standing.judge(false, Some(next), began, now, Some(RULES)), None);
    assert_eq!((fail(&standing, 2, now), standing.state(now)), (None, ServerState::Returning));
    assert_eq!(fail(&standing, 1, now), Some(Change::Opened));
}

#[test]
fn what_hung_while_the_server_was_ill_says_nothing_of_one_that_is_back() {
    let (standing, began) = (Standing::default(), Clock::start().now());
    fail(&standing, 3, began + second(1));
    let trial = standing.try_again(began + second(13), Some(RULES));
    standing.judge(true, trial, began + second(13), began + second(13), Some(RULES));
    let now = began + second(60);
    let late = (0..9).filter_map(|_| standing.judge(false, None, began, now, Some(RULES)));
    assert_eq!((late.last(), standing.state(now)), (None, ServerState::Healthy));
    assert_eq!(fail(&standing, 3, now), Some(Change::Opened));
}

#[test]
fn a_late_answer_does_not_undo_what_the_next_trial_has_found() {
    let standing = Standing::default();
    let (first, next, now) = two_trials(&standing);
    standing.judge(false, Some(next), now, now, Some(RULES));
    assert_eq!(standing.judge(true, Some(first), now, now, Some(RULES)), None);
    assert_eq!(standing.state(now), ServerState::Open);
}

#[test]
fn a_server_that_is_back_takes_a_growing_share() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    check(&standing, false, 3, now);
    assert_eq!((standing.share(now), standing.state(now)), (0, ServerState::Unhealthy));
    assert!(
        standing.try_again(now + second(100), Some(RULES)).is_none(),
        "no request tries what a check calls unhealthy"
    );
    assert_eq!(standing.checked(true, now, CHECKS), None);
    assert_eq!(standing.checked(true, now, CHECKS), Some(Change::TurnedHealthy));
    let shares = [0, 2, 5, 9, 10].map(|after| standing.share(now + second(after)));
    assert_eq!(shares, [10, 20, 50, 90, 100]);
    assert!(!standing.is_doubted());
}

#[test]
fn checks_that_pass_end_the_time_of_an_open_breaker() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    check(&standing, true, 5, now);
    fail(&standing, 3, now);
    standing.checked(true, now, CHECKS);
    assert!(standing.try_again(now, Some(RULES)).is_none(), "one passed check is not enough");
    standing.checked(true, now, CHECKS);
    assert!(standing.try_again(now, Some(RULES)).is_some());
}

#[test]
fn rules_that_are_gone_keep_nobody_out() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    fail(&standing, 3, now);
    check(&standing, false, 3, now);
    standing.keep(false, true, false);
    assert_eq!(standing.share(now), 0);
    standing.keep(false, false, true);
    assert_eq!(standing.share(now), ALL);
}

#[test]
fn checks_by_other_rules_begin_anew() {
    let (standing, now) = (Standing::default(), Clock::start().now());
    check(&standing, false, 2, now);
    standing.keep(true, true, false);
    standing.keep(true, true, true);
    check(&standing, false, 2, now);
    assert_eq!(standing.state(now), ServerState::Healthy);
    check(&standing, false, 1, now);
    assert_eq!(standing.state(now), ServerState::Unhealthy);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Exchange(bool),
    Check(bool),
    Try(Option<bool>),
    /// A trial begins and is left under way; the one before it ends so.
    Late(bool),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = prop_oneof![
        any::<bool>().prop_map(Event::Exchange),
        any::<bool>().prop_map(Event::Check),
        any::<Option<bool>>().prop_map(Event::Try),
        (0_u64..8).prop_map(Event::Pass),
        any::<bool>().prop_map(Event::Late),
    ];
    prop::collection::vec(one, 0..200)
}

proptest! {
    #[test]
    fn whatever_happens_a_server_that_works_again_comes_back(events in events()) {
        let standing = Standing::default();
        let (mut now, mut hanging) = (Clock::start().now(), None);
        for event in events {
            match event {
                Event::Exchange(is_good) => {
                    standing.judge(is_good, None, now, now, Some(RULES));
                }
                Event::Check(is_good) => check(&standing, is_good, 1, now),
                Event::Try(verdict) => {
                    let trial = standing.try_again(now, Some(RULES));
                    if let (Some(trial), Some(verdict)) = (trial, verdict) {
                        standing.judge(verdict, Some(trial), now, now, Some(RULES));
                    }
                }
                Event::Late(verdict) => {
                    if let Some(trial) = std::mem::replace(&mut hanging, standing.try_again(now, Some(RULES))) {
                        standing.judge(verdict, Some(trial), now, now, Some(RULES));
                    }
                }
                Event::Pass(seconds) => now += second(seconds),
            }
            prop_assert_eq!(standing.share(now) > 0, standing.state(now).is_healthy());
        }
        now += second(11);
        check(&standing, true, 2, now);
        if standing.share(now) == 0 {
            let trial = standing.try_again(now, Some(RULES));
            prop_assert!(trial.is_some());
            standing.judge(true, trial, now, now, Some(RULES));
        }
        prop_assert_eq!(standing.share(now + SLOW_RETURN), ALL);
    }
}
