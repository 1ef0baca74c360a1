//! From the configuration to the policy: the one place that sees both.
//!
//! In two steps. [`plan`] reads every text that is left (patterns, keys, servers, tags), checks what one part says about
//! another, touches nothing and tells all problems at once, those of the file included. Only a plan, which cannot fail
//! any more, is attached to the state that survives a reload.

mod attach;
mod certificates;
mod dedupe;
mod files;
mod jobs;
mod limits;
mod listeners;
mod logs;
mod names;
mod routes;
mod upstreams;
mod when;
mod without_effect;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

pub use self::attach::attach;
pub use self::jobs::JobPlan;
pub use self::limits::{PoolPlan, RateLimitPlan};
pub use self::routes::RoutePlan;
use crate::client::TrustedProxies;
use crate::config::{Config, Loaded, Problem, Problems};
use crate::router::{Pattern, Router};
use crate::server::Tls;
use crate::upstream;

/// A configuration without problems, its texts read, its names resolved.
#[derive(Debug)]
pub struct Plan<'c> {
    /// The configuration that it is of.
    pub config: &'c Config,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// What clients' connections are protected by.
    pub tls: Option<Tls>,
    /// The upstreams, by name.
    pub upstreams: Vec<upstream::Spec>,
    /// The rate limits, by name.
    pub rate_limits: Vec<RateLimitPlan<'c>>,
    /// The in-flight pools, by name.
    pub pools: Vec<PoolPlan<'c>>,
    /// The routes, in the order of the file. Their references are indices into the lists above.
    pub routes: Vec<RoutePlan<'c>>,
    /// The kinds of jobs, by name.
    pub jobs: Vec<JobPlan<'c>>,
    /// What is allowed and probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
}

impl Plan<'_> {
    /// Every pattern with the index of its route: what a router is built from. No two are equal.
    pub fn patterns(&self) -> impl Iterator<Item = (&Pattern, usize)> {
        let of_route = |(index, route)| {
            let route: &RoutePlan<'_> = route;
            route.patterns.iter().map(move |pattern| (pattern, index))
        };
        self.routes.iter().enumerate().flat_map(of_route)
    }
}

/// Checks a configuration to the end, and the files that it names: what can be served.
///
/// # Errors
/// Every problem: those of [`plan`], and those of the files.
pub fn plan_to_serve(loaded: &Loaded) -> Result<Plan<'_>, Problems> {
    let mut findings = Findings::of(loaded);
    let tls = loaded.config.listener.tls.as_ref();
    let tls = tls.and_then(|tls| certificates::read(tls, &mut findings));
    files::check(&loaded.config, &mut findings);
    let plan = plan_with(findings)?;
    Ok(Plan { tls, ..plan })
}

/// Checks a configuration to the end, without the certificates and keys that it names: it may be looked at where they are
/// not.
///
/// # Errors
/// Every problem: those that were found when the file was read, and those between its parts.
pub fn plan(loaded: &Loaded) -> Result<Plan<'_>, Problems> {
    plan_with(Findings::of(loaded))
}

fn plan_with(mut findings: Findings<'_>) -> Result<Plan<'_>, Problems> {
    let loaded = findings.loaded;
    let config = &loaded.config;
    let trusted_proxies = listeners::check(config, &mut findings);
    logs::check(config, &mut findings);
    let upstreams = upstreams::check(config, &mut findings);
    let rate_limits = limits::check_rate_limits(config, &mut findings);
    let pools = limits::check_pools(config, &mut findings);
    let known = routes::Known { upstreams: &upstreams, rate_limits: &rate_limits, pools: &pools };
    let routes = routes::check(config, &known, &mut findings);
    let jobs = jobs::check(config, &routes, &pools, &mut findings);
    without_effect::check(config, &routes, &mut findings);
    if findings.problems.is_empty() {
        let mut warnings = findings.warnings;
        warnings.sort_by_key(|warning| warning.span.as_ref().map_or(0, |span| span.start));
        Ok(Plan { config, trusted_proxies, tls: None, upstreams, rate_limits, pools, routes, jobs, warnings })
    } else {
        Err(Problems::new(loaded.source.clone(), findings.problems))
    }
}

/// What was found so far.
struct Findings<'c> {
    loaded: &'c Loaded,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'c> Findings<'c> {
    /// Those of the file.
    fn of(loaded: &'c Loaded) -> Self {
        Self { loaded, problems: loaded.problems.clone(), warnings: Vec::new() }
    }

    /// Something that stops nobody.
    fn warn(&mut self, warning: Problem) {
        self.warnings.push(warning);
    }

    fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A problem at a value, for a text that could not be read.
    fn refuse<T>(&mut self, value: &Spanned<T>, message: impl Into<String>) {
        self.add(Problem::at(value.span(), message));
    }

    /// A key that a table lacks, unless it is there and could not be read.
    fn missing(&mut self, table: &Range<usize>, key: &str, problem: Problem) {
        if !self.loaded.has_lost(table, key) {
            self.add(problem);
        }
    }

    /// The place of a byte of a string: inside of it, where the file writes it as it is.
    fn inside(&self, string: &Spanned<String>, offset: usize) -> Range<usize> {
        let span = string.span();
        let written = self.loaded.source.text().get(span.clone()).unwrap_or_default();
        let is_plain = written.get(1..).is_some_and(|rest| rest.starts_with(string.get_ref().as_str()));
        match string.get_ref().get(offset..).and_then(|rest| rest.chars().next()) {
            Some(letter) if is_plain => {
                let start = span.start + 1 + offset;
                start..start + letter.len_utf8()
            }
            _ => span,
        }
    }
}

/// Two patterns that are one: equal routes are nobody's intention.
fn check_conflicts(patterns: Vec<(Pattern, Range<usize>)>, findings: &mut Findings<'_>) {
    let places: Vec<_> =
        patterns.iter().map(|(pattern, place)| (pattern.to_string(), place.clone())).collect();
    let Err(conflicts) = Router::build(patterns) else { return };
    for conflict in conflicts {
        let (Some((first, there)), Some((second, here))) =
            (places.get(conflict.first), places.get(conflict.second))
        else {
            continue;
        };
        let message = format!("`{second}` matches the same requests as `{first}`, with equal right");
        findings.add(Problem::at(here.clone(), message).also(there.clone(), "the other one"));
    }
}

fn shared(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[cfg(test)]
mod tests;
