//! A deadline that may be moved to a later time for free.
//!
//! A timer in tokio's wheel costs a lock to set and another to cancel. Most deadlines of a proxy are moved on long
//! before they pass: so this one leaves its timer where it is, looks at the real deadline when the timer fires, and only
//! then sets it anew. Moving a deadline to an *earlier* time than the timer's sets the timer at once. A task that waits
//! already is not registered again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// A movable deadline; without one set, it never passes.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes.
    waiting: Option<Waker>,
}

impl Deadline {
    /// Moves the deadline, or takes it away.
    pub fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once the deadline has passed.
    pub fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        } else if !timer.is_elapsed()
            && self.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        // A task that has used up its turn would be put off before the timer has heard of it.
        let mut poll = |timer: Pin<&mut Sleep>| pin!(unconstrained(timer)).poll(cx);
        while poll(timer.as_mut()).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::coop;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn passes_at_the_last_time_that_was_set() {
        let clock = Clock::start();
        for moves in [vec![5, 9], vec![9, 5], vec![1, 20, 3]] {
            let begun = clock.now();
            let mut deadline = Deadline::default();
            for seconds in &moves {
                deadline.set(Some(begun + Duration::from_secs(*seconds)));
                let _ = std::future::poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await;
            }
            std::future::poll_fn(|cx| deadline.poll_passed(cx)).await;
            assert_eq!((clock.now() - begun).as_secs(), *moves.last().unwrap(), "{moves:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn passes_for_a_task_that_had_used_up_its_turn() {
        let clock = Clock::start();
        for (first, then) in [(5, 5), (9, 5), (5, 9)] {
            let begun = clock.now();
            let mut deadline = Deadline::default();
            for seconds in [first, then] {
                deadline.set(Some(begun + Duration::from_secs(seconds)));
                std::future::poll_fn(|cx| {
                    while let Poll::Ready(progress) = coop::poll_proceed(cx) {
                        progress.made_progress();
                    }
                    assert!(deadline.poll_passed(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
            }
            std::future::poll_fn(|cx| deadline.poll_passed(cx)).await;
            assert_eq!((clock.now() - begun).as_secs(), then);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn passes_for_the_task_that_waits_last() {
        let clock = Clock::start();
        let (begun, mut deadline) = (clock.now(), Deadline::default());
        deadline.set(Some(begun + Duration::from_secs(5)));
        assert!(deadline.poll_passed(&mut Context::from_waker(Waker::noop())).is_pending());
        std::future::poll_fn(|cx| deadline.poll_passed(cx)).await;
        assert_eq!((clock.now() - begun).as_secs(), 5);
    }
}
