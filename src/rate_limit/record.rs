//! What a table remembers of one key: the times of its last requests, and a TAT for each GCRA tier.
//!
//! All tiers of a limit are charged together, so one list of timestamps, long enough for the longest window, serves
//! all exact tiers. A record is 48 bytes, and needs memory of its own beyond 8 words: a timestamp is one, a TAT two.

use smallvec::SmallVec;

use super::rules::{Exact, Rules};

/// The state of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// The tick of the latest charge: timestamps are the low halves of ticks not far before it.
    newest: u64,
    /// Two words for the TAT of each GCRA tier (low half first), then the timestamps, oldest first.
    words: SmallVec<[u32; 8]>,
}

/// Where a key stands in one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Which tier.
    pub(super) tier: usize,
    /// How many more requests it allows now.
    pub(super) remaining: u32,
    /// When (nanoseconds from now) it will allow one more than that.
    pub(super) more_in: u64,
}

/// What to take back at a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    tick: u64,
    tats: SmallVec<[u64; 3]>,
}

impl Record {
    /// A record with what `rules` ask for, and nothing charged.
    pub(super) fn new(rules: &Rules) -> Self {
        let mut words = SmallVec::new();
        words.resize(2 * rules.gcra.len(), 0);
        Self { newest: 0, words }
    }

    /// A record with a history: TATs in the order of the rules, and ticks, oldest first.
    pub(super) fn with_history(tats: &[u64], ticks: &[u64]) -> Self {
        let mut record = Self { newest: ticks.last().copied().unwrap_or(0), words: SmallVec::new() };
        record.words.resize(2 * tats.len(), 0);
        tats.iter().enumerate().for_each(|(nth, tat)| record.set_tat(nth, *tat));
        record.words.extend(ticks.iter().map(|tick| low(*tick)));
        record
    }

    /// Charges every tier, or none: then it tells the tier that keeps the client waiting longest. `now` in nanoseconds.
    pub(super) fn charge(&mut self, rules: &Rules, now: u64) -> Result<(Standing, Receipt), Standing> {
        // Two threads may come in the wrong order; time does not go back.
        let tick = (now / rules.tick).max(self.newest);
        let mut tats = SmallVec::new();
        let mut tightest = None;
        if let Some(refused) = self.judge(rules, now, tick, |standing, tat| {
            tats.extend(tat);
            let is_tighter =
                |other: &Standing| (standing.remaining, other.more_in) < (other.remaining, standing.more_in);
            if tightest.as_ref().is_none_or(is_tighter) {
                tightest = Some(standing);
            }
        }) {
            return Err(refused);
        }
        tats.iter().enumerate().for_each(|(nth, tat)| self.set_tat(nth, *tat));
        if !rules.exact.is_empty() {
            self.forget(rules, tick);
            self.newest = tick;
            self.words.push(low(tick));
        }
        let standing = tightest.unwrap_or(Standing { tier: 0, remaining: 0, more_in: 0 });
        Ok((standing, Receipt { tick, tats }))
    }

    /// What a charge would be refused with.
    pub(super) fn refusal(&self, rules: &Rules, now: u64) -> Option<Standing> {
        let tick = (now / rules.tick).max(self.newest);
        self.judge(rules, now, tick, |_, _| ())
    }

    /// Takes a charge back as if it had never been.
    pub(super) fn refund(&mut self, rules: &Rules, receipt: &Receipt) {
        for (nth, (tier, after)) in rules.gcra.iter().zip(&receipt.tats).enumerate() {
            let tat = tier.gcra.refund(self.tat(nth), *after);
            self.set_tat(nth, tat);
        }
        let is_gone = self.newest.saturating_sub(receipt.tick) >= rules.longest;
        if is_gone {
            return;
        }
        let stamps = self.stamps(rules);
        if let Some(at) = stamps.iter().rposition(|stamp| *stamp == low(receipt.tick)) {
            self.words.remove(2 * rules.gcra.len() + at);
        }
    }

    /// When the record will say no more than a new one would, in nanoseconds since the epoch.
    pub(super) fn expiry(&self, rules: &Rules) -> u64 {
        let exact = self.ticks(rules).last().map(|tick| (tick + rules.longest).saturating_mul(rules.tick));
        let gcra = (0..rules.gcra.len()).map(|nth| self.tat(nth)).max();
        exact.max(gcra).unwrap_or(0)
    }

