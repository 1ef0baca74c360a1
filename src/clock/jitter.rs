//! Times that are not quite equal, so that what begins together does not recur together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// `period`, give or take a tenth.
pub fn jittered(period: Duration) -> Duration {
    // The standard library's hasher seeds are the operating system's randomness.
    let drawn = RandomState::new().build_hasher().finish() >> 11;
    period.mul_f64(0.9 + 0.2 * (drawn as f64 / (1_u64 << 53) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_at_most_either_way_and_not_always_the_same() {
        let hour = Duration::from_secs(3600);
        let drawn: Vec<_> = (0..100).map(|_| jittered(hour)).collect();
        assert!(drawn.iter().all(|time| *time >= hour * 9 / 10 && *time <= hour * 11 / 10));
        assert!(drawn.iter().any(|time| *time < hour) && drawn.iter().any(|time| *time > hour));
    }
}
