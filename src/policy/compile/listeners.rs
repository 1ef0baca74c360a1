//! The listeners: who is believed, and who must identify themselves.

use super::Findings;
use crate::client::TrustedProxies;
use crate::config::listener::Address;
use crate::config::{Config, Problem};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) -> TrustedProxies {
    let listener = &config.listener;
    if listener.address.is_empty() && findings.loaded.problems.is_empty() {
        findings.add(Problem::of_file("listener.address is an empty list: nobody could come in"));
    }
    let admin = *config.admin.address.get_ref();
    for address in &listener.address.0 {
        // Port 0 is any free one, and a different one each time.
        if *address.get_ref() == Address::Tcp(admin) && admin.port() != 0 {
            findings.refuse(address, "listener.address and admin.address are the same");
        }
    }
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

/// Whether the files are as they should be is found by reading them.
fn check_tls(config: &Config, findings: &mut Findings<'_>) {
    let Some(tls) = &config.listener.tls else { return };
    for (cert, key) in tls.get_ref().pairs() {
        for (path, name) in [(cert, "cert"), (key, "key")] {
            if path.get_ref().is_empty() {
                findings.refuse(path, format!("`{name}` is the path of a PEM file"));
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
    if token.get_ref().bytes().any(|byte| !byte.is_ascii_graphic()) {
        findings.refuse(token, "a token is visible ASCII without spaces, to fit into an Authorization field");
    }
}
