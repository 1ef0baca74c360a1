//! Durations by size.
//!
//! The bounds are decimal and roughly logarithmic, nine to a decade from 50 microseconds (a hit) to two minutes, so that an
//! interpolated quantile is off by a tenth or so at most. A scrape shows about every third of them
//! ([`HistogramSnapshot::exposed`]): a series a bound is what a histogram costs its Prometheus.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::TimeTotal;

/// Upper bounds of the buckets, inclusive, in microseconds; what is longer goes to one bucket without a bound.
const BOUNDS: [u64; 51] = [
    500,
    600,
    800, //
    1_000,
    1_500,
    2_000,
    2_500,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000, //
    10_000,
    15_000,
    20_000,
    25_000,
    30_000,
    40_000,
    50_000,
    60_000,
    80_000, //
    100_000,
    150_000,
    200_000,
    250_000,
    300_000,
    400_000,
    500_000,
    600_000,
    800_000, //
    1_000_000,
    1_500_000,
    2_000_000,
    2_500_000,
    3_000_000,
    4_000_000,
    5_000_000,
    6_000_000,
    8_000_000, //
    10_000_000,
    15_000_000,
    20_000_000,
    25_000_000,
    30_000_000,
    40_000_000,
    50_000_000,
    60_000_000,
    80_000_000, //
    100_000_000,
    110_000_000,
    120_000_000,
];

/// The bounds that a scrape shows; each one is in [`BOUNDS`].
const EXPOSED: [u64; 17] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];

/// Counts durations by size. Observing one costs two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    sum: TimeTotal,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDS.len()],
            beyond: AtomicU64::new(0),
            sum: TimeTotal::default(),
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        // Rounded up, so that 1.0005 ms is not "at most 1 ms".
        let micros = took.as_secs().saturating_mul(1_000_000);
        let micros = micros.saturating_add(took.subsec_nanos().div_ceil(1_000).into());
        let at = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets.get(at).unwrap_or(&self.beyond).fetch_add(1, Relaxed);
        self.sum.add(took);
    }

    /// What was counted so far. `count` is the sum of the buckets, so the two always agree.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_micros(*bound)).chain([Duration::MAX]);
        let counts = self.buckets.iter().chain([&self.beyond]).map(|count| count.load(Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        HistogramSnapshot { buckets, sum: self.sum.value(), count }
    }

    /// See [`HistogramSnapshot::quantile`].
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.snapshot().quantile(q)
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bound (inclusive) and number of each bucket, not cumulative, in ascending order; the last bound is
    /// [`Duration::MAX`].
    pub buckets: Vec<(Duration, u64)>,
    /// Sum of all durations, to the microsecond.
    pub sum: Duration,
    /// How many durations.
    pub count: u64,
}

impl HistogramSnapshot {
    /// The duration below which the share `q` (0 to 1) of all lies, interpolated inside its bucket; `None` when
    /// nothing was observed. Beyond the last bound it is that bound.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53; an estimate anyway")]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let (mut lower, mut below) = (Duration::ZERO, 0);
        for (upper, count) in &self.buckets {
            if *count > 0 && (below + count) as f64 >= rank && *upper < Duration::MAX {
                let share = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
                return Some(lower + (*upper - lower).mul_f64(share));
            }
            below += count;
            if *upper < Duration::MAX {
                lower = *upper;
            }
        }
        Some(lower)
    }

    /// The arithmetic mean; `None` when nothing was observed.
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_secs_f64(self.sum.as_secs_f64() / self.count as f64))
    }

    /// What a scrape shows: upper bound in seconds and the number of durations up to it, without the last, unbounded
    /// one (which is [`count`](Self::count)).
    pub fn exposed(&self) -> impl Iterator<Item = (f64, u64)> {
        EXPOSED.iter().map(|bound| {
            let upper = Duration::from_micros(*bound);
            let up_to =
                self.buckets.iter().take_while(|(bound, _)| *bound <= upper).map(|(_, count)| count).sum();
            (upper.as_secs_f64(), up_to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(millis: impl IntoIterator<Item = u64>) -> HistogramSnapshot {
        let histogram = Histogram::default();
        millis.into_iter().for_each(|ms| histogram.observe(Duration::from_millis(ms)));
        histogram.snapshot()
    }

    #[test]
    fn bounds_ascend_and_every_exposed_one_is_among_them() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
        assert!(EXPOSED.is_sorted_by(|a, b| a < b));
        assert!(EXPOSED.iter().all(|bound| BOUNDS.contains(bound)));
    }

    #[test]
    fn quantiles_of_an_even_spread_are_off_by_less_than_a_tenth() {
        let even = observed(1..=1000);
        for (q, exact) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (0.1, 0.1)] {
            let estimate = even.quantile(q).unwrap().as_secs_f64();
            assert!((estimate - exact).abs() / exact < 0.1, "q{q}: {estimate} instead of {exact}");
        }
    }

    #[test]
    fn a_quantile_stays_inside_the_bucket_of_its_duration() {
        let equal = observed([200; 50]);
        for q in [0.0, 0.01, 0.5, 0.99, 1.0] {
            let estimate = equal.quantile(q).unwrap();
            assert!(
                estimate >= Duration::from_millis(150) && estimate <= Duration::from_millis(200),
                "q{q}: {estimate:?}"
            );
        }
    }

    #[test]
    fn nothing_observed_has_neither_quantile_nor_mean() {
        let nothing = observed([]);
        assert_eq!((nothing.quantile(0.5), nothing.mean(), nothing.count), (None, None, 0));
    }

    #[test]
    fn what_is_longer_than_every_bound_is_counted_and_estimated_at_the_last_bound() {
        let long = observed([300_000, 300_000]);
        assert_eq!(long.count, 2);
        assert_eq!(long.quantile(0.5), Some(Duration::from_secs(120)));
        assert_eq!(long.mean(), Some(Duration::from_secs(300)));
        assert!(long.exposed().all(|(_, up_to)| up_to == 0));
    }

    #[test]
    fn a_bound_is_inclusive() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1));
        histogram.observe(Duration::from_micros(1_000) + Duration::from_nanos(1));
        let up_to_1ms = histogram.snapshot().exposed().find(|(upper, _)| *upper == 0.001).unwrap();
        assert_eq!(up_to_1ms.1, 1);
    }

    #[test]
    fn the_sum_is_of_what_was_observed_not_of_bounds() {
        assert_eq!(observed([3, 7, 90]).sum, Duration::from_millis(100));
    }
}
