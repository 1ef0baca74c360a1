//! The tiers of a limit, compiled: which are counted exactly and which by GCRA, and in what unit time is kept.

use std::time::Duration;

use super::gcra::Gcra;
use super::quota::Quota;

/// Up to this allowance a tier keeps a timestamp per request and is exact.
const MOST_EXACT: u32 = 128;

/// What the records of a table are judged by.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The quotas and the burst that the rules were made of; equal sources make equal rules.
    source: (Vec<Quota>, u32),
    pub(super) exact: Vec<Exact>,
    pub(super) gcra: Vec<Smooth>,
    /// The unit of timestamps in nanoseconds: a power of ten, and less than a billionth of the longest exact window
    /// (1 us for an hour). Time is rounded down to it, so 32 bits hold any age that counts.
    pub(super) tick: u64,
    /// The longest exact window, in ticks; older timestamps are of no use to anybody.
    pub(super) longest: u64,
}

/// At most `allowance` requests in any `window` (ticks).
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) tier: usize,
    pub(super) allowance: usize,
    pub(super) window: u64,
}

/// A tier counted by GCRA.
#[derive(Debug)]
pub(super) struct Smooth {
    pub(super) tier: usize,
    pub(super) gcra: Gcra,
    /// What it is recognised by when the tiers change.
    pub(super) window: Duration,
}

impl Rules {
    pub(super) fn new(quotas: &[Quota], burst: u32) -> Self {
        let is_exact = |quota: &Quota| quota.limit().saturating_add(burst) <= MOST_EXACT;
        let longest = quotas.iter().filter(|quota| is_exact(quota)).map(|quota| nanos(quota.window())).max();
        let mut tick = 1;
        while longest.unwrap_or(0) / tick > u64::from(u32::MAX) {
            tick *= 10;
        }
        let mut rules = Self { source: (quotas.to_vec(), burst), tick, ..Self::default() };
        for (tier, quota) in quotas.iter().enumerate() {
            let (window, allowance) = (nanos(quota.window()), quota.limit().saturating_add(burst));
            if is_exact(quota) {
                let window = window.div_ceil(tick);
                rules.longest = rules.longest.max(window);
                rules.exact.push(Exact { tier, allowance: allowance as usize, window });
            } else {
                let gcra = Gcra::new(quota.limit(), window, allowance);
                rules.gcra.push(Smooth { tier, gcra, window: quota.window() });
            }
        }
        rules
    }

    pub(super) fn is_same_as(&self, quotas: &[Quota], burst: u32) -> bool {
        self.source.0 == quotas && self.source.1 == burst
    }
}

/// Nanoseconds, 584 years at most.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
