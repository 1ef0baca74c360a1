//! How often a client may ask.
//!
//! Promises: every tier of a limit allows a request or none is charged; a tier of up to 128 requests is exact (never
//! more in *any* window of its length), a larger one is smooth (GCRA: all at once, then evenly); the stated wait is the
//! shortest that helps; a charge can be taken back; memory is bounded, and no flood resets a limited client.
//!
//! `burst` is added to each tier's number: with `2/minute` and a burst of 1, three in any minute.

mod fields;
mod gcra;
mod quota;
mod record;
mod reshape;
mod rules;
mod table;
mod words;

pub use fields::{RATELIMIT, RATELIMIT_POLICY};
pub use quota::{Quota, QuotaError};
pub use table::Buckets;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;
use tokio::time::Instant;

use self::fields::Fields;
use self::record::Standing;
use self::table::{Debit, Edition, Refused};
use crate::client::{KeySource, KeySpec, PartitionKey};

/// What a limit is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in the config, which clients are told too.
    pub name: Arc<str>,
    /// Whom it counts together.
    pub key: KeySpec,
    /// Every one must allow a request.
    pub tiers: Vec<Quota>,
    /// Added to the number of each tier.
    pub burst: u32,
    /// Which requests count.
    pub charge: Charge,
    /// Count, never refuse.
    pub observe: bool,
    /// How many keys have a counter of their own; further ones share one.
    pub max_keys: usize,
}

/// Which requests a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    /// Every one.
    Request,
    /// Those that go to the upstream: hits and collapsed followers are free.
    Upstream,
}

/// A limit.
#[derive(Debug)]
pub struct RateLimit {
    spec: Spec,
    /// What a refused client is told, in a sentence.
    refusal: Box<str>,
    edition: Edition,
    fields: Fields,
    buckets: Arc<Buckets>,
}

impl RateLimit {
    /// A limit over the counters of its name. Counters that were kept under other tiers are carried over when they are
    /// first used.
    pub fn new(spec: Spec, buckets: Arc<Buckets>) -> Self {
        let edition = buckets.edition(&spec.tiers, spec.burst);
        let fields = Fields::new(&spec.name, &spec.tiers, spec.burst);
        let refusal = format!("The rate limit \"{}\" allows {}.", spec.name, allowed(&spec)).into();
        Self { spec, refusal, edition, fields, buckets }
    }

