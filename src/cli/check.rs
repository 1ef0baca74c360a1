//! `forebay check`: every problem of a configuration at once, or what is in force.

use std::process::ExitCode;

use super::{CheckArgs, load, overrides, print, refuse, warn};
use crate::clock::Clock;
use crate::config;
use crate::policy::compile;
use crate::upstream::TlsSpec;

/// Validates what `run` would serve, the environment included; with `--print` shows it with its defaults, else says that
/// it is good.
pub fn check(args: &CheckArgs) -> ExitCode {
    validate(args).unwrap_or_else(|status| status)
}

fn validate(args: &CheckArgs) -> Result<ExitCode, ExitCode> {
    let overrides = overrides();
    let loaded = overrides.clone().unwrap_or_default().apply(load(args.config.config.as_deref())?);
    let plan = compile::plan_to_serve(&loaded).map_err(|problems| refuse(&problems))?;
    overrides?;
    if args.print {
        return Ok(print(&config::effective(&loaded.config)));
    }
    for upstream in &plan.upstreams {
        if upstream.tls.as_ref().is_some_and(TlsSpec::is_insecure) {
            warn(&format!("upstreams.{}: tls.insecure takes whatever certificate comes", upstream.name));
        }
    }
    plan.warnings.iter().for_each(|warning| warn(&loaded.source.line(warning)));
    let clock = Clock::start();
    let warnings = plan.tls.map(|tls| tls.warnings(clock.wall(clock.now()))).unwrap_or_default();
    warnings.iter().for_each(|warning| warn(warning));
    let config = &loaded.config;
    Ok(print(&format!(
        "{}: good; routes: {}, upstreams: {}, rate limits: {}, in-flight pools: {}, jobs: {}\n",
        loaded.source.name(),
        config.routes.len(),
        config.upstreams.len(),
        config.rate_limits.len(),
        config.in_flight.len(),
        config.jobs.len(),
    )))
}
