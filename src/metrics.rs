//! Figures: counters, gauges and histograms that cost a few atomic additions.
//!
//! Every stage owns its figures as plain fields, without names or labels; the admin listener walks them when somebody
//! asks. Nothing here takes a lock, and nothing allocates but the first request with a new status class. Reads are not
//! one consistent cut: two figures read in a row may belong to two moments.

mod dedupe;
mod histogram;
mod route;
mod status;

pub use dedupe::DedupeResult;
pub use histogram::{Histogram, HistogramSnapshot};
pub use route::{CacheResult, MethodClass, RequestCount, RouteMetrics, UnreadBody};
pub use status::StatusCounts;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that comes and goes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// `n` more; less where `n` is negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Exactly `n` from now on.
    pub fn set(&self, n: i64) {
        self.0.store(n, Relaxed);
    }

    /// The current number.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// A sum of durations, kept in microseconds: good for half a million years.
#[derive(Debug, Default)]
pub struct TimeTotal(AtomicU64);

impl TimeTotal {
    /// Adds a duration, rounded to the nearest microsecond.
    pub fn add(&self, time: Duration) {
        let micros = time.saturating_add(Duration::from_nanos(500)).as_micros();
        self.0.fetch_add(u64::try_from(micros).unwrap_or(u64::MAX), Relaxed);
    }

    /// The sum so far.
    pub fn value(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_returns_to_zero_when_all_that_came_has_gone() {
        let gauge = Gauge::default();
        gauge.inc();
        gauge.add(4);
        gauge.dec();
        gauge.add(-4);
        assert_eq!(gauge.value(), 0);
    }

    #[test]
    fn a_sum_of_short_times_is_not_rounded_away() {
        let total = TimeTotal::default();
        (0..10).for_each(|_| total.add(Duration::from_nanos(1_600)));
        assert_eq!(total.value(), Duration::from_micros(20));
    }
}
