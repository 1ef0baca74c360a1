//! How long a permit is usually held, and what follows from it: how long a place in the line will take.

use std::time::Duration;

/// The least that a client is told to wait.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// So many measured holds make an estimate good enough to turn somebody away by it.
const ENOUGH: u32 = 8;

/// The holds of a pool: those that have ended, and those that go on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Of the holds that have ended; the last few count most.
    pub(super) mean_hold: Option<Duration>,
    /// How many have.
    ended: u32,
    /// The sum of the times, since the clock's start, at which the held permits were given out.
    starts: Duration,
}

impl Pace {
    /// A permit is given out.
    pub(super) fn begin(&mut self, now: Duration) {
        self.starts += now;
    }

    /// A permit has come back that was given out at `since`.
    pub(super) fn end(&mut self, since: Duration) {
        self.starts = self.starts.saturating_sub(since);
    }

    /// It had been used for so long.
    pub(super) fn learn(&mut self, held: Duration) {
        self.ended = self.ended.saturating_add(1);
        self.mean_hold = Some(self.mean_hold.map_or(held, |mean| (mean * 7 + held) / 8));
    }

    /// What a refused client is told: the mean hold, once for each round of `cap` permits that go before it. Before the
    /// first permit came back, the mean age of the `held`.
    pub(super) fn retry_after(&self, before: usize, cap: usize, held: usize, now: Duration) -> Duration {
        let age = || {
            let mean_start = self.starts.checked_div(small(held));
            mean_start.map_or(Duration::ZERO, |start| now.saturating_sub(start))
        };
        let rounds = (before + 1).div_ceil(cap.max(1));
        self.mean_hold.unwrap_or_else(age).saturating_mul(small(rounds)).max(SHORTEST_RETRY)
    }

    /// When one that has so many before it is likely to go; none before anything was measured.
    pub(super) fn expected_wait(&self, before: usize, cap: usize) -> Option<Duration> {
        Some(self.mean_hold?.saturating_mul(small(before + 1)) / small(cap.max(1)))
    }

    /// Whether one that has so many before it waits longer than `patience` for sure: only whole rounds of holds count
    /// that have yet to begin, and only where enough were measured.
    pub(super) fn is_hopeless(&self, before: usize, cap: usize, patience: Duration) -> bool {
        let rounds = small(before / cap.max(1));
        self.ended >= ENOUGH && self.mean_hold.is_some_and(|hold| hold.saturating_mul(rounds) > patience)
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_turned_away_by_a_guess() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        for nth in 0..20 {
            assert_eq!(pace.is_hopeless(6, 2, 2 * second), nth >= ENOUGH, "after {nth} holds");
            pace.learn(second);
        }
        for (before, patience, is_hopeless) in [(3, 1, false), (4, 1, true), (1, 0, false), (2, 0, true)] {
            assert_eq!(pace.is_hopeless(before, 2, patience * second), is_hopeless, "{before} before it");
        }
        assert_eq!(pace.expected_wait(3, 2), Some(2 * second));
    }
}
