//! The upstreams: servers that can be reached.

use std::collections::HashSet;
use std::ops::Range;

use http::uri::PathAndQuery;
use toml::Spanned;

use super::{Findings, names, shared};
use crate::config::upstream::{Balance, Host, Upstream};
use crate::config::{Config, Problem};
use crate::upstream::{self, BreakerRules, CheckRules, HealthSpec, HostHeader, Server, Spec};

/// In the order of the names.
pub(super) fn check(config: &Config, findings: &mut Findings<'_>) -> Vec<Spec> {
    if config.upstreams.is_empty() && findings.loaded.problems.is_empty() {
        let problem = Problem::of_file("there is no upstream");
        findings.add(problem.help("add: [upstreams.backend] servers = [\"http://127.0.0.1:8000\"]"));
    }
    let check_one = |(name, upstream): (&Spanned<String>, &Spanned<Upstream>)| {
        names::check("an upstream", name, findings);
        let servers = check_servers(name.get_ref(), upstream.get_ref(), &upstream.span(), findings);
        let health = check_health(upstream.get_ref(), findings);
        spec(name.get_ref(), upstream.get_ref(), servers, health)
    };
    config.upstreams.iter().map(check_one).collect()
}

fn check_servers(
    name: &str,
    upstream: &Upstream,
    table: &Range<usize>,
    findings: &mut Findings<'_>,
) -> Vec<Server> {
    if upstream.servers.is_empty() {
        let problem = Problem::at(table.clone(), format!("the upstream `{name}` has no servers"));
        findings.missing(table, problem.help("add: servers = [\"http://127.0.0.1:8000\"]"));
    }
    let mut seen = HashSet::new();
    let mut servers = Vec::new();
    for text in &upstream.servers {
        match text.get_ref().parse::<Server>() {
            Ok(server) if !seen.insert(server.to_string()) => {
                findings.refuse(text, format!("the server {server} twice"));
            }
            Ok(server) => servers.push(server),
            Err(error) => findings.refuse(text, error.to_string()),
        }
    }
    servers
}

fn check_health(upstream: &Upstream, findings: &mut Findings<'_>) -> Option<HealthSpec> {
    let health = upstream.health.as_ref()?;
    let path = &health.path;
    match path.get_ref().parse::<PathAndQuery>() {
        Ok(parsed) if path.get_ref().starts_with('/') => Some(HealthSpec {
            path: parsed,
            interval: health.interval.0,
            timeout: health.timeout.0,
            rules: CheckRules {
                unhealthy_after: health.unhealthy_after,
                healthy_after: health.healthy_after,
            },
        }),
        _ => {
            let problem = Problem::at(path.span(), format!("`{}` is no path", path.get_ref()));
            findings.add(problem.help("a path is written like \"/api/health\""));
            None
        }
    }
}

fn spec(name: &str, upstream: &Upstream, servers: Vec<Server>, health: Option<HealthSpec>) -> Spec {
    Spec {
        name: shared(name),
        servers,
        balance: match upstream.balance {
            Balance::LeastRequest => upstream::Balance::LeastRequest,
            Balance::RoundRobin => upstream::Balance::RoundRobin,
            Balance::Random => upstream::Balance::Random,
        },
        max_connections: upstream.max_connections,
        acquire_timeout: upstream.acquire_timeout.0,
        connect_timeout: upstream.connect_timeout.0,
        first_byte_timeout: upstream.first_byte_timeout.0,
        body_timeout: upstream.body_timeout.0,
        dns_refresh: upstream.dns_refresh.0,
        idle_timeout: upstream.idle_timeout.0,
        max_age: upstream.max_age.0,
        retries: upstream.retries,
        retry_budget: upstream.retry_budget,
        breaker: upstream
            .breaker
            .map(|breaker| BreakerRules { failures: breaker.failures, open: breaker.open.0 }),
        health,
        host: match upstream.host {
            Host::Preserve => HostHeader::Preserve,
            Host::Upstream => HostHeader::Upstream,
        },
    }
}
