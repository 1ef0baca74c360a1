//! A certificate as the listener shows it: its key, the names that it is for, and until when.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// When the end is near; for a certificate of a short life, when a third of it is left.
const SOON: Duration = Duration::from_hours(14 * 24);

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    path: PathBuf,
    identity: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Certificate {
    /// Reads what a certificate says of itself; `path` is where it comes from.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(path: PathBuf, identity: CertifiedKey) -> Result<Self, String> {
        let leaf = identity.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let (_, leaf) = parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
        let names = names(&leaf);
        let (not_before, not_after) =
            (time(leaf.validity().not_before.timestamp()), time(leaf.validity().not_after.timestamp()));
        Ok(Self { path, identity: Arc::new(identity), names, not_before, not_after })
    }

    pub(super) fn identity(&self) -> &Arc<CertifiedKey> {
        &self.identity
    }

    /// The names that it is for, in lower case.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// What an operator should know of its time.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let lifetime = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let (file, until) = (self.path.display(), httpdate::fmt_http_date(self.not_after));
        match self.not_after.duration_since(now) {
            Err(_) => {
                Some(format!("{file}: the certificate has expired ({until}); clients refuse it: renew it"))
            }
            Ok(left) if left < SOON.min(lifetime / 3) => {
                Some(format!("{file}: the certificate expires soon ({until}): renew it"))
            }
            Ok(_) if now < self.not_before => {
                let from = httpdate::fmt_http_date(self.not_before);
                Some(format!("{file}: the certificate is not valid yet (from {from}): is the clock right?"))
            }
            Ok(_) => None,
        }
    }
}

/// The DNS names; the common name counts nowhere any more (RFC 9525 section 1.3).
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = leaf.subject_alternative_name() else { return Vec::new() };
    let names = alternative.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::provider;

    #[test]
    fn an_operator_is_told_when_the_end_is_near() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2030, 4, 1));
        let made = params.self_signed(&key).unwrap();
        let der = key.serialize_der().try_into().unwrap();
        let identity = CertifiedKey::from_der(vec![made.der().clone()], der, &provider()).unwrap();
        let certificate = Certificate::read("a.crt".into(), identity).unwrap();
        assert_eq!(certificate.names(), ["a.example"]);
        for (day, warning) in [
            (-1, Some("not valid yet")),
            (1, None),
            (75, None),
            (80, Some("soon (Mon, 01 Apr 2030")),
            (91, Some("has expired")),
        ] {
            let now = time(1_893_456_000 + day * 86_400);
            let said = certificate.warning(now);
            assert_eq!(said.is_some(), warning.is_some(), "{day}: {said:?}");
            assert!(said.unwrap_or_default().contains(warning.unwrap_or_default()), "{day}");
        }
    }
}
