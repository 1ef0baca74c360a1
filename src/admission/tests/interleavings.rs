//! The pool once more, built from the same sources on the locks of a model checker, which runs its threads in one order
//! after the other. It reports who waits for ever, so that no grant is ever lost; the tests see to it that there are
//! never more permits than the cap and that nothing is held in the end.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread::{self, JoinHandle};

use self::checked::permit::Permit;
use self::checked::pool::Pool;
use super::{Asking, Auto, KeySpec, Sample, Shed, ShedReason, Spec, Verdict, queued, urgent};
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
    pub(super) mod permit;
    pub(super) mod pool;
    mod queue;
    mod state;

    use crate::admission::{Asking, HIGHEST_PRIORITY, QueueSpec, Sample, Shed, ShedReason, Spec};
    use crate::admission::{adaptive, pace};

    mod sync {
        use tokio::time::Instant;

        pub(super) use crate::checker::{Mutex, MutexGuard};

        /// The deadline comes at any time, or never.
        pub(super) async fn timeout_at<T>(_: Instant, work: impl Future<Output = T>) -> Result<T, ()> {
            super::super::for_a_while(super::super::DEADLINES.get(), work).await.ok_or(())
        }
    }
}

thread_local! {
    /// Whether waiting may end without a permit. The checker runs all of its threads on one of the system's.
    static DEADLINES: Cell<bool> = const { Cell::new(false) };
}

/// Waits for `work` as long as it takes; or, if waiting `may_end` and as chance has it, only until it has looked a few
/// times, with all that the others may do in between.
async fn for_a_while<T>(may_end: bool, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut looks = (may_end && thread_rng().gen_bool(0.5)).then(|| thread_rng().gen_range(0..4_u8));
    poll_fn(|cx| match (work.as_mut().poll(cx), &mut looks) {
        (Poll::Ready(output), _) => Poll::Ready(Some(output)),
        (Poll::Pending, None) => Poll::Pending,
        (Poll::Pending, Some(0)) => Poll::Ready(None),
        (Poll::Pending, Some(left)) => {
            *left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A pool, and the permits that its users know of.
#[derive(Debug, Clone)]
struct World {
    pool: Arc<Pool>,
    held: Arc<AtomicUsize>,
    most: usize,
}

impl World {
    /// Asks, and if it gets a permit, holds it for a while.
    fn ask(&self, asking: Asking) -> JoinHandle<Result<(), Shed>> {
        let world = self.clone();
        thread::spawn(move || block_on(world.pool.admit(asking)).map(|permit| world.hold(permit)))
    }

    /// Asks, and leaves at any time, whether or not a permit is on its way to it.
    fn ask_and_leave(&self, asking: Asking) -> JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            if let Some(Ok(permit)) = block_on(for_a_while(true, world.pool.admit(asking))) {
                world.hold(permit);
            }
        })
    }

    fn hold(&self, permit: Permit) {
        let held = self.held.fetch_add(1, SeqCst) + 1;
        assert!(held <= self.most, "{held} permits at once");
        thread::yield_now();
        self.held.fetch_sub(1, SeqCst);
        drop(permit);
    }
}

/// Runs `test` in many orders over a pool; at the end of each run nothing may be left.
fn check(spec: Spec, most: usize, deadlines: bool, test: impl Fn(&World) + Send + Sync + 'static) {
    in_many_orders(move || {
        DEADLINES.set(deadlines);
        let pool = Arc::new(Pool::new(spec.clone(), Clock::start()));
        let world = World { pool, held: Arc::default(), most };
        test(&world);
        let stats = world.pool.stats();
        assert_eq!((stats.in_flight, stats.queued, stats.held_back), (0, 0, 0));
        assert_eq!(Arc::strong_count(&world.pool), 1, "nobody keeps it");
    });
}

fn one_for_each_key(max: usize) -> Spec {
    Spec { per: Some((KeySpec::client_ip(), 1)), ..queued(max, 9) }
}

/// Of one of two clients, with any priority.
fn anybody() -> Asking {
    urgent(thread_rng().gen_range(0..2), thread_rng().gen_range(0..10))
}

#[test]
fn everybody_who_stays_gets_a_permit_whoever_leaves() {
    for spec in [queued(1, 9), one_for_each_key(2)] {
        let most = spec.max;
        check(spec, most, false, |world| {
            let leaving = [world.ask_and_leave(anybody()), world.ask_and_leave(anybody())];
            let staying = [world.ask(anybody()), world.ask(anybody())];
            leaving.into_iter().for_each(|one| one.join().unwrap());
            staying.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
    }
}

#[test]
fn a_deadline_that_comes_with_the_grant_loses_no_permit() {
    for spec in [queued(1, 9), one_for_each_key(2)] {
        let most = spec.max;
        check(spec, most, true, |world| {
            let waiting = [(); 4].map(|()| world.ask(anybody()));
            for one in waiting {
                let shed = one.join().unwrap().err().map(|shed| shed.reason);
                assert!(matches!(shed, None | Some(ShedReason::Timeout)), "{shed:?}");
            }
        });
    }
}

#[test]
fn who_gives_way_in_a_full_queue_is_told() {
    check(queued(1, 1), 1, false, |world| {
        let waiting = [(); 4].map(|()| world.ask(anybody()));
        let outcomes = waiting.map(|one| one.join().unwrap().err().map(|shed| shed.reason));
        assert!(outcomes.contains(&None), "one gets the permit");
        assert!(outcomes.iter().flatten().all(|reason| *reason == ShedReason::QueueFull), "{outcomes:?}");
    });
}

#[test]
fn adopted_work_and_other_settings_strand_nobody() {
    check(queued(0, 9), 2, false, |world| {
        let jobs = World { most: usize::MAX, held: Arc::default(), ..world.clone() };
        let adopting = thread::spawn(move || jobs.hold(jobs.pool.adopt()));
        let waiting = [(); 3].map(|()| world.ask(anybody()));
        let settings = world.pool.clone();
        let setting = thread::spawn(move || {
            for spec in [queued(2, 9), one_for_each_key(1), queued(1, 9)] {
                settings.reconfigure(spec);
            }
        });
        adopting.join().unwrap();
        setting.join().unwrap();
        waiting.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
}

#[test]
fn a_cap_that_finds_itself_serves_who_waits_when_it_grows() {
    let auto = Some(Auto { min: 1, max: 3 });
    check(Spec { auto, ..queued(2, 9) }, 3, true, |world| {
        let pool = world.pool.clone();
        let learning = thread::spawn(move || {
            for verdict in [Verdict::Failed, Verdict::Answered(Duration::ZERO)] {
                for _ in 0..8 {
                    pool.learn(Sample { began: Clock::start().now(), verdict, target: None });
                }
            }
        });
        let waiting = [(); 3].map(|()| world.ask(anybody()));
        learning.join().unwrap();
        waiting.into_iter().for_each(|one| drop(one.join().unwrap()));
    });
}
