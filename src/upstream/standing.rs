//! Whether a server gets requests: what its answers and its health checks say of it.
//!
//! The breaker opens when so many exchanges in a row have failed. When its time is over, one request tries the server:
//! that one decides. A server that health checks call unhealthy gets nothing, not even a try. Whoever comes back takes
//! a share of the requests that grows from a tenth to all within [`SLOW_RETURN`], so that the herd does not trample it.
//!
//! A server that nothing speaks against costs a request one relaxed load; only for a doubted one the record is locked.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::clock::jitter::jittered;
use crate::metrics::Counter;

/// Within what time a server that comes back takes its full share.
pub(super) const SLOW_RETURN: Duration = Duration::from_secs(10);
/// A full share, and what a server that has just come back gets of it.
pub(super) const ALL: u32 = 100;
const FIRST_SHARE: u32 = 10;

/// When answers take a server out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row that do.
    pub failures: u32,
    /// For how long, give or take a tenth.
    pub open: Duration,
}

/// When health checks take a server out, and when they bring it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckRules {
    /// Failed checks in a row that take it out.
    pub unhealthy_after: u32,
    /// Passed checks in a row that bring it back.
    pub healthy_after: u32,
}

/// A server's standing in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It gets its share.
    Healthy,
    /// It is back, and its share is growing.
    Returning,
    /// Its health checks fail.
    Unhealthy,
    /// The breaker is open.
    Open,
    /// One request tries whether it is back, or the next one will.
    HalfOpen,
}

/// What has changed in a server's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
    TurnedUnhealthy,
    TurnedHealthy,
}

/// What became of it so far.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) opened: Counter,
    pub(super) half_opened: Counter,
    pub(super) closed: Counter,
    pub(super) checks_passed: Counter,
    pub(super) checks_failed: Counter,
}

/// The standing of one server.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether the record has anything to say.
    is_doubted: AtomicBool,
    /// Failed exchanges in a row.
    failures: AtomicU32,
    record: Mutex<Record>,
    pub(super) figures: Figures,
}

#[derive(Debug, Default)]
struct Record {
    breaker: Breaker,
    /// When it last opened or closed.
    turned: Option<Instant>,
    /// How many have tried.
    trials: u32,
    is_unhealthy: bool,
    /// The last checks that said the same.
    checks: Run,
    /// When it came back.
    returned: Option<Instant>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Breaker {
    #[default]
    Closed,
    /// Nobody until then; afterwards one.
    Open { until: Instant },
    /// That one, by its number, is under way; when it takes too long, the next one may try, too, and decides.
    Trying { until: Instant, number: u32 },
}

#[derive(Debug, Default, Clone, Copy)]
struct Run {
    have_passed: bool,
    length: u32,
}

/// The one request that tries a server; one that ends without a verdict leaves the try to the next.
#[derive(Debug)]
pub(super) struct Trial<'s> {
    standing: &'s Standing,
    number: u32,
    began: Instant,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let mut record = self.standing.record.lock();
        if record.breaker.is_tried_by(self.number) {
            record.breaker = Breaker::Open { until: self.began };
        }
    }
}

