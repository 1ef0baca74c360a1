//! Who is woken when something happens on a connection: whoever uses it now.
//!
//! A connection is polled by its user, inside the user's own task. Much of what it does wakes somebody: the response's
//! head, a chunk that is wanted, a chunk that is there. Told to the task that is just polling it, each would cost one
//! poll more of the whole client connection, for nothing; told to the last user of a kept connection, one of a stranger. So
//! the protocol machine knows only this relay. It passes on what happens while its user waits; what happens during a poll
//! makes that poll look once more. (What another thread brings just then may wake the user besides, for one look in vain.)

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use atomic_waker::AtomicWaker;

/// How often one poll looks again before it lets other tasks go first.
const MOST_LOOKS: u32 = 4;

thread_local! {
    /// Whose connection this thread is polling, by the address of its [`User`] (0: nobody's), and whether that has brought news:
    /// that poll sees them by itself.
    static POLLED: Cell<(usize, bool)> = const { Cell::new((0, false)) };
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
    /// From elsewhere than a poll of its own.
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
        for _ in 0..MOST_LOOKS {
            let (poll, has_own_news) = self.step(&mut step);
            if let Poll::Ready(outcome) = poll {
                self.forget();
                return Poll::Ready(outcome);
            }
            if has_own_news {
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

    /// Calls whoever waits, and stays the same over all users.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// One step, for which nobody waits. News that came before are forgotten: a step that does not drive the connection is to be
    /// followed by a poll.
    pub(super) fn unattended<T>(&mut self, step: impl FnOnce(&mut Context<'_>) -> T) -> T {
        debug_assert!(!self.is_waited_for, "whoever waits would not be told of this step's own news");
        self.step(step).0
    }

    /// One step, and whether it has brought news by itself.
    fn step<T>(&mut self, step: impl FnOnce(&mut Context<'_>) -> T) -> (T, bool) {
        if self.user.has_news.load(Ordering::Relaxed) {
            // What they are about is seen by this step; later ones are news again. Who brought them has taken the waker, or is
            // about to.
            self.user.has_news.swap(false, Ordering::AcqRel);
            self.is_waited_for = false;
        }
        let polled = Polled::begin(&self.user);
        let outcome = step(&mut Context::from_waker(&self.waker));
        (outcome, polled.has_news())
    }

    /// Nobody waits any more: later news must not wake who did, nor keep him in memory.
    fn forget(&mut self) {
        if std::mem::take(&mut self.is_waited_for) {
            self.user.waiting.take();
        }
    }
}

/// While a connection is polled, perhaps within a poll of another one.
struct Polled {
    before: (usize, bool),
}

impl Polled {
    fn begin(user: &Arc<User>) -> Self {
        Self { before: POLLED.replace((address(user), false)) }
    }

    fn has_news(&self) -> bool {
        POLLED.get().1
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
        if POLLED.get().0 == address(self) {
            POLLED.set((address(self), true));
            return;
        }
        // A swap and no store: whoever sees later news must see what earlier ones are about, too.
        self.has_news.swap(true, Ordering::AcqRel);
        self.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

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
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = &mut Context::from_waker(&waker);
        assert!(outer.poll(cx, |_| Poll::<()>::Pending).is_pending());
        let mut looks = 0;
        let polled = outer.poll(cx, |cx| {
            looks += 1;
            if looks == 1 {
                cx.waker().wake_by_ref();
            }
            assert!(inner.poll(cx, |_| Poll::<()>::Pending).is_pending());
            // The outer one's waker waits for these.
            if looks == 2 {
                inner.waker.wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, looks, wakes.0.load(Ordering::Relaxed)), (Poll::Pending, 3, 0));
    }

    #[test]
    fn who_is_to_look_again_later_is_not_woken_twice() {
        let mut relay = Relay::default();
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = &mut Context::from_waker(&waker);
        assert!(relay.poll(cx, |_| Poll::<()>::Pending).is_pending());
        let endless = |cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        };
        assert!(relay.poll(cx, endless).is_pending());
        relay.waker.wake_by_ref();
        assert_eq!((wakes.0.load(Ordering::Relaxed), Arc::strong_count(&wakes)), (1, 2));
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
                let began = Clock::start().now();
                while relay.poll(&mut Context::from_waker(&user), &mut look).is_pending() {
                    std::thread::park_timeout(Duration::from_secs(20));
                    assert!(began.elapsed() < Duration::from_secs(20), "news {round} are lost");
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
