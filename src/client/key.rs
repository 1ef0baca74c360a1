//! The key under which a limit or a pool counts a client.
//!
//! Promises: two spellings of one value are one key; a value cannot imitate another source's; a request without the
//! key, or with several different values for it (which of them the origin believes is anybody's guess, and a new
//! useless one would be a new allowance), is counted by the client's address instead.

mod query;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use super::cookie;
use crate::digest::{Digest, Digester};
use crate::http::readings::loosest_reading;

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Everybody under one key.
    Global,
    /// The client's address; IPv6 by prefix.
    ClientIp,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie, in its loosest reading.
    Cookie(String),
    /// The value of a query parameter, decoded.
    Query(String),
    /// A capture of the route's pattern.
    Path(String),
}

/// How a key is made: its parts, and how much of an IPv6 address counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    sources: Vec<KeySource>,
    ipv6_prefix: u8,
}

/// A key, as a digest under the key of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey(pub u128);

/// What of a request a key can be made of.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The request's head, canonical.
    pub parts: &'a Parts,
    /// The client's address.
    pub address: IpAddr,
    /// The captures of the route's pattern by name.
    pub capture: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl KeySpec {
    /// A key of these parts; `ipv6_prefix` in bits, 128 at most.
    pub fn new(sources: Vec<KeySource>, ipv6_prefix: u8) -> Self {
        Self { sources, ipv6_prefix: ipv6_prefix.min(128) }
    }

    /// By the client's address alone, IPv6 by /64.
    pub fn client_ip() -> Self {
        Self::new(vec![KeySource::ClientIp], 64)
    }

    /// The parts.
    pub fn sources(&self) -> &[KeySource] {
        &self.sources
    }

    /// How many bits of an IPv6 address count.
    pub fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix
    }

    /// The key of a request.
    pub fn partition(&self, seen: &Seen<'_>, digester: &Digester) -> PartitionKey {
        let mut digest = digester.begin();
        for source in &self.sources {
            if !source.add_to(&mut digest, seen) {
                add_address(&mut digest, seen.address, self.ipv6_prefix);
            }
        }
        PartitionKey(digest.finish())
    }
}

impl KeySource {
    /// What the request gives for it; none if it gives nothing, or several different values, or counts by address
    /// anyway.
    pub fn value<'s>(&self, seen: &Seen<'s>) -> Option<Cow<'s, [u8]>> {
        let headers = &seen.parts.headers;
        match self {
            Self::ClientIp => None,
            Self::Global => Some(Cow::Borrowed(b"")),
            Self::Header(name) => {
                let value = only(headers.get_all(name).into_iter().map(HeaderValue::as_bytes))?;
                Some(match *name == AUTHORIZATION {
                    true => Cow::Owned(canonical_credentials(value)),
                    false => Cow::Borrowed(value),
                })
            }
            Self::Cookie(name) => only(cookie::values(headers, name)),
            Self::Query(name) => only(query::values(seen.parts.uri.query().unwrap_or(""), name)),
            Self::Path(name) => {
                // However it is spelled: a server may not tell `a;x` from `a`, or `a%2B` from `a+`.
                let value = (seen.capture)(name).map(loosest_reading).filter(|value| !value.is_empty())?;
                Some(match value {
                    Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
                    Cow::Owned(value) => Cow::Owned(value.into_bytes()),
                })
            }
        }
    }

    /// Adds the request's value; `false` if there is none to add.
    fn add_to(&self, digest: &mut Digest, seen: &Seen<'_>) -> bool {
        let Some(value) = self.value(seen) else { return false };
        let (kind, name) = match self {
            Self::ClientIp => return false,
            Self::Global => ("global", ""),
            Self::Header(name) => ("header", name.as_str()),
            Self::Cookie(name) => ("cookie", name.as_str()),
            Self::Query(name) => ("query", name.as_str()),
            Self::Path(name) => ("path", name.as_str()),
        };
        [kind.as_bytes(), name.as_bytes(), &value].into_iter().for_each(|part| digest.add(part));
        true
    }
}

/// Wider than RFC 6265 4.1.1: names such as `user[id]` are about.
fn is_in_cookie_name(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'=' | b';' | b',')
}

/// The one value that is there, be it repeated; none if it is empty or there are different ones.
fn only<V: AsRef<[u8]>>(mut values: impl Iterator<Item = V>) -> Option<V> {
    let first = values.next().filter(|value| !value.as_ref().is_empty())?;
    values.all(|value| value.as_ref() == first.as_ref()).then_some(first)
}

/// The scheme of credentials has no case, and more than one space may follow it (RFC 9110 11.4).
fn canonical_credentials(value: &[u8]) -> Vec<u8> {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
    let (scheme, token) = value.split_at(end);
    [&scheme.to_ascii_lowercase(), token.trim_ascii()].join(&b' ')
}

fn add_address(digest: &mut Digest, address: IpAddr, ipv6_prefix: u8) {
    digest.add(b"client_ip");
    match address.to_canonical() {
        IpAddr::V4(v4) => digest.add(&v4.octets()),
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or(0);
            digest.add(&Ipv6Addr::from(v6.to_bits() & mask).octets());
        }
    }
}

impl FromStr for KeySource {
    type Err = KeySourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        match (kind, name) {
            ("global", None) => Ok(Self::Global),
            ("client_ip", None) => Ok(Self::ClientIp),
            ("header" | "cookie" | "query" | "path", None | Some("")) => {
                Err(KeySourceError(format!("`{kind}` needs a name: `{kind}:NAME`")))
            }
            ("header", Some(name)) => name
                .parse()
                .map(Self::Header)
                .map_err(|_| KeySourceError(format!("`{name}` is not the name of a header field"))),
            ("cookie", Some(name)) if !name.bytes().all(is_in_cookie_name) => {
                Err(KeySourceError(format!("`{name}` is not the name of a cookie")))
            }
            ("cookie", Some(name)) => Ok(Self::Cookie(name.to_owned())),
            ("query", Some(name)) => Ok(Self::Query(name.to_owned())),
            ("path", Some(name)) => Ok(Self::Path(name.to_owned())),
            _ => Err(KeySourceError(format!(
                "`{text}` is not a key; it is `global`, `client_ip`, `header:NAME`, `cookie:NAME`, `query:NAME` or `path:NAME`"
            ))),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(name) => write!(f, "path:{name}"),
        }
    }
}

/// A text that is no source of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySourceError(String);

impl KeySourceError {
    pub(super) fn not_an_identity(text: &str) -> Self {
        let refused =
            format!("`{text}` cannot be an identity; it is made of header fields and `cookie:NAME`");
        Self(match text.contains(':') {
            true => refused,
            false => format!("{refused} (a header field of that name is `header:{text}`)"),
        })
    }
}

impl fmt::Display for KeySourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeySourceError {}

impl fmt::Debug for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("uri", &self.parts.uri).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
