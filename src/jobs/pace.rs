//! How often to ask: often at first, then more and more seldom, by the job's age alone.

use std::time::Duration;

/// What pollers are told while a job is at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The first interval.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
    /// Each is this much longer than the one before; at least 1.
    pub factor: f64,
}

impl Pace {
    /// How long to wait before the next question about a job of that age, in whole seconds, rounded up; at least one.
    ///
    /// It is the interval in which the age lies when one who keeps the pace asks at the start, then after `initial`, then
    /// after `initial * factor` more, and so on. So all who ask about one job are told the same.
    pub fn seconds(&self, age: Duration) -> u64 {
        let (initial, max) = (self.initial.as_secs_f64(), self.max.as_secs_f64());
        // After k intervals the age is initial * (factor^k - 1) / (factor - 1).
        let growth = self.factor - 1.0;
        let interval = if growth > 1e-9 && initial > 0.0 {
            let passed = (age.as_secs_f64() * growth / initial).ln_1p() / self.factor.ln();
            // What lies on the border belongs to the next interval, whatever the last bit says.
            initial * self.factor.powf((passed + 1e-9).floor())
        } else {
            initial
        };
        let interval = Duration::try_from_secs_f64(interval.min(max)).unwrap_or(self.max);
        interval.as_secs() + u64::from(interval.subsec_millis() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(initial: u64, max: u64, factor: f64) -> Pace {
        Pace { initial: Duration::from_secs(initial), max: Duration::from_secs(max), factor }
    }

    #[test]
    fn who_keeps_the_pace_asks_after_5_6_7_and_at_last_every_30_seconds() {
        let pace = pace(5, 30, 1.2);
        let mut exact = 0.0;
        for (poll, interval) in
            [5.0, 6.0, 7.2, 8.64, 10.368, 12.4416, 14.93, 17.916, 21.499, 25.799, 30.0, 30.0]
                .into_iter()
                .enumerate()
        {
            let age = Duration::from_secs_f64(exact);
            let told = pace.seconds(age);
            assert_eq!(told as f64, f64::ceil(interval - 1e-3), "poll {poll} at {exact} s");
            exact += if interval < 30.0 { 5.0 * 1.2_f64.powf(poll as f64) } else { 30.0 };
        }
        assert_eq!(pace.seconds(Duration::from_secs(86_400 * 365)), 30);
    }

    #[test]
    fn a_pace_that_does_not_grow_stays() {
        assert_eq!(pace(5, 30, 1.0).seconds(Duration::from_secs(3600)), 5);
        assert_eq!(pace(60, 30, 1.2).seconds(Duration::ZERO), 30);
        let short = Pace { initial: Duration::from_millis(200), ..pace(0, 30, 2.0) };
        assert_eq!(short.seconds(Duration::ZERO), 1);
    }
}
