//! What counts the request: rate limits and the in-flight pool.

use serde::Serialize;

use super::keys::Key;
use crate::admission::{Auto, QueueSpec};
use crate::config::values::Period;
use crate::dedupe::By;
use crate::digest::Digester;
use crate::policy::{Dedupe, InFlight};
use crate::proxy::asked::Asked;
use crate::rate_limit::{Charge, RateLimit};

/// A rate limit and how it counts the request.
#[derive(Debug, Serialize)]
pub(super) struct RateLimitReport {
    /// Its name.
    pub(super) name: String,
    /// Each of them must allow the request.
    pub(super) tiers: Vec<String>,
    /// On top of each tier.
    pub(super) burst: u32,
    /// Together with whom.
    pub(super) key: Key,
    /// `request`: counted at once; `upstream`: only when it goes there.
    pub(super) charge: &'static str,
    /// `enforce` or `observe`.
    pub(super) mode: &'static str,
}

/// The pool and how it counts the request.
#[derive(Debug, Serialize)]
pub(super) struct InFlightReport {
    /// The pool's name.
    pub(super) pool: String,
    /// How many at once; where that is found by trial, to begin with.
    pub(super) max: usize,
    /// Between what it is found by trial: the least and the most.
    pub(super) auto: Option<[usize; 2]>,
    /// How many of them for one key.
    pub(super) per: Option<PerKey>,
    /// Where those wait that find it full.
    pub(super) queue: Option<Queue>,
    /// 0 (last) to 9 (first) in that queue.
    pub(super) priority: u8,
    /// The status of a refusal.
    pub(super) status: u16,
    /// `enforce` or `observe`.
    pub(super) mode: &'static str,
}

/// The second cap.
#[derive(Debug, Serialize)]
pub(super) struct PerKey {
    /// How many at once.
    pub(super) max: usize,
    /// Together with whom.
    pub(super) key: Key,
}

/// The queue.
#[derive(Debug, Serialize)]
pub(super) struct Queue {
    /// How many may wait.
    pub(super) size: usize,
    /// How long.
    pub(super) timeout: String,
}

impl RateLimitReport {
    /// All limits of the request's route.
    pub(super) fn all(asked: &Asked, digester: &Digester) -> Vec<Self> {
        let limits = asked.route().rate_limits.iter().chain(&asked.route().upstream_rate_limits);
        limits.map(|limit| Self::of(limit, asked, digester)).collect()
    }

    fn of(limit: &RateLimit, asked: &Asked, digester: &Digester) -> Self {
        let spec = limit.spec();
        Self {
            name: spec.name.to_string(),
            tiers: spec.tiers.iter().map(ToString::to_string).collect(),
            burst: spec.burst,
            key: Key::of(&spec.key, asked, digester),
            charge: match spec.charge {
                Charge::Request => "request",
                Charge::Upstream => "upstream",
            },
            mode: mode(spec.observe),
        }
    }

    /// The rule in one line.
    pub(super) fn rule(&self) -> String {
        let mut rule = self.tiers.join(" and ");
        if self.burst > 0 {
            rule.push_str(&format!(", plus a burst of {}", self.burst));
        }
        if self.charge == "upstream" {
            rule.push_str(", counted only when it goes upstream");
        }
        if self.mode == "observe" {
            rule.push_str(", observed only: nothing is refused");
        }
        rule
    }
}

impl InFlightReport {
    pub(super) fn of(in_flight: &InFlight, asked: &Asked, digester: &Digester) -> Self {
        let spec = in_flight.pool.spec();
        let queue = |queue: QueueSpec| Queue { size: queue.size, timeout: Period(queue.timeout).to_string() };
        let per = |(key, max)| PerKey { max, key: Key::of(&key, asked, digester) };
        Self {
            pool: spec.name.to_string(),
            max: in_flight.pool.stats().max,
            auto: spec.auto.map(|Auto { min, max }| [min, max]),
            per: spec.per.map(per),
            queue: spec.queue.map(queue),
            priority: asked.route().priority,
            status: spec.status.as_u16(),
            mode: mode(spec.observe),
        }
    }

    /// The rule in one line.
    pub(super) fn rule(&self) -> String {
        let beyond = match (&self.queue, self.mode) {
            (_, "observe") => "observed only: nothing is refused".to_owned(),
            (None, _) => format!("more are refused at once with {}", self.status),
            (Some(Queue { size, timeout }), _) => {
                format!("{size} more wait up to {timeout}, this one with priority {}", self.priority)
            }
        };
        match self.auto {
            None => format!("at most {} at once, {beyond}", self.max),
            Some([min, max]) => format!("as many at once as the backend can take, {min} to {max}, {beyond}"),
        }
    }
}

/// With which others a request is one start.
pub(super) fn dedupe_in_words(dedupe: &Dedupe) -> String {
    let others = match &dedupe.by {
        By::Body => "with equal bodies".to_owned(),
        By::Header(name) => format!("with the same {name}"),
    };
    let window = Period(dedupe.window);
    let effect = if dedupe.observe { "observed only: nothing is shared" } else { "and share its answer" };
    format!("those of one identity {others}, until {window} after the answer, are made once, {effect}")
}

fn mode(observe: bool) -> &'static str {
    if observe { "observe" } else { "enforce" }
}
