//! What is allowed and does nothing, or not what was probably meant: warnings of `check`.

use super::Findings;
use super::routes::RoutePlan;
use crate::config::in_flight::Cap;
use crate::config::route::cache::{CacheMode, RouteCache};
use crate::config::{Config, Problem};
use crate::router::Pattern;

pub(super) fn check(config: &Config, routes: &[RoutePlan<'_>], findings: &mut Findings<'_>) {
    let cache = &config.cache;
    if cache.max_object > cache.max_bytes && cache.max_bytes.0 > 0 {
        let (max_object, max_bytes) = (cache.max_object, cache.max_bytes);
        let message =
            format!("cache.max_object, {max_object}, is more than all of cache.max_bytes, {max_bytes}");
        findings.warn(Problem::of_file(message));
    }
    for pool in config.in_flight.values().map(toml::Spanned::get_ref) {
        if let (Some(auto), Some(Cap::Fixed(max))) = (&pool.auto, pool.max) {
            let message = format!("`auto` does nothing beside a max of {max}");
            findings
                .warn(Problem::at(auto.span(), message).help("write max = \"auto\", or leave `auto` out"));
        }
    }
    for route in routes {
        check_cache(route, findings);
        check_hosts(route, findings);
    }
}

fn check_cache(route: &RoutePlan<'_>, findings: &mut Findings<'_>) {
    let cache = &route.config.cache;
    let keys = keys_without_effect(cache.get_ref());
    if !keys.is_empty() {
        let mode = if cache.get_ref().mode == CacheMode::Off { "off" } else { "standard" };
        let message = format!("without effect under mode = \"{mode}\": `{}`", keys.join("`, `"));
        findings.warn(Problem::at(cache.span(), message));
    }
}

fn keys_without_effect(cache: &RouteCache) -> Vec<&'static str> {
    let lifetimes = [
        ("negative_ttl", cache.negative_ttl.is_some()),
        ("ttl", cache.ttl.is_some()),
        ("when", !cache.when.is_empty()),
        ("stale_while_revalidate", cache.stale_while_revalidate.is_some()),
        ("stale_if_error", cache.stale_if_error.is_some()),
    ];
    let idle = match cache.mode {
        CacheMode::Off => lifetimes.len(),
        CacheMode::Standard => 1,
        CacheMode::Force => 0,
    };
    lifetimes.iter().take(idle).filter(|(_, is_set)| *is_set).map(|(key, _)| *key).collect()
}

/// `api/x` is a host with a path.
fn check_hosts(route: &RoutePlan<'_>, findings: &mut Findings<'_>) {
    for (text, pattern) in route.config.matches.0.iter().zip(&route.patterns) {
        let is_word = |host: &&str| !host.contains(['.', ':']) && *host != "localhost";
        if let Some(host) = Pattern::host(pattern).filter(is_word) {
            let message = format!("`{pattern}` takes only requests for the host `{host}`");
            let help = "a path begins with a slash; without a host a pattern takes every one";
            findings.warn(Problem::at(text.span(), message).help(help));
        }
    }
}
