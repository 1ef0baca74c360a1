//! Who is woken when something happens on a connection: whoever uses it now, and nobody twice.
//!
//! A connection is polled by its user, inside the user's own task. Much of what it does wakes somebody: the response's
//! head, a chunk that is wanted, a chunk that is there. Told to the task that is just polling it, each would cost one
//! poll more of the whole client connection, for nothing; told to the last user of a kept connection, one of a stranger. So
//! the protocol machine knows only this relay. It passes on what happens while its user waits; what happens during a poll
//! makes that poll look once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// How often one poll looks again before it lets other tasks go first.
const MOST_LOOKS: u32 = 4;

/// The waker of one connection.
#[derive(Debug)]
pub(super) struct Relay {
    user: Arc<User>,
    /// The same as a waker, made once.
    waker: Waker,
}

#[derive(Debug, Default)]
struct User {
    waiting: AtomicWaker,
    has_news: AtomicBool,
}

impl Default for Relay {
    fn default() -> Self {
        let user = Arc::<User>::default();
        Self { waker: Waker::from(Arc::clone(&user)), user }
    }
}

impl Relay {
    /// Polls for a user, who is woken when it is worth polling again.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        for _ in 0..MOST_LOOKS {
            if let Poll::Ready(outcome) = self.unattended(&mut step) {
                return Poll::Ready(outcome);
            }
            // In this order: news that find nobody waiting are seen below, later ones wake.
            self.user.waiting.register(cx.waker());
            if !self.user.has_news.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        // There is always more: others may have a turn before the next look.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls with nobody to wake.
    pub(super) fn unattended<T>(&self, step: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.user.waiting.take();
        self.user.has_news.store(false, Ordering::Relaxed);
        step(&mut Context::from_waker(&self.waker))
    }
}

impl Wake for User {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_news.store(true, Ordering::Release);
        self.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn news_during_a_poll_make_it_look_again_and_wake_nobody() {
        let (relay, wakes) = (Relay::default(), Arc::<Wakes>::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut looks = 0;
        let polled = relay.poll(&mut Context::from_waker(&waker), |cx| {
            looks += 1;
            if looks < 3 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, looks, wakes.0.load(Ordering::Relaxed)), (Poll::Pending, 3, 0));
    }

    #[test]
    fn endless_news_let_others_go_first() {
        let (relay, wakes) = (Relay::default(), Arc::<Wakes>::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let polled = relay.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((polled, wakes.0.load(Ordering::Relaxed)), (Poll::Pending, 1));
    }

    #[test]
    fn news_wake_the_user_that_waits_and_no_earlier_one() {
        let relay = Relay::default();
        let mut inner = None;
        for is_waiting in [true, false] {
            let wakes = Arc::<Wakes>::default();
            let waker = Waker::from(Arc::clone(&wakes));
            let outcome = if is_waiting { Poll::Pending } else { Poll::Ready(()) };
            let polled = relay.poll(&mut Context::from_waker(&waker), |cx| {
                inner = Some(cx.waker().clone());
                outcome
            });
            assert_eq!(polled, outcome);
            inner.take().unwrap().wake();
            assert_eq!(wakes.0.load(Ordering::Relaxed), u32::from(is_waiting));
        }
    }
}
