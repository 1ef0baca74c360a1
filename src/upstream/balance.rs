//! Which server gets the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Pool;
use super::standing::{ALL, Trial};
use super::{Balance, Error};

/// The rule with its turn counter.
#[derive(Debug)]
pub(super) struct Balancer {
    rule: Balance,
    turn: AtomicUsize,
}

/// The server for a request, and whether this is the request that tries it.
pub(super) struct Chosen<'p> {
    pub(super) pool: &'p Arc<Pool>,
    pub(super) trial: Option<Trial<'p>>,
}

impl Balancer {
    pub(super) fn new(rule: Balance) -> Self {
        Self { rule, turn: AtomicUsize::new(0) }
    }

    /// The server for the next request; another one than `tried`, where there is another. A request that `may_try` is
    /// sent to a server of which nobody knows whether it is back, others only where there is no better one.
    ///
    /// # Errors
    /// [`Error::NoServer`] when all are out.
    pub(super) fn choose<'p>(
        &self,
        pools: &'p [Arc<Pool>],
        tried: Option<&Pool>,
        now: Instant,
        may_try: bool,
    ) -> Result<Chosen<'p>, Error> {
        if let [only] = pools
            && !only.standing().is_doubted()
        {
            return Ok(Chosen { pool: only, trial: None });
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let is_out = is_out(pools, now);
        if may_try || is_out {
            let mut trials = in_turn(pools, turn)
                .filter_map(|pool| Some(Chosen { pool, trial: Some(pool.try_again(now)?) }));
            if let Some(chosen) = trials.next() {
                return Ok(chosen);
            }
        }
        let best = if is_out { None } else { self.among(pools, turn, tried, now) };
        best.map(|pool| Chosen { pool, trial: None }).ok_or_else(|| no_server(pools, now))
    }

    fn among<'p>(
        &self,
        pools: &'p [Arc<Pool>],
        turn: usize,
        tried: Option<&Pool>,
        now: Instant,
    ) -> Option<&'p Arc<Pool>> {
        let lot = u32::try_from(scattered(turn) % ALL as usize).unwrap_or(0);
        let reluctance = |pool: &Arc<Pool>| {
            let share = pool.standing().share(now);
            let was_tried = tried.is_some_and(|tried| std::ptr::eq(tried, Arc::as_ptr(pool)));
            // A server that has just refused, or is not up to its full share yet, lets others go first.
            (share == 0, was_tried, pool.is_shunned(now) || lot >= share)
        };
        let willing = (false, false, false);
        let all = || in_turn(pools, turn);
        match self.rule {
            Balance::RoundRobin => all().min_by_key(|pool| reluctance(pool)),
            // Counted from this turn's server, so that equally busy ones take turns.
            Balance::LeastRequest => all().min_by_key(|pool| (reluctance(pool), pool.busy())),
            Balance::Random => {
                let (first, others) = (scattered(turn), pools.len().max(2) - 1);
                let second = first.wrapping_add(1 + scattered(first) % others);
                let drawn = [first, second].map(|at| pools.get(at % pools.len()));
                let better = drawn.into_iter().flatten().min_by_key(|pool| (reluctance(pool), pool.busy()));
                better
                    .filter(|pool| reluctance(pool) == willing)
                    .or_else(|| all().min_by_key(|pool| (reluctance(pool), pool.busy())))
            }
        }
    }
}

/// Whether every server is out.
pub(super) fn is_out(pools: &[Arc<Pool>], now: Instant) -> bool {
    pools.iter().all(|pool| pool.standing().share(now) == 0)
}

/// The answer where every server is out: come back when the first of them may be tried.
pub(super) fn no_server(pools: &[Arc<Pool>], now: Instant) -> Error {
    let retry_after = pools.iter().map(|pool| pool.out_for(now)).min().unwrap_or_default();
    Error::NoServer { retry_after: retry_after.max(Duration::from_secs(1)) }
}

/// All servers, from this turn's on.
fn in_turn(pools: &[Arc<Pool>], turn: usize) -> impl Iterator<Item = &Arc<Pool>> {
    let start = turn % pools.len().max(1);
    let (before, after) = pools.split_at_checked(start).unwrap_or((&[], pools));
    after.iter().chain(before)
}

/// A number that looks drawn at random.
fn scattered(turn: usize) -> usize {
    let mixed = (turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32).unwrap_or(turn)
}
