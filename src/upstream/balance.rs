//! Which server gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// The server for the next request.
    pub(super) fn choose<'p>(&self, pools: &'p [Arc<Pool>]) -> &'p Arc<Pool> {
        let [only] = pools else { return self.among(pools) };
        only
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an upstream has at least one server, and every index is taken modulo their number"
    )]
    fn among<'p>(&self, pools: &'p [Arc<Pool>]) -> &'p Arc<Pool> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = |step: usize| &pools[turn.wrapping_add(step) % pools.len()];
        match self.rule {
            Balance::RoundRobin => at(0),
            Balance::LeastRequest => {
                // Counted from this turn's server, so that equally busy ones take turns.
                (1..pools.len())
                    .map(at)
                    .fold(at(0), |best, next| if next.busy() < best.busy() { next } else { best })
            }
            Balance::Random => {
                let scattered = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                let (one, other) = (at(scattered), at(scattered.wrapping_mul(31).wrapping_add(1)));
                if other.busy() < one.busy() { other } else { one }
            }
        }
    }
}
