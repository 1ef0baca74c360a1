//! Who is asking.
//!
//! Three answers to three questions: the *address* of the client behind the proxies that we trust, its *identity* (the
//! credentials it carries, which decide whose response it may see), and its *partition key* (which counter a limit
//! counts it under). All are canonical: two spellings of one client are one client. Credentials and addresses leave
//! this module only as keyed digests.

mod address;
mod identity;
mod key;

pub use address::{ClientAddress, TrustedProxies, TrustedProxyError};
pub use identity::{Identity, IdentityFields};
pub use key::{KeySource, KeySourceError, KeySpec, PartitionKey, Seen};

use http::HeaderMap;
use http::header::COOKIE;

/// The cookies of a request in order, over all `Cookie` lines (HTTP/2 sends one a line, RFC 9113 8.2.3), without the
/// space around them.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
}

/// The values of the cookies called `name` (case counts, RFC 6265 5.4), without the quotes around them.
fn cookie_values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    cookies(headers).filter_map(move |cookie| {
        let value = cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(bare.unwrap_or(value))
    })
}
