//! Keys and digests in words.

use ipnet::IpNet;
use serde::Serialize;

use crate::client::{KeySource, KeySpec};
use crate::digest::{Digester, short};
use crate::proxy::asked::Asked;

/// How a limit or a pool counts the request.
#[derive(Debug, Serialize)]
pub(super) struct Key {
    /// The parts, in their order.
    pub(super) parts: Vec<KeyPart>,
    /// Of all of them together: equal ones are counted together.
    pub(super) digest: String,
}

/// One part of a key.
#[derive(Debug, Serialize)]
pub(super) struct KeyPart {
    /// As the configuration has it.
    pub(super) source: String,
    /// What it is in this request: in clear where it is no secret, else as a digest.
    pub(super) value: Option<String>,
    /// Whether the request does not have it (once), so that its address stands in.
    pub(super) falls_back: bool,
}

impl Key {
    pub(super) fn of(spec: &KeySpec, asked: &Asked, digester: &Digester) -> Self {
        let part = |source: &KeySource| KeyPart::of(source, spec, asked, digester);
        Self { parts: spec.sources().iter().map(part).collect(), digest: short(asked.partition(spec).0) }
    }

    /// `client_ip 203.0.113.7`, `header:x-api-key #1a2b3c4d and path:id 7`.
    pub(super) fn in_words(&self) -> String {
        let words = self.parts.iter().map(|KeyPart { source, value, falls_back }| match value {
            Some(value) if *falls_back => format!("client_ip {value} (no single {source} in the request)"),
            Some(value) => format!("{source} {value}"),
            None => "everybody together".to_owned(),
        });
        words.collect::<Vec<_>>().join(" and ")
    }
}

impl KeyPart {
    fn of(source: &KeySource, spec: &KeySpec, asked: &Asked, digester: &Digester) -> Self {
        let given = asked.with_seen(|seen| source.value(seen).map(std::borrow::Cow::into_owned));
        let (value, falls_back) = match (source, given) {
            (KeySource::Global, _) => (None, false),
            (KeySource::Header(_) | KeySource::Cookie(_), Some(secret)) => {
                (Some(short_of(&secret, digester)), false)
            }
            (_, Some(plain)) => (Some(format!("{:?}", String::from_utf8_lossy(&plain))), false),
            (source, None) => (Some(network(spec, asked)), *source != KeySource::ClientIp),
        };
        Self { source: source.to_string(), value, falls_back }
    }
}

/// The client's address, or the network of it that counts.
fn network(spec: &KeySpec, asked: &Asked) -> String {
    let address = asked.client.ip.to_canonical();
    match IpNet::new(address, spec.ipv6_prefix()) {
        Ok(network) if address.is_ipv6() && spec.ipv6_prefix() < 128 => network.trunc().to_string(),
        _ => address.to_string(),
    }
}

/// Stands for a value that is not shown.
pub(super) fn short_of(value: &[u8], digester: &Digester) -> String {
    short(digester.of([b"shown".as_slice(), value]))
}
