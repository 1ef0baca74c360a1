//! Tiers with a large allowance: governor's GCRA as arithmetic over a number that we keep.
//!
//! governor's own keyed limiter commits each check, knows no refund, and forgets everything when it is rebuilt. Here it
//! only computes: the "theoretical arrival time" (TAT, nanoseconds since the table's epoch) goes in by a slot and comes
//! out again, and whether it is written back is decided when all tiers have spoken.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

/// `allowance` at once, one more every `emission`.
#[derive(Debug)]
pub(super) struct Gcra {
    limiter: RateLimiter<Slot, SlotStore, CallersClock, StateInformationMiddleware>,
    emission: u64,
    allowance: u32,
}

/// What a check found: the TAT if it is charged, how many more would be allowed now, and when the next unit comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) tat: u64,
    pub(super) remaining: u32,
    pub(super) next_unit: u64,
}

impl Gcra {
    /// `limit` in `window` nanoseconds in the long run, `allowance` at once.
    pub(super) fn new(limit: u32, window: u64, allowance: u32) -> Self {
        let emission = window.div_ceil(u64::from(limit.max(1))).max(1);
        // governor multiplies the two; the product stays within 146 years.
        let most = u32::try_from((u64::MAX >> 2) / emission).unwrap_or(u32::MAX);
        let allowance = NonZeroU32::new(allowance.clamp(1, most.max(1))).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_nanos(emission))
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(allowance);
        // governor counts from the time at which a limiter is made; ours all count from the table's epoch.
        NOW.set(0);
        let limiter = RateLimiter::new(quota, SlotStore, CallersClock);
        Self { limiter, emission, allowance: allowance.get() }
    }

    /// Whether a request at `now` is within the limit; if not, how long until it would be. Charges nothing.
    pub(super) fn check(&self, tat: u64, now: u64) -> Result<Accepted, u64> {
        let slot = Slot(Cell::new(tat));
        NOW.set(now);
        match self.limiter.check_key(&slot) {
            Ok(state) => {
                let tat = slot.0.get();
                let next_unit = match tat.saturating_sub(now) % self.emission {
                    0 => self.emission,
                    part => part,
                };
                Ok(Accepted { tat, remaining: state.remaining_burst_capacity(), next_unit })
            }
            Err(refused) => {
                let wait = refused.wait_time_from(Moment(now)).as_nanos();
                Err(u64::try_from(wait).unwrap_or(u64::MAX))
            }
        }
    }

    /// The TAT without a charge that made it `after`. When later charges came in an unbroken row, each is a whole
    /// number of emissions further; when not, the bucket was full in between and the charge is long forgotten. (A later
    /// request may hit such a multiple by chance, to the nanosecond: it then gets one unit too much.)
    pub(super) fn refund(&self, tat: u64, after: u64) -> u64 {
        // Less than `after` is what another refund, which came first, has left.
        let is_unbroken = tat.abs_diff(after).is_multiple_of(self.emission);
        if is_unbroken { tat.saturating_sub(self.emission) } else { tat }
    }

    /// When the units that `tat` still owes at `now` come back, from the last one on; at most `most`.
    pub(super) fn owed(&self, tat: u64, now: u64, most: usize) -> impl Iterator<Item = u64> {
        let emission = self.emission;
        (0..most as u64).map_while(move |nth| tat.checked_sub(nth * emission).filter(|due| *due > now))
    }

    /// The latest TAT that can be, at `now`: everything used.
    pub(super) fn latest(&self, now: u64) -> u64 {
        now + self.emission * u64::from(self.allowance)
    }
}

/// A TAT on its way through governor. As a key it has no state behind it: it is the state.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot(Cell<u64>);

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.get());
    }
}

#[derive(Debug)]
struct SlotStore;

impl StateStore for SlotStore {
    type Key = Slot;

    fn measure_and_replace<T, F, E>(&self, slot: &Slot, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, tat) = decide(Some(Nanos::new(slot.0.get())))?;
        slot.0.set(tat.as_u64());
        Ok(outcome)
    }
}

thread_local! {
    /// The `now` of the check that this thread is at: governor asks a clock, our decisions take the time as a parameter.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

#[derive(Debug)]
struct CallersClock;

impl Clock for CallersClock {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(NOW.get())
    }
}

/// Nanoseconds since the table's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u64);

impl Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, later: Nanos) -> Self {
        Self(self.0.saturating_add(later.as_u64()))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::new(self.0.saturating_sub(earlier.0))
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.saturating_sub(duration.as_u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn drained(gcra: &Gcra, now: u64) -> (u64, u32) {
        let (mut tat, mut count) = (0, 0);
        while let Ok(accepted) = gcra.check(tat, now) {
            (tat, count) = (accepted.tat, count + 1);
        }
        (tat, count)
    }

    #[test]
    fn the_allowance_is_there_at_once_and_comes_back_evenly() {
        let gcra = Gcra::new(200, 10 * SECOND, 230);
        let now = 5 * SECOND;
        let (tat, count) = drained(&gcra, now);
        assert_eq!(count, 230);
        let wait = gcra.check(tat, now).unwrap_err();
        assert_eq!(wait, SECOND / 20);
        assert!(gcra.check(tat, now + wait - 1).is_err());
        let accepted = gcra.check(tat, now + wait).unwrap();
        assert_eq!((accepted.remaining, accepted.next_unit), (0, SECOND / 20));
        assert_eq!(gcra.latest(now), tat);
        assert_eq!(gcra.owed(tat, now, 500).count(), 230);
    }

    #[test]
    fn a_refund_leaves_what_would_be_there_without_the_charge() {
        let gcra = Gcra::new(200, 10 * SECOND, 200);
        let emission = SECOND / 20;
        for gap in [0, 1, emission / 2, emission - 1, emission, 3 * emission + 1, SECOND + 1] {
            let before = gcra.check(0, SECOND).unwrap().tat;
            let charged = gcra.check(before, SECOND).unwrap().tat;
            let later = SECOND + gap;
            let with = gcra.refund(gcra.check(charged, later).unwrap().tat, charged);
            let without = gcra.check(before, later).unwrap().tat;
            assert!(with >= without && with - without < emission, "gap {gap}: {with} {without}");
        }
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let gcra = Gcra::new(1, u64::MAX >> 2, u32::MAX);
        assert!(gcra.check(0, u64::MAX >> 3).is_ok());
        let gcra = Gcra::new(u32::MAX, 1, u32::MAX);
        assert!(gcra.check(0, 1).is_ok());
    }
}
