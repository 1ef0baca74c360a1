//! The files that `[listener.tls]` names.

use std::path::Path;

use rustls::RootCertStore;
use toml::Spanned;

use super::{Findings, Problem};
use crate::config::listener::tls::Tls as Config;
use crate::server::{Certificate, Tls};
use crate::tls::{self, Fault};

/// Reads all of them; nothing where one is not as it should be.
pub(super) fn read(config: &Spanned<Config>, findings: &mut Findings<'_>) -> Option<Tls> {
    let before = findings.problems.len();
    let provider = tls::provider();
    let mut certificates = Vec::new();
    for (cert, key) in config.get_ref().pairs().filter(|(cert, key)| is_set(cert) && is_set(key)) {
        let path = Path::new(cert.get_ref());
        let identity = tls::identity(path, Path::new(key.get_ref()), &provider);
        let read = identity.and_then(|identity| {
            Certificate::read(path.to_owned(), identity).map_err(|why| {
                Fault::new(path, format!("the certificate is not usable: {why}"), "have it issued anew")
            })
        });
        match read {
            Ok(certificate) => certificates.push(certificate),
            Err(fault) => {
                let place = if fault.path == Path::new(key.get_ref()) { key } else { cert };
                findings.add(problem(place, &fault));
            }
        }
    }
    let client_roots = client_roots(&config.get_ref().client_ca, findings);
    if findings.problems.len() > before || certificates.is_empty() {
        return None;
    }
    match Tls::new(certificates, client_roots) {
        Ok(tls) => Some(tls),
        Err(why) => {
            findings.refuse(
                &config.get_ref().client_ca,
                format!("client certificates cannot be verified: {why}"),
            );
            None
        }
    }
}

fn client_roots(path: &Spanned<String>, findings: &mut Findings<'_>) -> Option<RootCertStore> {
    if !is_set(path) {
        return None;
    }
    match tls::roots(Path::new(path.get_ref())) {
        Ok(roots) => Some(roots),
        Err(fault) => {
            findings.add(problem(path, &fault));
            None
        }
    }
}

fn problem(place: &Spanned<String>, fault: &Fault) -> Problem {
    Problem::at(place.span(), fault.to_string()).help(fault.help.clone())
}

fn is_set(path: &Spanned<String>) -> bool {
    !path.get_ref().is_empty()
}
