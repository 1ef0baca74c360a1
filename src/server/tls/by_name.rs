//! The certificate for the name that a client asks for (SNI, RFC 6066 section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificate;

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    /// Where two are for the same name, the first one is taken.
    pub(super) fn new(certificates: &[Certificate]) -> Self {
        let mut names = HashMap::new();
        for certificate in certificates {
            for name in certificate.names() {
                names.entry(name.clone()).or_insert_with(|| Arc::clone(certificate.identity()));
            }
        }
        Self { names, first: certificates.first().map(|first| Arc::clone(first.identity())) }
    }

    /// The exact name, then a wildcard for its first label (RFC 9525 section 6.3), then the first certificate.
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let named = name.map(str::to_ascii_lowercase).and_then(|name| {
            let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
            self.names.get(&name).or_else(wildcard)
        });
        named.or(self.first.as_ref()).cloned()
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    fn certificate(names: &[&str]) -> Certificate {
        let made =
            rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let made = made.unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let identity = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider()).unwrap();
        Certificate::read("made".into(), identity).unwrap()
    }

    #[test]
    fn a_client_sees_the_certificate_for_the_name_that_it_asks_for() {
        let made = [
            certificate(&["one.example", "*.one.example"]),
            certificate(&["two.example", "one.example"]),
            certificate(&["deep.one.example"]),
        ];
        let by_name = ByName::new(&made);
        for (name, expected) in [
            (Some("one.example"), 0),
            (Some("a.one.example"), 0),
            (Some("A.One.Example"), 0),
            (Some("a.b.one.example"), 0),
            (Some("two.example"), 1),
            (Some("a.two.example"), 0),
            (Some("deep.one.example"), 2),
            (Some("other"), 0),
            (None, 0),
        ] {
            let found = by_name.find(name).unwrap();
            assert!(Arc::ptr_eq(&found, made[expected].identity()), "{name:?}");
        }
    }
}
