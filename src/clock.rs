//! The one source of time.
//!
//! Everything that waits, expires or ages takes its `now` from here, so that tests can pause it. Monotonic time is
//! tokio's (which a paused runtime stands still); wall time is the wall time of the start plus what has passed since,
//! so that a jump of the system's clock cannot make a limit forget or a stored response rejuvenate.

pub mod deadline;
pub mod jitter;

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A point on both time lines: what the monotonic clock and the wall clock said when the process began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    wall_start: SystemTime,
}

impl Clock {
    /// Starts counting now.
    #[expect(clippy::disallowed_methods, reason = "the one place where time is read")]
    pub fn start() -> Self {
        Self { start: Instant::now(), wall_start: SystemTime::now() }
    }

    /// The monotonic now.
    #[expect(clippy::disallowed_methods, reason = "the one place where time is read")]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The wall time of a monotonic instant; for `Date` and `Age` only, never for a limit or a timeout.
    pub fn wall(&self, at: Instant) -> SystemTime {
        self.wall_start + self.since_start(at)
    }

    /// The monotonic instant of the start.
    pub fn epoch(&self) -> Instant {
        self.start
    }

    /// What has passed between the start and `at`; zero before the start.
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wall_time_advances_with_the_monotonic_clock() {
        let clock = Clock::start();
        let before = clock.wall(clock.now());
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.wall(clock.now()).duration_since(before).unwrap(), Duration::from_secs(90));
        assert_eq!(clock.since_start(clock.now()), Duration::from_secs(90));
    }
}
