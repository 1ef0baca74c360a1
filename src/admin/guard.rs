//! Who may ask.
//!
//! The token is compared by keyed digest: how long a comparison takes says nothing about the token. The host is
//! checked because a page of another site can make its own name point here (DNS rebinding); a literal address cannot
//! be rebound, so a listener on every address takes them all. Pages of other sites that ask openly are refused by
//! tower-http's cross-site check before this.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Version};

use super::reply::{Reply, problem, unauthorized};
use crate::digest::Digester;
use crate::http::host::canonical_host;
use crate::policy::AdminPolicy;

/// Decides by request head.
#[derive(Debug)]
pub(super) struct Guard {
    digester: Digester,
    token: Option<u128>,
    address: SocketAddr,
    hosts: Vec<String>,
}

impl Guard {
    /// For the address the listener is bound to.
    pub(super) fn new(rules: &AdminPolicy, address: SocketAddr, digester: Digester) -> Self {
        let token = rules.token.as_ref().filter(|token| !token.is_empty());
        let token = token.map(|token| digester.of([token.as_bytes()]));
        let hosts = rules.hosts.iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase()).collect();
        Self { digester, token, address, hosts }
    }

    /// The same place under other rules.
    pub(super) fn with(&self, rules: &AdminPolicy) -> Self {
        Self::new(rules, self.address, self.digester)
    }

    /// Whether the request may go on; `is_open`: without a token.
    pub(super) fn check(&self, request: &Parts, is_open: bool) -> Result<(), Refused> {
        if !is_bare(request) {
            let host = host(request).ok_or(Refused::BadHost)?;
            self.is_ours(&host).then_some(()).ok_or(Refused::UnknownHost)?;
        }
        if is_open || self.has_token(&request.headers) { Ok(()) } else { Err(Refused::NoToken) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = literal.parse::<IpAddr>() {
            let (address, bound) = (address.to_canonical(), self.address.ip().to_canonical());
            return bound.is_unspecified() || address == bound || address.is_loopback();
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || self.hosts.contains(&name)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = self.token else { return true };
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return false };
        let Some((scheme, given)) = field.as_bytes().split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && self.digester.of([given.trim_ascii()]) == token
    }
}

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// None, several, or none that is valid.
    BadHost,
    /// A name that is not ours.
    UnknownHost,
    /// None, or a wrong one.
    NoToken,
}

impl Refused {
    /// What the client is told.
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::BadHost => problem(StatusCode::BAD_REQUEST, "the request needs exactly one valid Host"),
            Self::UnknownHost => problem(
                StatusCode::FORBIDDEN,
                "this host is not known here: use the address, or list the name in admin.hosts",
            ),
            Self::NoToken => unauthorized(),
        }
    }
}

/// HTTP/1.0 needs no Host. Load balancers ask so; a browser, which is what the check is for, never does.
fn is_bare(request: &Parts) -> bool {
    request.version < Version::HTTP_11
        && request.uri.authority().is_none()
        && !request.headers.contains_key(HOST)
}

