//! Rate limits and in-flight pools.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Findings, names, shared};
use crate::admission::Auto;
use crate::client::{KeySource, KeySpec};
use crate::config::in_flight::{Auto as AutoBounds, Cap, InFlight};
use crate::config::one_or_many::OneOrMany;
use crate::config::rate_limit::RateLimit;
use crate::config::{Config, Problem};

/// A rate limit with its key read.
#[derive(Debug)]
pub struct RateLimitPlan<'c> {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Who counts as one.
    pub key: KeySpec,
    /// The rest of it.
    pub config: &'c RateLimit,
}

/// An in-flight pool with its key read.
#[derive(Debug)]
pub struct PoolPlan<'c> {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The cap, at least 1; where it is found by trial, the first guess.
    pub max: usize,
    /// Between what it is found.
    pub auto: Option<Auto>,
    /// The second cap, at least 1, and whom it is for.
    pub per: Option<(KeySpec, usize)>,
    /// The rest of it.
    pub config: &'c InFlight,
}

/// Where a cap that is found by trial begins, within its bounds.
const FIRST_GUESS: usize = 10;

/// Of an address in a key of a pool, which has no setting for it.
const POOL_IPV6_PREFIX: u8 = 64;

/// In the order of the names.
pub(super) fn check_rate_limits<'c>(
    config: &'c Config,
    findings: &mut Findings<'_>,
) -> Vec<RateLimitPlan<'c>> {
    let mut plans = Vec::new();
    for (name, limit) in &config.rate_limits {
        names::check("a rate limit", name, findings);
        check_tiers(name.get_ref(), limit.get_ref(), &limit.span(), findings);
        let limit = limit.get_ref();
        let key = check_key(&limit.key, limit.ipv6_prefix, findings);
        plans.push(RateLimitPlan { name: shared(name.get_ref()), key, config: limit });
    }
    plans
}

fn check_tiers(name: &str, limit: &RateLimit, table: &Range<usize>, findings: &mut Findings<'_>) {
    if limit.rates.is_empty() {
        let problem = Problem::at(table.clone(), format!("the rate limit `{name}` has no rates"));
        findings.missing(table, "rates", problem.help("add: rates = [\"2/minute\"]"));
    }
    let mut windows = HashMap::new();
    for rate in &limit.rates {
        let tier = rate.get_ref();
        if let Some(first) = windows.insert(tier.window, rate.span()) {
            let problem =
                Problem::at(rate.span(), "two rates over the same window: one of them never matters");
            findings.add(problem.also(first, "the first"));
        }
        let allowance = u128::from(tier.limit) + u128::from(limit.burst);
        if allowance > u128::from(u32::MAX) || allowance > tier.window.as_nanos() {
            findings.refuse(rate, "the rate, with its burst, is more than can be counted");
        }
    }
}

/// In the order of the names.
pub(super) fn check_pools<'c>(config: &'c Config, findings: &mut Findings<'_>) -> Vec<PoolPlan<'c>> {
    let mut plans = Vec::new();
    for (name, pool) in &config.in_flight {
        names::check("an in-flight pool", name, findings);
        let table = pool.span();
        let pool = pool.get_ref();
        if pool.max.is_none() {
            let problem =
                Problem::at(table.clone(), format!("the in-flight pool `{}` has no max", name.get_ref()));
            findings.missing(&table, "max", problem.help("add: max = 2"));
        }
        let per = pool.per.as_ref().map(|per| {
            if per.get_ref().max.is_none() {
                let problem = Problem::at(per.span(), "the cap per key has no max");
                findings.missing(&per.span(), "max", problem.help("add: max = 1"));
            }
            let key = check_key(&per.get_ref().key, POOL_IPV6_PREFIX, findings);
            (key, per.get_ref().max.unwrap_or(1))
        });
        let (max, auto) = match pool.max {
            Some(Cap::Fixed(max)) => (max, None),
            Some(Cap::Auto(_)) => (FIRST_GUESS, Some(check_auto(pool, findings))),
            None => (1, None),
        };
        plans.push(PoolPlan { name: shared(name.get_ref()), max, auto, per, config: pool });
    }
    plans
}

fn check_auto(pool: &InFlight, findings: &mut Findings<'_>) -> Auto {
    let Some(bounds) = &pool.auto else {
        let AutoBounds { min, max } = AutoBounds::default();
        return Auto { min, max };
    };
    let AutoBounds { min, max } = *bounds.get_ref();
    if min > max {
        let problem =
            Problem::at(bounds.span(), format!("the least cap, {min}, is more than the most, {max}"));
        findings.add(problem.help("auto = { min = 1, max = 64 }"));
    }
    Auto { min, max }
}

fn check_key(key: &OneOrMany<String>, ipv6_prefix: u8, findings: &mut Findings<'_>) -> KeySpec {
    let mut sources = Vec::new();
    for text in &key.0 {
        match text.get_ref().parse::<KeySource>() {
            Ok(source) => sources.push(source),
            Err(error) => findings.refuse(text, error.to_string()),
        }
    }
    if sources.is_empty() {
        sources.push(KeySource::ClientIp);
    }
    KeySpec::new(sources, ipv6_prefix)
}
