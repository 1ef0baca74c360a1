//! Who is woken when something happens on a connection: whoever uses it now, and nobody twice.
//!
//! A connection is polled by its user, inside the user's own task. Much of what it does wakes somebody: the response's
//! head, a chunk that is wanted, a chunk that is there. Told to the task that is just polling it, each would cost one
//! poll more of the whole client connection, for nothing; told to the last user of a kept connection, one of a stranger. So
//! the protocol machine knows only this relay. It passes on what happens while its user waits; what happens during a poll
//! makes that poll look once more.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// How often one poll looks again before it lets other tasks go first.
const MOST_LOOKS: u32 = 4;

thread_local! {
    /// Whose connection this thread is polling, by its address; 0: nobody's. What happens then is seen by that poll.
    static POLLED: Cell<usize> = const { Cell::new(0) };
}

/// The waker of one connection.
#[derive(Debug)]
pub(super) struct Relay {
    user: Arc<User>,
    /// The same as a waker, made once.
    waker: Waker,
    /// Whether the user may still be woken: nobody has taken his waker, as far as is known.
    is_waited_for: bool,
}

#[derive(Debug, Default)]
struct User {
    waiting: AtomicWaker,
    has_news: AtomicBool,
}

impl Default for Relay {
    fn default() -> Self {
        let user = Arc::<User>::default();
        Self { waker: Waker::from(Arc::clone(&user)), user, is_waited_for: false }
    }
}

impl Relay {
    /// Polls for a user, who is woken when it is worth polling again.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.user.has_news.load(Ordering::Relaxed) {
            // Nobody was polling: who brought them has taken the waker, or is about to.
            self.is_waited_for = false;
        }
        for _ in 0..MOST_LOOKS {
            if let Poll::Ready(outcome) = self.unattended(&mut step) {
                self.forget();
                return Poll::Ready(outcome);
            }
            if self.user.has_news.load(Ordering::Relaxed) {
                continue;
            }
            // In this order: news that find nobody waiting are seen below, later ones wake.
            self.user.waiting.register(cx.waker());
            self.is_waited_for = true;
            if !self.user.has_news.load(Ordering::Acquire) {
                return Poll::Pending;
            }
        }
        // There is always more: others may have a turn before the next look.
        self.forget();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls with nobody to wake but a user who waits already.
    pub(super) fn unattended<T>(&self, step: impl FnOnce(&mut Context<'_>) -> T) -> T {
        if self.user.has_news.load(Ordering::Relaxed) {
            // What they are about is seen by this step; later ones are news again.
            self.user.has_news.swap(false, Ordering::AcqRel);
        }
        let _polled = Polled::begin(&self.user);
        step(&mut Context::from_waker(&self.waker))
    }

    /// Nobody waits any more: later news must not wake who did, nor keep him in memory.
    fn forget(&mut self) {
        if std::mem::take(&mut self.is_waited_for) {
            self.user.waiting.take();
        }
    }
}

/// While a connection is polled.
struct Polled {
    before: usize,
}

impl Polled {
    fn begin(user: &Arc<User>) -> Self {
        Self { before: POLLED.replace(address(user)) }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        POLLED.set(self.before);
    }
}

fn address(user: &Arc<User>) -> usize {
    Arc::as_ptr(user).addr()
}

impl Wake for User {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_news.store(true, Ordering::Release);
        if POLLED.get() != address(self) {
            self.waiting.wake();
        }
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
        let (mut relay, wakes) = (Relay::default(), Arc::<Wakes>::default());
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
        let (mut relay, wakes) = (Relay::default(), Arc::<Wakes>::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let polled = relay.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((polled, wakes.0.load(Ordering::Relaxed)), (Poll::Pending, 1));
    }

    #[test]
    fn news_wake_the_user_that_waits_and_no_earlier_one() {
        let mut relay = Relay::default();
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

    #[test]
    fn whoever_is_done_is_kept_by_nobody() {
        for is_by_news in [true, false] {
            let mut relay = Relay::default();
            let wakes = Arc::<Wakes>::default();
            let waker = Waker::from(Arc::clone(&wakes));
            let cx = &mut Context::from_waker(&waker);
            assert!(relay.poll(cx, |_| Poll::<()>::Pending).is_pending());
            assert_eq!(Arc::strong_count(&wakes), 3, "the relay knows whom to wake");
            if is_by_news {
                relay.waker.wake_by_ref();
            }
            // News of this poll itself are not those that took the waker.
            let done = |cx: &mut Context<'_>| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            };
            assert!(relay.poll(cx, done).is_ready());
            relay.waker.wake_by_ref();
            assert_eq!((wakes.0.load(Ordering::Relaxed), Arc::strong_count(&wakes)), (is_by_news.into(), 2));
        }
    }

    #[test]
    fn a_poll_inside_a_poll_leaves_the_outer_one_its_news() {
        let (mut outer, mut inner) = (Relay::default(), Relay::default());
        let mut looks = 0;
        let polled = outer.poll(&mut Context::from_waker(Waker::noop()), |cx| {
            looks += 1;
            assert!(inner.poll(cx, |_| Poll::<()>::Pending).is_pending());
            if looks == 1 {
                inner.waker.wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, looks), (Poll::Pending, 2));
    }

    #[test]
    fn no_news_of_another_thread_are_lost() {
        const ROUNDS: u32 = 20_000;
        let (mut relay, made) = (Relay::default(), AtomicU32::new(0));
        let seen = AtomicU32::new(0);
        let (waker, user) = (relay.waker.clone(), Waker::from(Arc::new(Unparks(std::thread::current()))));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    made.store(round, Ordering::Relaxed);
                    waker.wake_by_ref();
                    while seen.load(Ordering::Relaxed) < round {
                        std::thread::yield_now();
                    }
                }
            });
            for round in 1..=ROUNDS {
                let mut look = |_: &mut Context<'_>| match made.load(Ordering::Relaxed) {
                    last if last >= round => Poll::Ready(()),
                    _ => Poll::Pending,
                };
                while relay.poll(&mut Context::from_waker(&user), &mut look).is_pending() {
                    std::thread::park();
                }
                seen.store(round, Ordering::Relaxed);
            }
        });
    }

    struct Unparks(std::thread::Thread);

    impl Wake for Unparks {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
