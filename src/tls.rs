//! TLS material: certificates, keys and roots out of PEM files, for the listener and towards the upstreams.
//!
//! Promises: every fault names its file and what to do about it; a key that does not belong to its certificate is found
//! here and not by the first client.

mod fault;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use self::fault::Fault;

/// The cryptography of every TLS connection. It is always handed over: what a process-wide default is depends on which
/// crates happen to be linked.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A certificate with its intermediates, the leaf first, and the key that belongs to it.
///
/// # Errors
/// A file that cannot be read or holds something else, and a key of another certificate.
pub fn identity(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, Fault> {
    certified((cert, chain(cert)?), (key, private_key(key)?), provider)
}

/// A certificate and a key that were read from these files, as one.
///
/// # Errors
/// A key of another certificate, and what cannot be used.
pub fn certified(
    (cert, chain): (&Path, Vec<CertificateDer<'static>>),
    (key, private_key): (&Path, PrivateKeyDer<'static>),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Fault> {
    CertifiedKey::from_der(chain, private_key, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => Fault::new(
            key,
            format!("the key does not belong to the certificate {}", cert.display()),
            "give the key that the certificate was made for; the server's own certificate stands first in its file",
        ),
        Error::InvalidCertificate(why) => {
            Fault::new(cert, format!("the certificate is not usable: {why:?}"), "have it issued anew")
        }
        error => Fault::new(
            key,
            format!("the private key is not usable: {error}"),
            "RSA of 2048 bits or more, ECDSA (P-256, P-384, P-521) and Ed25519 keys are",
        ),
    })
}

/// Every certificate of a file, in its order.
///
/// # Errors
/// A file that cannot be read, is no PEM, or has no certificate.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(lacks(path, &text, "certificate", "CERTIFICATE")),
        Err(error) => Err(malformed(path, &error)),
    }
}

/// The certificates of a file as those whose signature is believed.
///
/// # Errors
/// As of [`chain`], and a certificate that cannot be a root.
pub fn roots(path: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|error| {
            Fault::new(
                path,
                format!("a certificate cannot be a root: {error}"),
                "give the CA's own certificate in PEM",
            )
        })?;
    }
    Ok(roots)
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// A file that cannot be read, is no PEM, or has no key that is in the clear.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if has_section(&text, "ENCRYPTED PRIVATE KEY") => Fault::new(
            path,
            "the private key is encrypted, and nobody is there to type its passphrase",
            format!("decrypt it: openssl pkey -in {} -out decrypted.key", path.display()),
        ),
        pem::Error::NoItemsFound => lacks(path, &text, "private key", "PRIVATE KEY"),
        error => malformed(path, &error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| Fault::unreadable(path, &error))
}

fn has_section(text: &[u8], name: &str) -> bool {
    String::from_utf8_lossy(text).contains(&format!("-----BEGIN {name}-----"))
}

fn lacks(path: &Path, text: &[u8], noun: &str, section: &str) -> Fault {
    let text = String::from_utf8_lossy(text);
    let others = text.lines().filter_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    let help = match others.take(1).next() {
        Some(other) => format!("it holds `{other}`: are two files mixed up?"),
        None => format!("it must be PEM, with `-----BEGIN {section}-----`"),
    };
    Fault::new(path, format!("there is no {noun} in it"), help)
}

fn malformed(path: &Path, error: &pem::Error) -> Fault {
    Fault::new(path, format!("it is not valid PEM: {error}"), "copy the file again, whole and as text")
}

#[cfg(test)]
mod tests;
