//! A request's head on its way through: what it must and must not carry upstream.
//!
//! Promises: nothing that concerned the client's connection reaches the server; nobody but a trusted
//! proxy has a say in who the client is; the server sees `Via`, `X-Forwarded-*` and `X-Request-Id` always.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::{Version, request};

use crate::http::fields::{self, Present};
use crate::http::scheme::Scheme;
use crate::http::websocket::is_handshake;

/// `X-Request-Id`.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the server is told of the client.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// The address of the peer as `X-Forwarded-For` has it.
    pub peer: &'a HeaderValue,
    /// Whether the peer is a proxy whose forwarding fields are believed.
    pub is_trusted: bool,
    /// The scheme of the listener.
    pub scheme: Scheme,
    /// This request's id.
    pub request_id: &'a HeaderValue,
}

/// Makes a client's head one that may be sent to a server over HTTP/1.1; `present`: what it had when it came.
pub fn prepare_request(parts: &mut request::Parts, present: Present, forwarding: &Forwarding<'_>) {
    // The only protocol that a tunnel is opened for: to whatever else the server might switch, no rule here can follow it.
    let is_websocket = present.has_upgrade() && is_handshake(parts);
    let takes_trailers = present.has_te() && fields::has_token(&parts.headers, &header::TE, "trailers");
    let received_by = match parts.version {
        Version::HTTP_2 => const { HeaderValue::from_static("2 forebay") },
        _ => const { HeaderValue::from_static("1.1 forebay") },
    };
    let headers = &mut parts.headers;
    fields::remove_hop_by_hop_of(headers, present);
    if present.has_expect() {
        // Whether to go on is decided here: the body is asked for when the server reads it.
        headers.remove(header::EXPECT);
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if present.has_claim() {
        remove_claims(headers, forwarding.is_trusted);
    }
    if present.has_claim() && forwarding.is_trusted {
        continue_claims(headers, forwarding);
    } else {
        tell_of_the_client(headers, forwarding);
    }
    headers.append(header::VIA, received_by);
    headers.insert(REQUEST_ID, forwarding.request_id.clone());
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if is_websocket {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    parts.version = Version::HTTP_11;
}

/// HTTP/2 may split cookies into several fields, HTTP/1.1 servers expect one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(b"; ".as_slice())) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Nobody whom we believe has said anything about the client: we do.
fn tell_of_the_client(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    let host = headers.get(header::HOST).cloned();
    headers.append(FORWARDED_FOR, forwarding.peer.clone());
    headers.append(FORWARDED_PROTO, forwarding.scheme.value());
    if let Some(host) = host {
        headers.append(FORWARDED_HOST, host);
    }
}

/// A trusted proxy has: its word is passed on and added to.
fn continue_claims(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    let host = headers.get(header::HOST).cloned();
    match headers.entry(FORWARDED_FOR) {
        Entry::Vacant(vacant) => {
            vacant.insert(forwarding.peer.clone());
        }
        Entry::Occupied(mut occupied) => {
            let mut all: Vec<&[u8]> = occupied.iter().map(HeaderValue::as_bytes).collect();
            all.push(forwarding.peer.as_bytes());
            if let Ok(joined) = HeaderValue::from_bytes(&all.join(b", ".as_slice())) {
                occupied.insert(joined);
            }
        }
    }
    continue_forwarded(headers, forwarding.peer);
    headers.entry(FORWARDED_PROTO).or_insert(forwarding.scheme.value());
    if let Some(host) = host {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

/// Adds the peer to a `Forwarded` that came in (RFC 7239 section 4), as another line of the list.
fn continue_forwarded(headers: &mut HeaderMap, peer: &HeaderValue) {
    let Some(address) = peer.to_str().ok().filter(|_| headers.contains_key(header::FORWARDED)) else {
        return;
    };
    let element =
        if address.contains(':') { format!("for=\"[{address}]\"") } else { format!("for={address}") };
    if let Ok(element) = HeaderValue::from_str(&element) {
        headers.append(header::FORWARDED, element);
    }
}

/// What an untrusted client claims about where it comes from; of a trusted proxy only what may contradict its real word.
fn remove_claims(headers: &mut HeaderMap, is_trusted: bool) {
    let is_removed = if is_trusted { fields::is_disguised_claim } else { fields::is_claim };
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(lines: &[(&'static str, &'static str)], is_trusted: bool) -> HeaderMap {
        let mut request = http::Request::builder().uri("/").header("host", "api.example");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let forwarding = Forwarding {
            peer: &HeaderValue::from_static("10.0.0.9"),
            is_trusted,
            scheme: Scheme::Http,
            request_id: &HeaderValue::from_static("id"),
        };
        let present = Present::of(&parts.headers);
        prepare_request(&mut parts, present, &forwarding);
        parts.headers
    }

    #[test]
    fn an_untrusted_clients_claims_are_replaced() {
        let headers = forwarded(
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
                ("x-real-ip", "1.1.1.1"),
                ("x-forwarded-prefix", "/x"),
                ("x-forwarded-proto", "https"),
            ],
            false,
        );
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert!(!headers.contains_key("forwarded"));
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "api.example");
        for gone in ["forwarded", "x-real-ip", "x-forwarded-prefix"] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn a_trusted_proxys_claims_are_appended_to() {
        let headers = forwarded(
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "front.example"),
                ("forwarded", "for=1.1.1.1"),
            ],
            true,
        );
        let elements: Vec<_> = headers.get_all("forwarded").iter().collect();
        assert_eq!(elements, ["for=1.1.1.1", "for=10.0.0.9"]);
        assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "front.example");
    }

    #[test]
    fn claims_with_underscores_are_nobodys() {
        for is_trusted in [false, true] {
            let lines =
                [("x_forwarded_for", "6.6.6.6"), ("x_real_ip", "6.6.6.6"), ("x-forwarded_proto", "https")];
            let headers = forwarded(&lines, is_trusted);
            assert!(!headers.keys().any(|name| name.as_str().contains('_')), "{headers:?}");
            assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
            assert_eq!(headers["x-forwarded-host"], "api.example");
        }
    }

    #[test]
    fn no_upgrade_goes_through_but_to_web_sockets() {
        let asked = |protocol| {
            let lines = [
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", protocol),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ];
            forwarded(&lines, false)
        };
        let headers = asked("WebSocket");
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["connection"], "upgrade");
        for stripped in ["h2c", "websocket, h2c", "foo", "TLS/1.0"] {
            let headers = asked(stripped);
            assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"), "{stripped}");
        }
    }

    #[test]
    fn trailers_are_asked_for_again() {
        let headers = forwarded(&[("te", "trailers, deflate"), ("connection", "te")], false);
        assert_eq!(headers["te"], "trailers");
    }
}
