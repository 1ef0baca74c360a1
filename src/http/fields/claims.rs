//! What a message says of itself that a proxy may have said: the client's address, the target, the method. Whoever believes
//! it answers for another request than the one that was routed, limited and stored.

use http::Method;
use http::header::{self, HeaderMap, HeaderName};

/// Claims about the client's address that do not begin like others.
const ADDRESSES: [&str; 22] = [
    "x-real-ip",
    "x-true-ip",
    "x-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-cluster-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-envoy-external-address",
    "client-ip",
    "true-client-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded-for",
    "remote-addr",
];
/// Claims about the target, or about what has been done with the request, that do not begin like others.
const TARGETS: [&str; 11] = [
    "x-rewrite-url",
    "x-http-host-override",
    "x-host",
    "x-backend-host",
    "x-forwarded",
    "x-scheme",
    "x-url-scheme",
    "x-envoy-original-path",
    "x-accel-redirect",
    "x-middleware-subrequest",
    "front-end-https",
];
/// How the others begin. `X-Forward-For` is an old spelling.
const STARTS: [&str; 3] = ["x-forwarded-", "x-forward-", "x-original-"];
/// A bit for each length that a name of the lists has.
const LENGTHS: u32 = lengths(&ADDRESSES) | lengths(&TARGETS);

const fn lengths(names: &[&str]) -> u32 {
    let (mut bits, mut rest) = (0, names);
    while let Some((name, others)) = rest.split_first() {
        bits |= 1 << name.len();
        rest = others;
    }
    bits
}

/// Whether a field says where a request comes from, or what it was about before a proxy changed it: `Forwarded`,
/// `X-Forwarded-*`, `X-Original-*`, `ADDRESSES`, `TARGETS`, with underscores too. Servers that believe such a field
/// answer for another client, host or path than the one that was routed, limited and stored.
pub fn is_claim(name: &HeaderName) -> bool {
    let text = name.as_str();
    // The first letters of all of them, which nearly no usual field has.
    let may_be = matches!(
        text.as_bytes(),
        [b'x' | b'f', ..]
            | [b'c', b'l' | b'f', ..]
            | [b't', b'r', ..]
            | [b'p', b'r', b'o', ..]
            | [b'r', b'e', b'm', ..]
            | [b'w', b'l', ..]
    );
    may_be
        && (*name == header::FORWARDED
            || STARTS.iter().any(|start| begins_like(name, start))
            || (is_as_long_as_one(text) && all_whole().any(|claim| is_like(name, claim))))
}

/// The claims that are known by their whole name.
fn all_whole() -> impl Iterator<Item = &'static str> {
    ADDRESSES.into_iter().chain(TARGETS)
}

fn is_as_long_as_one(name: &str) -> bool {
    let bit = u32::try_from(name.len()).ok().and_then(|length| 1_u32.checked_shl(length));
    bit.is_some_and(|bit| LENGTHS & bit != 0)
}

/// Whether a claim is about the client's address alone, which is no part of what a response is stored under.
fn is_about_the_address(name: &HeaderName) -> bool {
    let prefixed = ["x-forwarded-for", "x-forward-for", "x-original-for"];
    prefixed.iter().chain(&ADDRESSES).any(|address| is_like(name, address))
}

/// What a trusted proxy says of a request besides the client's address: host, scheme, prefix, the target before it was
/// rewritten. Servers build answers from it.
pub fn claims_about_the_target(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    let claims = headers.iter().filter(|(name, _)| is_claim(name) && !is_about_the_address(name));
    claims.flat_map(|(name, value)| {
        // Of `Forwarded` (RFC 7239 section 5) all but the addresses; split without regard to quotes, since who reads it
        // may have none either.
        let is_list = *name == header::FORWARDED;
        let pairs = value.as_bytes().split(move |byte| is_list && matches!(byte, b',' | b';'));
        pairs.filter(move |pair| !is_list || !is_address_pair(pair)).map(move |pair| (name.as_str(), pair))
    })
}

fn is_address_pair(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(b"for") || name.eq_ignore_ascii_case(b"by")
}

/// Whether a field asks for another method than the request's own, which many frameworks obey.
pub fn overrides_method(name: &HeaderName) -> bool {
    ["x-http-method-override", "x-http-method", "x-method-override"].iter().any(|field| is_like(name, field))
}

/// The methods that such fields ask for, in upper case, as frameworks read them; none for a value that is not one method.
pub fn other_methods(headers: &HeaderMap) -> impl Iterator<Item = Option<Method>> {
    let values = headers.iter().filter(|(name, _)| overrides_method(name)).map(|(_, value)| value.as_bytes());
    let asked_for = values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    asked_for.map(|value| Method::from_bytes(&value.to_ascii_uppercase()).ok())
}

/// Whether a claim is spelt with an underscore, which CGI and WSGI servers do not tell from a dash (RFC 3875 section
/// 4.1.18). No proxy that can be trusted writes it so.
pub fn is_disguised_claim(name: &HeaderName) -> bool {
    name.as_str().contains('_') && is_claim(name)
}

fn is_like(name: &HeaderName, other: &str) -> bool {
    name.as_str().len() == other.len() && begins_like(name, other)
}

/// Whether a name begins with `start`, where an underscore is as good as a dash.
fn begins_like(name: &HeaderName, start: &str) -> bool {
    let same = |(byte, wanted)| byte == wanted || (byte == b'_' && wanted == b'-');
    name.as_str().len() >= start.len() && name.as_str().bytes().zip(start.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::Present;

    #[test]
    fn every_claim_is_found_in_the_walk_over_a_head() {
        let prefixed = ["forwarded", "x-forwarded-for", "x-forward-host", "x-original-url"];
        for claim in all_whole().chain(prefixed) {
            for name in [claim.to_owned(), claim.replace('-', "_"), claim.replacen('-', "_", 1)] {
                let name = HeaderName::try_from(name).unwrap();
                assert!(is_claim(&name), "{name}");
                let headers = HeaderMap::from_iter([(name, header::HeaderValue::from_static("1"))]);
                assert!(Present::of(&headers).has_claim(), "{headers:?}");
            }
        }
    }

    #[test]
    fn a_field_asks_for_one_method_or_for_any() {
        for (name, value, expected) in [
            ("x-http-method-override", "delete", Some(Some(Method::DELETE))),
            ("x_http_method_override", " POST ", Some(Some(Method::POST))),
            ("x-http-method", "GET, POST", Some(None)),
            ("x-method-override", "a b", Some(None)),
            ("x-method-override", " ", None),
            ("x-method", "DELETE", None),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                header::HeaderValue::from_static(value),
            )]);
            assert_eq!(other_methods(&headers).next(), expected, "{name}: {value}");
            assert_eq!(Present::of(&headers).has_override(), name != "x-method", "{name}");
        }
    }
}
