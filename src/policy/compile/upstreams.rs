//! The upstreams: servers that can be reached.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use http::uri::PathAndQuery;
use rustls_pki_types::ServerName;
use toml::Spanned;

use super::{Findings, names, shared};
use crate::config::upstream::{Balance, Host, Upstream};
use crate::config::{Config, Problem};
use crate::upstream::{
    self, BreakerRules, CheckRules, HealthSpec, HostHeader, Scheme, Server, Spec, TlsFiles, TlsSpec,
};

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
        let tls = check_tls(upstream.get_ref(), &servers, &upstream.span(), findings);
        spec(name.get_ref(), upstream.get_ref(), servers, health, tls)
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
        findings.missing(table, "servers", problem.help("add: servers = [\"http://127.0.0.1:8000\"]"));
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

/// TLS, where a server speaks it: every file is read now, so that no request finds out what is wrong with one.
fn check_tls(
    upstream: &Upstream,
    servers: &[Server],
    table: &Range<usize>,
    findings: &mut Findings<'_>,
) -> Option<TlsSpec> {
    let is_needed = servers.iter().any(|server| server.scheme() == Scheme::Https);
    let place = upstream.tls.as_ref().map_or(table.clone(), Spanned::span);
    if !is_needed {
        if upstream.tls.is_some() && servers.len() == upstream.servers.len() {
            let problem = Problem::at(place, "`tls` has no use: no server of this upstream is https");
            findings.add(problem.help("write its servers as \"https://HOST\", or leave `tls` away"));
        }
        return None;
    }
    let tls = upstream.tls.as_ref().map(|tls| tls.get_ref().clone()).unwrap_or_default();
    let file = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
    let server_name = match ServerName::try_from(tls.server_name.clone()) {
        _ if tls.server_name.is_empty() => None,
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("`{}` is no name of a server", tls.server_name);
            findings.add(Problem::at(place, message).help("a name is written like \"backend.example\""));
            return None;
        }
    };
    if tls.cert.is_empty() != tls.key.is_empty() {
        let problem = Problem::at(place, "a certificate needs its key, and a key its certificate");
        findings.add(problem.help("give both `cert` and `key`, or neither"));
        return None;
    }
    let identity = file(&tls.cert).zip(file(&tls.key));
    let files = TlsFiles { ca: file(&tls.ca), identity, server_name, insecure: tls.insecure };
    match TlsSpec::read(&files) {
        Ok(spec) => Some(spec),
        Err(fault) => {
            let message = if fault.path.as_os_str().is_empty() { fault.message } else { fault.to_string() };
            findings.add(Problem::at(place, message).help(fault.help));
            None
        }
    }
}

fn spec(
    name: &str,
    upstream: &Upstream,
    servers: Vec<Server>,
    health: Option<HealthSpec>,
    tls: Option<TlsSpec>,
) -> Spec {
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
        tls,
        host: match upstream.host {
            Host::Preserve => HostHeader::Preserve,
            Host::Upstream => HostHeader::Upstream,
        },
    }
}
