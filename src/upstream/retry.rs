//! How often requests may be sent again: a share of all requests, with a floor of ten a second, so that retries cannot
//! double the load on a backend that is already failing.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::time::Instant;

/// What one retry costs in the budget's units.
const RETRY: i64 = 1000;
/// Retries a second that are always allowed.
const FLOOR: i64 = 10;
/// The most that can be saved up, in retries.
const CEILING: i64 = 100;

/// A bucket that requests fill by their share and retries empty.
#[derive(Debug)]
pub(super) struct RetryBudget {
    share: i64,
    saved: AtomicI64,
    floor: AtomicU64,
    epoch: std::sync::OnceLock<Instant>,
}

impl RetryBudget {
    #[expect(clippy::cast_possible_truncation, reason = "a share is at most 1, so at most RETRY")]
    pub(super) fn new(share: f64) -> Self {
        let share = (share.clamp(0.0, 1.0) * RETRY as f64) as i64;
        Self { share, saved: AtomicI64::new(0), floor: AtomicU64::new(0), epoch: std::sync::OnceLock::new() }
    }

    /// A request was made.
    pub(super) fn deposit(&self) {
        if self.share > 0 && self.saved.load(Ordering::Relaxed) < CEILING * RETRY {
            self.saved.fetch_add(self.share, Ordering::Relaxed);
        }
    }

    /// Whether one more retry is allowed now.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let take = |saved: i64| (saved >= RETRY).then(|| saved - RETRY);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() || self.within_floor(now)
    }

    /// The upper half of `floor` is a second, the lower half what was taken in it.
    fn within_floor(&self, now: Instant) -> bool {
        let second = now.saturating_duration_since(*self.epoch.get_or_init(|| now)).as_secs();
        let take = |floor: u64| {
            let taken = if floor >> 32 == second { floor & u64::from(u32::MAX) } else { 0 };
            (taken < FLOOR.unsigned_abs()).then_some(second << 32 | (taken + 1))
        };
        self.floor.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn retries_are_a_share_of_requests_above_a_floor() {
        let budget = RetryBudget::new(0.1);
        let now = Clock::start().now();
        (0..100).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 20);
        assert_eq!((0..100).filter(|_| budget.withdraw(now + Duration::from_secs(1))).count(), 10);
    }
}