    /// Charges a request, unless that is one too many.
    ///
    /// # Errors
    /// The limit is reached, and it is enforced.
    pub fn check(self: &Arc<Self>, key: PartitionKey, now: Instant) -> Result<Charges, Limited> {
        self.charge(key, now).map(|grant| Charges(SmallVec::from_buf([grant])))
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its counters and figures.
    pub fn buckets(&self) -> &Arc<Buckets> {
        &self.buckets
    }

    /// The `RateLimit-Policy` field.
    pub fn policy_field(&self) -> &HeaderValue {
        &self.fields.policy
    }

    /// The whole rule, for people: `2 per minute and 10 per hour for each client address`.
    pub fn in_words(&self) -> String {
        words::rule(&allowed(&self.spec), self.spec.key.sources())
    }

    /// How long until a request of `key` would be allowed; zero if it would be now. Charges nothing.
    pub fn wait(&self, key: PartitionKey, now: Instant) -> Duration {
        let refusal = self.buckets.judge(&self.edition, key, now);
        refusal.map_or(Duration::ZERO, |standing| Duration::from_nanos(standing.more_in))
    }

    fn charge(self: &Arc<Self>, key: PartitionKey, now: Instant) -> Result<Grant, Limited> {
        match self.buckets.charge(&self.edition, self.spec.max_keys, key, now) {
            Ok((standing, debit)) => Ok(Grant { limit: Arc::clone(self), standing, debit: Some(debit) }),
            Err(Refused { standing, .. }) if self.spec.observe => {
                self.buckets.would_refuse.inc();
                Ok(Grant { limit: Arc::clone(self), standing, debit: None })
            }
            Err(refused) => {
                self.buckets.refused.inc();
                Err(Limited { limit: Arc::clone(self), refused })
            }
        }
    }
}

/// `2 per minute and 10 per hour`.
fn allowed(spec: &Spec) -> String {
    words::tiers(spec.tiers.iter().map(|tier| (tier.limit().saturating_add(spec.burst), tier.window())))
}

/// Charges all limits of a request, or none.
///
/// The limits are asked one after the other, each under its own lock: between two of them another request of the same
/// client may be refused because of a charge that is about to be taken back.
///
/// # Errors
/// The limit that keeps the client waiting longest.
pub fn check_all<'l>(
    limits: impl IntoIterator<Item = (&'l Arc<RateLimit>, PartitionKey), IntoIter: Clone>,
    now: Instant,
) -> Result<Charges, Limited> {
    let limits = limits.into_iter();
    let mut charges = Charges::default();
    for (limit, key) in limits.clone() {
        match limit.charge(key, now) {
            Ok(grant) => charges.0.push(grant),
            Err(refused) => {
                charges.refund();
                return Err(longest(refused, limits, now));
            }
        }
    }
    Ok(charges)
}

/// The stated wait must be enough for every limit, not just for the first that refused.
fn longest<'l>(
    mut refused: Limited,
    limits: impl Iterator<Item = (&'l Arc<RateLimit>, PartitionKey)>,
    now: Instant,
) -> Limited {
    for (limit, key) in limits.filter(|(limit, _)| !limit.spec.observe) {
        match limit.buckets.judge(&limit.edition, key, now) {
            Some(standing) if standing.more_in > refused.refused.standing.more_in => {
                refused = Limited { limit: Arc::clone(limit), refused: standing.into() };
            }
            _ => {}
        }
    }
    refused
}

/// What a request was charged; stays charged when dropped.
#[derive(Debug, Default)]
#[must_use = "a request that is turned away later gets its charges back"]
pub struct Charges(SmallVec<[Grant; 1]>);

#[derive(Debug)]
struct Grant {
    limit: Arc<RateLimit>,
    standing: Standing,
    /// None where the limit only observes and would have refused.
    debit: Option<Debit>,
}

impl Charges {
    /// Takes the charges back, as if the request had never been.
    pub fn refund(self) {
        for grant in self.0 {
            if let Some(debit) = &grant.debit {
                grant.limit.buckets.refund(debit);
            }
        }
    }

    /// Adds what another check charged.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Adds `RateLimit-Policy` and `RateLimit` to a response. Limits that only observe are not told.
    pub fn tell(&self, headers: &mut HeaderMap) {
        for Grant { limit, standing, .. } in self.0.iter().filter(|grant| !grant.limit.spec.observe) {
            headers.append(RATELIMIT_POLICY, limit.fields.policy.clone());
            headers.append(RATELIMIT, limit.fields.standing(standing));
        }
    }
}

/// A limit is reached.
#[derive(Debug)]
pub struct Limited {
    limit: Arc<RateLimit>,
    refused: Refused,
}

impl Limited {
    /// The name of the limit.
    pub fn limit(&self) -> &str {
        &self.limit.spec.name
    }

    /// A sentence for people.
    pub fn in_words(&self) -> &str {
        &self.limit.refusal
    }

    /// The shortest wait after which the same request would be allowed, exactly.
    pub fn retry_after(&self) -> Duration {
        Duration::from_nanos(self.refused.standing.more_in)
    }

    /// Whether others wait for the same moment, so that their returns should be spread.
    pub fn is_shared(&self) -> bool {
        let is_common = |source: &KeySource| {
            matches!(source, KeySource::Global | KeySource::Path(_) | KeySource::Query(_))
        };
        self.refused.is_shared || self.limit.spec.key.sources().iter().all(is_common)
    }

    /// The `RateLimit-Policy` field.
    pub fn policy_field(&self) -> &HeaderValue {
        &self.limit.fields.policy
    }

    /// The `RateLimit` field.
    pub fn field(&self) -> HeaderValue {
        self.limit.fields.standing(&self.refused.standing)
    }
}

impl std::fmt::Display for Limited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rate limit {} is reached", self.limit.spec.name)
    }
}

impl std::error::Error for Limited {}

#[cfg(test)]
mod tests;