    /// The ticks of the remembered charges, oldest first.
    pub(super) fn ticks(&self, rules: &Rules) -> impl Iterator<Item = u64> {
        self.stamps(rules).iter().map(|stamp| self.newest - u64::from(low(self.newest).wrapping_sub(*stamp)))
    }

    /// The TAT of the GCRA tier number `nth`.
    pub(super) fn tat(&self, nth: usize) -> u64 {
        match self.words.get(2 * nth..2 * nth + 2) {
            Some([low, high]) => u64::from(*low) | u64::from(*high) << 32,
            _ => 0,
        }
    }

    /// Asks every tier. `accepted` hears where each that says yes will stand after the charge, with its TAT if it has
    /// one; the answer is the tier with the longest wait among those that say no.
    fn judge(
        &self,
        rules: &Rules,
        now: u64,
        tick: u64,
        mut accepted: impl FnMut(Standing, Option<u64>),
    ) -> Option<Standing> {
        let mut refused: Option<Standing> = None;
        let mut refuse = |tier, wait| {
            if refused.is_none_or(|other| other.more_in < wait) {
                refused = Some(Standing { tier, remaining: 0, more_in: wait });
            }
        };
        for exact in &rules.exact {
            match self.judge_exact(rules, exact, tick) {
                Ok((remaining, ticks)) => {
                    let standing = Standing { tier: exact.tier, remaining, more_in: ticks * rules.tick };
                    accepted(standing, None);
                }
                Err(ticks) => refuse(exact.tier, ticks * rules.tick),
            }
        }
        for (nth, smooth) in rules.gcra.iter().enumerate() {
            match smooth.gcra.check(self.tat(nth), now) {
                Ok(found) => {
                    let (remaining, more_in) = (found.remaining, found.next_unit);
                    accepted(Standing { tier: smooth.tier, remaining, more_in }, Some(found.tat));
                }
                Err(wait) => refuse(smooth.tier, wait),
            }
        }
        refused
    }

    /// What would remain after a charge and the ticks until there is one more; or the ticks to wait.
    fn judge_exact(&self, rules: &Rules, exact: &Exact, tick: u64) -> Result<(u32, u64), u64> {
        let stamps = self.stamps(rules);
        let since_newest = tick - self.newest;
        let age = |stamp: &u32| since_newest + u64::from(low(self.newest).wrapping_sub(*stamp));
        // The one that must have left the window before another may enter it.
        let blocking = stamps.len().checked_sub(exact.allowance).and_then(|at| stamps.get(at));
        if let Some(wait) = blocking.and_then(|stamp| exact.window.checked_sub(age(stamp)))
            && wait > 0
        {
            return Err(wait);
        }
        let first = stamps.partition_point(|stamp| age(stamp) >= exact.window);
        let used = stamps.len() - first + 1;
        let more_in = stamps.get(first).map_or(exact.window, |stamp| exact.window - age(stamp));
        Ok((u32::try_from(exact.allowance.saturating_sub(used)).unwrap_or(u32::MAX), more_in))
    }

    /// Drops the timestamps that have left every window.
    fn forget(&mut self, rules: &Rules, tick: u64) {
        let since_newest = tick - self.newest;
        let newest = low(self.newest);
        let is_old = |stamp: &u32| since_newest + u64::from(newest.wrapping_sub(*stamp)) >= rules.longest;
        let old = self.stamps(rules).partition_point(is_old);
        if old > 0 {
            let start = 2 * rules.gcra.len();
            self.words.drain(start..start + old);
        }
    }

    fn stamps(&self, rules: &Rules) -> &[u32] {
        self.words.get(2 * rules.gcra.len()..).unwrap_or(&[])
    }

    fn set_tat(&mut self, nth: usize, tat: u64) {
        if let Some([first, second]) = self.words.get_mut(2 * nth..2 * nth + 2) {
            (*first, *second) = (low(tat), low(tat >> 32));
        }
    }
}

/// The low half.
#[expect(clippy::cast_possible_truncation, reason = "that is its purpose")]
fn low(wide: u64) -> u32 {
    wide as u32
}
