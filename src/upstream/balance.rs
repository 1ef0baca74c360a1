//! Which server gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::Balance;
use super::pool::Pool;

/// The rule with its turn counter.
#[derive(Debug)]
pub(super) struct Balancer {
    rule: Balance,
    turn: AtomicUsize,
}

impl Balancer {
    pub(super) fn new(rule: Balance) -> Self {
        Self { rule, turn: AtomicUsize::new(0) }
    }

    /// The server for the next request; another one than `tried`, where there is another.
    pub(super) fn choose<'p>(
        &self,
        pools: &'p [Arc<Pool>],
        tried: Option<&Pool>,
        now: Instant,
    ) -> &'p Arc<Pool> {
        let [only] = pools else { return self.among(pools, tried, now) };
        only
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an upstream has at least one server, and every index is taken modulo their number"
    )]
    fn among<'p>(&self, pools: &'p [Arc<Pool>], tried: Option<&Pool>, now: Instant) -> &'p Arc<Pool> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = |step: usize| &pools[turn.wrapping_add(step) % pools.len()];
        let was_tried = |pool: &Arc<Pool>| tried.is_some_and(|tried| std::ptr::eq(tried, Arc::as_ptr(pool)));
        let load = |pool: &Arc<Pool>| (was_tried(pool), pool.busy(now));
        let better =
            |one: &'p Arc<Pool>, other: &'p Arc<Pool>| if load(other) < load(one) { other } else { one };
        match self.rule {
            Balance::RoundRobin if was_tried(at(0)) || pool_is_shunned(at(0), now) => at(1),
            Balance::RoundRobin => at(0),
            // Counted from this turn's server, so that equally busy ones take turns.
            Balance::LeastRequest => (1..pools.len()).map(at).fold(at(0), better),
            Balance::Random => {
                let scattered = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                better(at(scattered), at(scattered.wrapping_mul(31).wrapping_add(1)))
            }
        }
    }
}

fn pool_is_shunned(pool: &Pool, now: Instant) -> bool {
    pool.busy(now) == i64::MAX
}
