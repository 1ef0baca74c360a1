//! How many requests a backend can take, found by trying: additive increase, multiplicative decrease.
//!
//! The answers of as many requests as there are permits make a round. A round in which more than a tenth failed, or
//! which took too long on average, takes a quarter of the permits away; a good one that needed them all adds one. A
//! round that did not need them all says nothing about more. Pure: samples in, a limit out, no clock of its own.

use std::time::Duration;

use tokio::time::Instant;

use super::{Auto, Sample, Verdict};

/// The answers that a round has at least.
const SHORTEST_ROUND: usize = 8;

/// The lowest mean is forgotten after this time, or the one after: a backend may become slower for good.
const MEMORY: Duration = Duration::from_mins(5);

/// An answer that takes so much longer than at best may still be as quick as ever.
const NOISE: Duration = Duration::from_millis(20);

/// What was learnt about a backend.
#[derive(Debug)]
pub(super) struct Adaptive {
    limit: usize,
    round: Round,
    /// The lowest mean time of a round, of late and before.
    lowest: [Option<Duration>; 2],
    remembered_since: Instant,
}

/// The answers since the last change.
#[derive(Debug)]
struct Round {
    began: Instant,
    answers: usize,
    failures: usize,
    /// Whether all permits were in use at some time.
    was_full: bool,
    took: Duration,
    /// How long the answers were to take, together.
    expected: Duration,
}

/// A limit that changes, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) why: &'static str,
}

impl Adaptive {
    /// Begins with `limit`, within bounds.
    pub(super) fn new(limit: usize, bounds: Auto, now: Instant) -> Self {
        Self {
            limit: bounds.clamp(limit),
            round: Round::begin(now),
            lowest: [None; 2],
            remembered_since: now,
        }
    }

    /// What it has come to.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes on other bounds.
    pub(super) fn rebound(&mut self, bounds: Auto) {
        self.limit = bounds.clamp(self.limit);
    }

    /// An answer came `now`, while `in_flight` permits were held, `jobs` of them by jobs: the limit does not fall below
    /// those.
    pub(super) fn learn(
        &mut self,
        sample: Sample,
        in_flight: usize,
        jobs: usize,
        bounds: Auto,
        now: Instant,
    ) -> Option<Change> {
        // What began under the old limit says nothing about the new one.
        if sample.began < self.round.began {
            return None;
        }
        let usual = self.lowest.iter().flatten().min().map(|lowest| *lowest + (*lowest).max(NOISE));
        self.round.count(sample, usual, in_flight >= self.limit);
        if self.round.answers < self.limit.max(SHORTEST_ROUND) {
            return None;
        }
        let round = std::mem::replace(&mut self.round, Round::begin(now));
        let (to, why) = match round.fault() {
            Some(why) => ((self.limit - self.limit.div_ceil(4)).max(jobs), why),
            None => (self.limit + usize::from(round.was_full), "the upstream keeps up"),
        };
        if why != TOO_MANY_FAILURES {
            self.remember(round.mean(), now);
        }
        let change = Change { from: self.limit, to: bounds.clamp(to), why };
        self.limit = change.to;
        (change.from != change.to).then_some(change)
    }

    fn remember(&mut self, mean: Duration, now: Instant) {
        let [late, before] = &mut self.lowest;
        if now.saturating_duration_since(self.remembered_since) >= MEMORY {
            *before = late.take();
            self.remembered_since = now;
        }
        *late = Some(late.map_or(mean, |lowest| lowest.min(mean)));
    }
}

const TOO_MANY_FAILURES: &str = "more than a tenth failed";
const TOO_SLOW: &str = "answers take too long";

impl Round {
    fn begin(now: Instant) -> Self {
        Self {
            began: now,
            answers: 0,
            failures: 0,
            was_full: false,
            took: Duration::ZERO,
            expected: Duration::ZERO,
        }
    }

    fn count(&mut self, sample: Sample, usual: Option<Duration>, is_full: bool) {
        self.answers += 1;
        self.was_full |= is_full;
        match sample.verdict {
            Verdict::Answered(took) => {
                self.took += took;
                self.expected += sample.target.or(usual).unwrap_or(took);
            }
            Verdict::Failed => self.failures += 1,
        }
    }

    fn fault(&self) -> Option<&'static str> {
        match () {
            () if self.failures * 10 > self.answers => Some(TOO_MANY_FAILURES),
            () if self.took > self.expected => Some(TOO_SLOW),
            () => None,
        }
    }

    /// Of the answers that were none of failure.
    fn mean(&self) -> Duration {
        let answered = u32::try_from(self.answers - self.failures).unwrap_or(u32::MAX);
        self.took.checked_div(answered).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