impl Standing {
    /// Whether it is worth asking for more.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Ordering::Relaxed)
    }

    /// What share of its requests it gets, 0 to [`ALL`].
    pub(super) fn share(&self, now: Instant) -> u32 {
        if !self.is_doubted() {
            return ALL;
        }
        let mut record = self.record.lock();
        let share = record.share(now);
        if share == ALL {
            record.returned = None;
            self.is_doubted.store(false, Ordering::Relaxed);
        }
        share
    }

    /// The one try that an open breaker allows when its time is over; it has as much time again.
    pub(super) fn try_again(&self, now: Instant, rules: Option<BreakerRules>) -> Option<Trial<'_>> {
        if !self.is_doubted() {
            return None;
        }
        let mut record = self.record.lock();
        match record.breaker {
            Breaker::Open { until } | Breaker::Trying { until, .. }
                if until <= now && !record.is_unhealthy =>
            {
                let (until, number) = (now + rules?.open, record.trials.wrapping_add(1));
                (record.breaker, record.trials) = (Breaker::Trying { until, number }, number);
                self.figures.half_opened.inc();
                Some(Trial { standing: self, number, began: now })
            }
            _ => None,
        }
    }

    /// An exchange that began then has succeeded, or failed.
    pub(super) fn judge(
        &self,
        has_succeeded: bool,
        trial: Option<Trial<'_>>,
        began: Instant,
        now: Instant,
        rules: Option<BreakerRules>,
    ) -> Option<Change> {
        match trial {
            Some(_) if has_succeeded && self.close(now) => Some(Change::Closed),
            Some(trial) if !has_succeeded && self.record.lock().breaker.is_tried_by(trial.number) => {
                drop(trial);
                rules.and_then(|rules| self.open(rules, now));
                None
            }
            // One that others have overtaken meanwhile says what any exchange says.
            _ => self.judge_in_passing(has_succeeded, began, now, rules),
        }
    }

    /// An exchange that decides nothing by itself. What fails now and began before the breaker last opened or closed is no
    /// news: it may have hung since the server was ill.
    fn judge_in_passing(
        &self,
        has_succeeded: bool,
        began: Instant,
        now: Instant,
        rules: Option<BreakerRules>,
    ) -> Option<Change> {
        if has_succeeded {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            return None;
        }
        if self.record.lock().turned.is_some_and(|turned| began < turned) {
            return None;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        rules.filter(|rules| failures >= rules.failures).and_then(|rules| self.open(rules, now))
    }

    /// Closes the breaker, while somebody tries: an answer is an answer, though it took longer than the next one waited.
    fn close(&self, now: Instant) -> bool {
        let mut record = self.record.lock();
        let is_tried = matches!(record.breaker, Breaker::Trying { .. });
        if is_tried {
            record.breaker = Breaker::Closed;
            (record.turned, record.returned) = (Some(now), Some(now));
            self.failures.store(0, Ordering::Relaxed);
            self.figures.closed.inc();
        }
        is_tried
    }

    /// Opens the breaker, unless it is: an answer from before says nothing new.
    fn open(&self, rules: BreakerRules, now: Instant) -> Option<Change> {
        let mut record = self.record.lock();
        match record.breaker {
            Breaker::Open { until } if until > now => return None,
            Breaker::Trying { .. } => return None,
            Breaker::Open { .. } | Breaker::Closed => {}
        }
        record.breaker = Breaker::Open { until: now + jittered(rules.open) };
        record.checks.length = 0;
        (record.turned, record.returned) = (Some(now), None);
        self.is_doubted.store(true, Ordering::Relaxed);
        self.figures.opened.inc();
        Some(Change::Opened)
    }

    /// A health check has passed, or failed. Enough that pass also end the time of an open breaker: the next request may
    /// try.
    pub(super) fn checked(&self, has_passed: bool, now: Instant, rules: CheckRules) -> Option<Change> {
        let Figures { checks_passed, checks_failed, .. } = &self.figures;
        (if has_passed { checks_passed } else { checks_failed }).inc();
        let mut record = self.record.lock();
        if record.checks.have_passed != has_passed {
            record.checks = Run { have_passed: has_passed, length: 0 };
        }
        record.checks.length = record.checks.length.saturating_add(1);
        let needed = if has_passed { rules.healthy_after } else { rules.unhealthy_after };
        if record.checks.length < needed {
            return None;
        }
        if let (true, Breaker::Open { until }) = (has_passed, record.breaker) {
            record.breaker = Breaker::Open { until: until.min(now) };
        }
        if has_passed != record.is_unhealthy {
            return None;
        }
        record.is_unhealthy = !has_passed;
        record.returned = has_passed.then_some(now);
        self.is_doubted.store(true, Ordering::Relaxed);
        Some(if has_passed { Change::TurnedHealthy } else { Change::TurnedUnhealthy })
    }

    /// Forgets what rules have said that are no more. A server that other checks have called unhealthy stays so until new
    /// ones pass; of those, earlier ones are none.
    pub(super) fn keep(&self, has_breaker: bool, has_checks: bool, has_other_checks: bool) {
        let mut record = self.record.lock();
        if has_other_checks {
            record.checks = Run::default();
        }
        if !has_breaker {
            record.breaker = Breaker::Closed;
            self.failures.store(0, Ordering::Relaxed);
        }
        if !has_checks {
            record.is_unhealthy = false;
        }
    }

    /// For how long it gets nothing; `None` where only a health check can tell.
    pub(super) fn out_for(&self, now: Instant) -> Option<Duration> {
        let record = self.record.lock();
        match record.breaker {
            _ if record.is_unhealthy => None,
            Breaker::Open { until } => Some(until.saturating_duration_since(now)),
            Breaker::Closed | Breaker::Trying { .. } => Some(Duration::ZERO),
        }
    }

    /// Its standing in words.
    pub(super) fn state(&self, now: Instant) -> ServerState {
        let record = self.record.lock();
        match record.breaker {
            _ if record.is_unhealthy => ServerState::Unhealthy,
            Breaker::Open { until } if until > now => ServerState::Open,
            Breaker::Open { .. } | Breaker::Trying { .. } => ServerState::HalfOpen,
            Breaker::Closed if record.share(now) < ALL => ServerState::Returning,
            Breaker::Closed => ServerState::Healthy,
        }
    }
}

impl Breaker {
    fn is_tried_by(self, trial: u32) -> bool {
        matches!(self, Self::Trying { number, .. } if number == trial)
    }
}

impl Record {
    fn share(&self, now: Instant) -> u32 {
        match (self.breaker, self.returned) {
            (Breaker::Open { .. } | Breaker::Trying { .. }, _) => 0,
            _ if self.is_unhealthy => 0,
            (Breaker::Closed, None) => ALL,
            (Breaker::Closed, Some(returned)) => {
                let grown = now.saturating_duration_since(returned).as_millis() * u128::from(ALL);
                let share = grown / SLOW_RETURN.as_millis();
                u32::try_from(share).map_or(ALL, |share| share.clamp(FIRST_SHARE, ALL))
            }
        }
    }
}

impl ServerState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Returning => "returning",
            Self::Unhealthy => "unhealthy",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// Whether requests are sent to it.
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Healthy | Self::Returning)
    }

    /// Whether the next request may reach it: who takes no requests never finds out that it is back.
    pub fn may_be_asked(self) -> bool {
        self.is_healthy() || self == Self::HalfOpen
    }
}

#[cfg(test)]
mod tests;
