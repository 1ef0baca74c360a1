//! The files that `[listener.tls]` names.

use std::path::Path;

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
    for (cert, key) in config.get_ref().pairs() {
        let cert = cert.and_then(|cert| Some((cert, read_file(cert, tls::chain, findings)?)));
        let key = key.and_then(|key| Some((key, read_file(key, tls::private_key, findings)?)));
        let (Some((cert, chain)), Some((key, private_key))) = (cert, key) else { continue };
        let path = Path::new(cert.get_ref());
        let key_path = Path::new(key.get_ref());
        let identity = tls::certified((path, chain), (key_path, private_key), &provider);
        let read = identity.and_then(|identity| {
            Certificate::read(path.to_owned(), identity).map_err(|why| {
                Fault::new(path, format!("the certificate is not usable: {why}"), "have it issued anew")
            })
        });
        match read {
            Ok(certificate) => certificates.push(certificate),
            Err(fault) => findings.add(problem(if fault.path == path { cert } else { key }, &fault)),
        }
    }
    let client_roots = read_file(&config.get_ref().client_ca, tls::roots, findings);
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

/// What a file holds, where one is named; told when it cannot be had.
fn read_file<T>(
    path: &Spanned<String>,
    read: impl FnOnce(&Path) -> Result<T, Fault>,
    findings: &mut Findings<'_>,
) -> Option<T> {
    if path.get_ref().is_empty() {
        return None;
    }
    read(Path::new(path.get_ref())).map_err(|fault| findings.add(problem(path, &fault))).ok()
}

fn problem(place: &Spanned<String>, fault: &Fault) -> Problem {
    Problem::at(place.span(), fault.to_string()).help(fault.help.clone())
}
