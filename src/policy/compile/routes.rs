//! The routes: what they match, and that everything they name is there.

use std::ops::Range;
use std::sync::Arc;

use http::header::HeaderName;
use toml::Spanned;

use super::limits::{PoolPlan, RateLimitPlan};
use super::{Findings, check_conflicts, dedupe, names, shared, when};
use crate::cache::{BodyRule, TagTemplate};
use crate::client::{IdentityFields, KeySource, KeySpec};
use crate::config::route::Route;
use crate::config::route::cache::CacheMode;
use crate::config::{Config, Problem};
use crate::dedupe::By;
use crate::router::Pattern;
use crate::upstream;

/// A route with its texts read and its names resolved.
#[derive(Debug)]
pub struct RoutePlan<'c> {
    /// Its name.
    pub name: Arc<str>,
    /// What it matches; at least one.
    pub patterns: Vec<Pattern>,
    /// The index of its upstream.
    pub upstream: usize,
    /// The indices of its rate limits.
    pub rate_limits: Vec<usize>,
    /// The index of its in-flight pool.
    pub pool: Option<usize>,
    /// What tells its clients apart.
    pub identity: IdentityFields,
    /// The request fields of its cache key.
    pub key_headers: Vec<HeaderName>,
    /// By what its starts are the same, where they may be.
    pub dedupe: Option<By>,
    /// Lifetimes by what a body says.
    pub when: Vec<BodyRule>,
    /// The captures that every pattern has: those that a tag may use.
    pub captures: Vec<String>,
    /// The rest of it.
    pub config: &'c Route,
}

/// What a route may name.
pub(super) struct Known<'k, 'c> {
    pub(super) upstreams: &'k [upstream::Spec],
    pub(super) rate_limits: &'k [RateLimitPlan<'c>],
    pub(super) pools: &'k [PoolPlan<'c>],
}

/// In the order of the file.
pub(super) fn check<'c>(
    config: &'c Config,
    known: &Known<'_, '_>,
    findings: &mut Findings<'_>,
) -> Vec<RoutePlan<'c>> {
    if config.routes.is_empty() && findings.loaded.problems.is_empty() {
        let problem = Problem::of_file("there is no route: every request would be answered 404");
        findings.add(problem.help("add: [[routes]] name = \"all\" match = \"/{*rest}\""));
    }
    let mut seen = names::Seen::default();
    let mut patterns = Vec::new();
    let mut plans = Vec::new();
    for route in &config.routes {
        check_name(route, &mut seen, findings);
        let own = check_patterns(route, findings);
        plans.push(check_one(
            route,
            own.iter().map(|(pattern, _)| pattern.clone()).collect(),
            known,
            findings,
        ));
        patterns.extend(own);
    }
    check_conflicts(patterns, findings);
    plans
}

fn check_name<'c>(route: &'c Spanned<Route>, seen: &mut names::Seen<'c>, findings: &mut Findings<'_>) {
    let Some(name) = &route.get_ref().name else {
        let problem = Problem::at(route.span(), "the route has no name").help("add: name = \"...\"");
        return findings.missing(&route.span(), "name", problem);
    };
    names::check("a route", name, findings);
    seen.check("the route", name, findings);
}

fn check_patterns(route: &Spanned<Route>, findings: &mut Findings<'_>) -> Vec<(Pattern, Range<usize>)> {
    let texts = &route.get_ref().matches;
    if texts.is_empty() {
        let problem = Problem::at(route.span(), "the route has no match").help("add: match = \"/{*rest}\"");
        findings.missing(&route.span(), "match", problem);
    }
    let mut patterns = Vec::new();
    for text in &texts.0 {
        match Pattern::parse(text.get_ref()) {
            Ok(pattern) => patterns.push((pattern, text.span())),
            Err(error) => {
                let place = findings.inside(text, error.offset);
                findings.add(Problem::at(place, error.message));
            }
        }
    }
    patterns
}

fn check_one<'c>(
    route: &'c Spanned<Route>,
    patterns: Vec<Pattern>,
    known: &Known<'_, '_>,
    findings: &mut Findings<'_>,
) -> RoutePlan<'c> {
    let config = route.get_ref();
    let captures = common_captures(&patterns);
    let rate_limits = check_rate_limits(config, known, findings);
    let pool = config.in_flight.as_ref().and_then(|name| {
        names::resolve("in-flight pool", name, known.pools.iter().map(|pool| &*pool.name), findings)
    });
    // Without a pattern that could be read, nobody knows its captures.
    if !patterns.is_empty() && !findings.loaded.has_lost(&route.span(), "match") {
        check_captures(config, &captures, known, findings);
    }
    check_cache(route, findings);
    let limit_keys = rate_limits.iter().filter_map(|index| known.rate_limits.get(*index));
    RoutePlan {
        name: shared(config.name.as_ref().map_or("", |name| name.get_ref())),
        upstream: check_upstream(route, known, findings),
        pool,
        identity: check_identity(config, limit_keys.map(|limit| &limit.key), findings),
        key_headers: check_key_headers(config, findings),
        dedupe: config.dedupe.as_ref().and_then(|settings| dedupe::check(settings, &patterns, findings)),
        when: when::check(&config.cache.get_ref().when, findings),
        patterns,
        rate_limits,
        captures,
        config,
    }
}

