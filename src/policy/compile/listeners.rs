//! The listeners: who is believed, and who must identify themselves.

use toml::Spanned;

use super::Findings;
use crate::client::TrustedProxies;
use crate::config::listener::Address;
use crate::config::{Config, Problem};
use crate::http::host::canonical_host;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) -> TrustedProxies {
    let listener = &config.listener;
    if listener.address.is_empty() && findings.loaded.problems.is_empty() {
        findings.add(Problem::of_file("listener.address is an empty list: nobody could come in"));
    }
    check_overlaps(config, findings);
    check_admin(config, findings);
    check_tls(config, findings);
    let mut networks = Vec::new();
    for network in &listener.trusted_proxies {
        match TrustedProxies::parse([network.get_ref().as_str()]) {
            Ok(_) => networks.push(network.get_ref().as_str()),
            Err(error) => findings.refuse(network, error.to_string()),
        }
    }
    // Each was read before.
    TrustedProxies::parse(networks).unwrap_or_default()
}

/// Addresses of which only one can be bound.
fn check_overlaps(config: &Config, findings: &mut Findings<'_>) {
    let admin = Address::Tcp(*config.admin.address.get_ref());
    let addresses = &config.listener.address.0;
    for (index, address) in addresses.iter().enumerate() {
        let overlaps = |first: &&Spanned<Address>| address.get_ref().overlaps(first.get_ref());
        if let Some(first) = addresses.iter().take(index).find(overlaps) {
            let message = match (first.get_ref(), address.get_ref()) {
                (first, address) if first == address => format!("`{address}` twice"),
                (first, address) => format!("`{first}` and `{address}` cannot both be bound"),
            };
            findings.add(Problem::at(address.span(), message).also(first.span(), "the first"));
        }
        if *address.get_ref() == admin && address.get_ref().overlaps(&admin) {
            findings.refuse(address, "listener.address and admin.address are the same");
        } else if address.get_ref().overlaps(&admin) {
            let message =
                format!("listener.address `{}` takes admin.address `{admin}` too", address.get_ref());
            findings.add(Problem::at(address.span(), message).help("give one of them another port"));
        }
    }
}

/// Whether the files are as they should be is found by reading them.
fn check_tls(config: &Config, findings: &mut Findings<'_>) {
    let Some(tls) = &config.listener.tls else { return };
    let tables = std::iter::once(tls.span()).chain(tls.get_ref().more.iter().map(Spanned::span));
    for (table, (cert, key)) in tables.zip(tls.get_ref().pairs()) {
        for (path, name) in [(cert, "cert"), (key, "key")] {
            match path {
                None => {
                    let problem = Problem::at(table.clone(), format!("this table needs `{name}`"));
                    findings.missing(&table, name, problem.help("`cert` and `key` are paths of PEM files"));
                }
                Some(path) if path.get_ref().is_empty() => {
                    findings.refuse(path, format!("`{name}` is the path of a PEM file"));
                }
                Some(_) => {}
            }
        }
    }
}

fn check_admin(config: &Config, findings: &mut Findings<'_>) {
    let (address, token) = (&config.admin.address, &config.admin.token);
    if token.get_ref().is_empty() && !address.get_ref().ip().is_loopback() {
        let message = format!("the admin listener on {} needs a token", address.get_ref());
        let problem = Problem::at(address.span(), message);
        findings.add(problem.help("set admin.token, or listen on a loopback address such as 127.0.0.1:9090"));
    }
    for host in &config.admin.hosts {
        if canonical_host(host.get_ref(), 0).is_err() || host.get_ref().contains(':') {
            let problem = Problem::at(host.span(), format!("`{}` is not the name of a host", host.get_ref()));
            findings.add(problem.help("write it without scheme, port and path, like \"metrics.internal\""));
        }
    }
    if token.get_ref().bytes().any(|byte| !byte.is_ascii_graphic()) {
        findings.refuse(token, "a token is visible ASCII without spaces, to fit into an Authorization field");
    }
}