/// The host without its port: of an absolute target, else of the only Host field (RFC 9112, 3.2).
fn host(request: &Parts) -> Option<String> {
    let mut fields = request.headers.get_all(HOST).iter();
    let field = match (request.uri.authority(), fields.next(), fields.next()) {
        (Some(authority), _, None) => authority.as_str(),
        (None, Some(field), None) => field.to_str().ok()?,
        _ => return None,
    };
    // The library's own type takes `localhost:9090.evil.example` for a host with an odd port.
    let canonical = canonical_host(field, 80).ok()?;
    Authority::try_from(&*canonical).ok().map(|authority| authority.host().to_owned())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn guard(address: &str, token: &str) -> Guard {
        let rules =
            AdminPolicy { token: Some(token.to_owned()), hosts: vec!["Metrics.internal.".to_owned()] };
        Guard::new(&rules, address.parse().unwrap(), Digester::random())
    }

    fn status(guard: &Guard, fields: &[(&str, &str)], is_open: bool) -> u16 {
        let mut request = Request::get("/metrics");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.check(&parts, is_open).map_or_else(|refused| refused.reply().status().as_u16(), |()| 200)
    }

    #[test]
    fn only_names_that_belong_to_the_listener_are_answered() {
        for (bound, host, expected) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", 200),
            ("127.0.0.1:9090", "127.0.0.1", 200),
            ("127.0.0.1:9090", "localhost:9090", 200),
            ("127.0.0.1:9090", "LOCALHOST.", 200),
            ("127.0.0.1:9090", "[::1]:9090", 200),
            ("127.0.0.1:9090", "metrics.INTERNAL:9090", 200),
            ("127.0.0.1:9090", "evil.example", 403),
            ("127.0.0.1:9090", "127.0.0.1.evil.example", 403),
            ("127.0.0.1:9090", "localhost.evil.example", 403),
            ("127.0.0.1:9090", "10.0.0.5:9090", 403),
            ("10.0.0.5:9090", "10.0.0.5:9090", 200),
            ("10.0.0.5:9090", "[::ffff:10.0.0.5]:9090", 200),
            ("10.0.0.5:9090", "10.0.0.6:9090", 403),
            ("0.0.0.0:9090", "10.0.0.6:9090", 200),
            ("[::]:9090", "10.0.0.6:9090", 200),
            ("0.0.0.0:9090", "evil.example:9090", 403),
            ("127.0.0.1:9090", "evil@localhost", 400),
            ("127.0.0.1:9090", "", 400),
            ("127.0.0.1:9090", "a b", 400),
            ("127.0.0.1:9090", "127.0.0.1:9090.evil.example", 400),
            ("127.0.0.1:9090", "localhost:9090.evil.example", 400),
            ("127.0.0.1:9090", "localhost:evil", 400),
            ("127.0.0.1:9090", "localhost:99999", 400),
            ("127.0.0.1:9090", "localhost:9090:9090", 400),
        ] {
            assert_eq!(status(&guard(bound, ""), &[("host", host)], false), expected, "{host} at {bound}");
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(status(&guard("127.0.0.1:9090", ""), &twice, false), 400);
        assert_eq!(status(&guard("127.0.0.1:9090", ""), &[], false), 400);
    }

    #[test]
    fn the_token_opens_what_is_not_open_to_all() {
        let guard = guard("127.0.0.1:9090", "s3cret");
        for (field, expected) in [
            (Some("Bearer s3cret"), 200),
            (Some("bearer  s3cret"), 200),
            (Some("Bearer s3cre"), 401),
            (Some("Bearer s3crets"), 401),
            (Some("Bearer "), 401),
            (Some("Basic s3cret"), 401),
            (Some("s3cret"), 401),
            (None, 401),
        ] {
            let mut fields = vec![("host", "localhost")];
            fields.extend(field.map(|field| ("authorization", field)));
            assert_eq!(status(&guard, &fields, false), expected, "{field:?}");
        }
        assert_eq!(status(&guard, &[("host", "localhost")], true), 200);
        let twice =
            [("host", "localhost"), ("authorization", "Bearer s3cret"), ("authorization", "Bearer x")];
        assert_eq!(status(&guard, &twice, false), 401);
    }

    #[test]
    fn a_probe_that_is_too_old_for_a_host_is_answered() {
        let probe = |version| Request::get("/healthz").version(version).body(()).unwrap().into_parts().0;
        let guard = guard("127.0.0.1:9090", "s3cret");
        assert_eq!(guard.check(&probe(Version::HTTP_10), true), Ok(()));
        assert_eq!(guard.check(&probe(Version::HTTP_10), false), Err(Refused::NoToken));
        assert_eq!(guard.check(&probe(Version::HTTP_11), true), Err(Refused::BadHost));
    }

    #[test]
    fn an_open_endpoint_still_wants_a_known_host() {
        assert_eq!(status(&guard("127.0.0.1:9090", "s3cret"), &[("host", "evil.example")], true), 403);
    }
}