fn common_captures(patterns: &[Pattern]) -> Vec<String> {
    let Some((first, others)) = patterns.split_first() else { return Vec::new() };
    let is_common = |name: &&str| others.iter().all(|pattern| pattern.captures().any(|other| other == *name));
    first.captures().filter(is_common).map(str::to_owned).collect()
}

fn check_rate_limits(route: &Route, known: &Known<'_, '_>, findings: &mut Findings<'_>) -> Vec<usize> {
    let mut seen = names::Seen::default();
    let mut indices = Vec::new();
    for name in &route.rate_limits {
        seen.check("the rate limit", name, findings);
        let among = known.rate_limits.iter().map(|limit| &*limit.name);
        indices.extend(names::resolve("rate limit", name, among, findings));
    }
    indices
}

fn check_upstream(route: &Spanned<Route>, known: &Known<'_, '_>, findings: &mut Findings<'_>) -> usize {
    let among = known.upstreams.iter().map(|upstream| &*upstream.name);
    match &route.get_ref().upstream {
        Some(name) => names::resolve("upstream", name, among, findings).unwrap_or(0),
        None => {
            if known.upstreams.len() > 1 {
                let message = "there are several upstreams, and the route does not say which";
                let help = format!("add: upstream = one of {}", among.collect::<Vec<_>>().join(", "));
                findings.missing(&route.span(), "upstream", Problem::at(route.span(), message).help(help));
            }
            0
        }
    }
}

fn check_identity<'k>(
    route: &Route,
    limit_keys: impl Iterator<Item = &'k KeySpec>,
    findings: &mut Findings<'_>,
) -> IdentityFields {
    let Some(list) = &route.identity else {
        let mut usual = IdentityFields::default();
        limit_keys.for_each(|key| usual.include_key(key));
        return usual;
    };
    let mut texts = Vec::new();
    for text in list {
        match IdentityFields::parse([text.get_ref().as_str()]) {
            Ok(_) => texts.push(text.get_ref().as_str()),
            Err(error) => findings.refuse(text, error.to_string()),
        }
    }
    // Each was read before.
    IdentityFields::parse(texts).unwrap_or_default()
}

/// Captures that tags and keys use must be in every pattern: a tag without its value would be another tag, a key
/// without its value another client.
fn check_captures(route: &Route, captures: &[String], known: &Known<'_, '_>, findings: &mut Findings<'_>) {
    let names: Vec<&str> = captures.iter().map(String::as_str).collect();
    for tag in route.cache.get_ref().tags.iter().chain(&route.invalidates) {
        if let Err(error) = TagTemplate::parse(tag.get_ref(), &names) {
            findings.refuse(tag, error.to_string());
        }
    }
    let limits = route.rate_limits.iter().filter_map(|name| {
        let limit = known.rate_limits.iter().find(|limit| *limit.name == **name.get_ref())?;
        Some((name, &limit.key))
    });
    let pool = route.in_flight.as_ref().and_then(|name| {
        let pool = known.pools.iter().find(|pool| *pool.name == **name.get_ref())?;
        Some((name, &pool.per.as_ref()?.0))
    });
    for (name, key) in limits.chain(pool) {
        for source in key.sources() {
            let KeySource::Path(capture) = source else { continue };
            if !captures.contains(capture) {
                let message =
                    format!("`{}` counts by `{source}`, and the route's match has no", name.get_ref());
                findings.refuse(name, format!("{message} `{{{capture}}}`"));
            }
        }
    }
}

fn check_cache(route: &Spanned<Route>, findings: &mut Findings<'_>) {
    let cache = &route.get_ref().cache;
    let ttl = cache.get_ref().ttl.as_ref();
    if cache.get_ref().mode == CacheMode::Force && ttl.is_none() {
        let problem = Problem::at(cache.span(), "`mode = \"force\"` needs a ttl: how long to store");
        findings.missing(&cache.span(), "ttl", problem.help("add: ttl = \"2s\""));
    }
}

fn check_key_headers(route: &Route, findings: &mut Findings<'_>) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for text in &route.cache.get_ref().key.headers {
        match text.get_ref().parse() {
            Ok(name) => names.push(name),
            Err(_) => {
                findings.refuse(text, format!("`{}` is not the name of a header field", text.get_ref()));
            }
        }
    }
    names
}
