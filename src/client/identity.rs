//! Whose request it is: the credentials it carries, as a digest.
//!
//! Collapsing and (under `force`) the cache hand a response only to requests of the same identity, so what counts as a
//! credential errs on the side of too much: every value of every field counts, in order and as it came. Two spellings that
//! one server takes for two users must not be one here; that another takes them for one costs a fetch. (Limits err the other
//! way, see [`super::key`].)

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};

use super::{KeySource, KeySourceError, KeySpec, cookie};
use crate::digest::Digester;

/// Who a request comes from, as far as its credentials tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// It carries none of the route's identity fields.
    Anonymous,
    /// The digest of those that it carries.
    Known(u128),
}

/// The fields and cookies that tell one user from another on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFields {
    headers: Vec<HeaderName>,
    cookies: Vec<String>,
}

impl Default for IdentityFields {
    /// `Authorization`, `Proxy-Authorization`, `Cookie` (all of it) and `X-Api-Key`.
    fn default() -> Self {
        let api_key = HeaderName::from_static("x-api-key");
        Self { headers: vec![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, api_key], cookies: Vec::new() }
    }
}

impl IdentityFields {
    /// The list of a route's `identity = [...]`, which replaces the default: `Name` or `header:Name`, `cookie:NAME`.
    ///
    /// # Errors
    /// The first text that is neither a header nor a cookie.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, KeySourceError> {
        let mut fields = Self { headers: Vec::new(), cookies: Vec::new() };
        for text in texts {
            let source = match text.parse() {
                // A bare word names a header field, unless it is a source of its own: `client_ip` tells nobody apart.
                Err(_) if !text.contains(':') => format!("header:{text}").parse()?,
                parsed => parsed?,
            };
            if !fields.include(&source) {
                return Err(KeySourceError::not_an_identity(text));
            }
        }
        Ok(fields)
    }

    /// Adds the headers and cookies that a rate limit of the route counts by: who is counted apart is told apart.
    pub fn include_key(&mut self, key: &KeySpec) {
        for source in key.sources() {
            self.include(source);
        }
    }

    /// The header fields whose values are credentials.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// The cookies whose values are credentials (besides all of them, where `Cookie` is among the headers).
    pub fn cookies(&self) -> &[String] {
        &self.cookies
    }

    /// Reads a request's identity.
    pub fn identify(&self, headers: &HeaderMap, digester: &Digester) -> Identity {
        let mut digest = digester.begin();
        let mut is_known = false;
        let mut add = |kind: &str, name: &str, value: &[u8]| {
            [kind.as_bytes(), name.as_bytes(), value].into_iter().for_each(|part| digest.add(part));
            is_known = true;
        };
        for name in &self.headers {
            if *name == COOKIE {
                cookie::all(headers).for_each(|cookie| add("header", "cookie", cookie));
            } else {
                headers.get_all(name).into_iter().for_each(|v| add("header", name.as_str(), v.as_bytes()));
            }
        }
        for name in &self.cookies {
            cookie::candidates(headers, name).for_each(|cookie| add("cookie", name, cookie));
        }
        if is_known { Identity::Known(digest.finish()) } else { Identity::Anonymous }
    }

    /// All of them, as [`IdentityFields::parse`] reads them.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        let headers = self.headers.iter().map(ToString::to_string);
        headers.chain(self.cookies.iter().map(|name| format!("cookie:{name}")))
    }

    /// Those that a request carries.
    pub fn names_in<'r>(&'r self, request: &'r HeaderMap) -> impl Iterator<Item = String> + 'r {
        let has_header = |name: &&HeaderName| match **name {
            COOKIE => cookie::all(request).next().is_some(),
            _ => request.contains_key(*name),
        };
        let has_cookie = |name: &&String| cookie::candidates(request, name).next().is_some();
        let headers = self.headers.iter().filter(has_header).map(ToString::to_string);
        headers.chain(self.cookies.iter().filter(has_cookie).map(|name| format!("cookie:{name}")))
    }

    /// Whether the source is of a kind that can tell users apart.
    fn include(&mut self, source: &KeySource) -> bool {
        match source {
            KeySource::Header(name) if !self.headers.contains(name) => self.headers.push(name.clone()),
            KeySource::Cookie(name) if !self.cookies.contains(name) => self.cookies.push(name.clone()),
            KeySource::Header(_) | KeySource::Cookie(_) => {}
            KeySource::Global | KeySource::ClientIp | KeySource::Query(_) | KeySource::Path(_) => {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn identity(
        fields: &IdentityFields,
        digester: &Digester,
        lines: &[(&'static str, &'static str)],
    ) -> Identity {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        fields.identify(&headers, digester)
    }

    #[test]
    fn different_credentials_are_different_users() {
        let (fields, digester) = (IdentityFields::default(), Digester::random());
        let requests: &[&[(&'static str, &'static str)]] = &[
            &[],
            &[("authorization", "a")],
            &[("authorization", "b")],
            &[("authorization", "")],
            &[("proxy-authorization", "a")],
            &[("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("cookie", "a=1")],
            &[("cookie", "a=1; b=2")],
            &[("cookie", "a=1"), ("authorization", "a")],
        ];
        for (i, one) in requests.iter().enumerate() {
            for (j, other) in requests.iter().enumerate() {
                let same = identity(&fields, &digester, one) == identity(&fields, &digester, other);
                assert_eq!(same, i == j, "{one:?} {other:?}");
            }
        }
        assert_eq!(identity(&fields, &digester, &[("accept", "a")]), Identity::Anonymous);
    }

    #[test]
    fn cookies_split_over_lines_are_the_same_cookies() {
        let (fields, digester) = (IdentityFields::default(), Digester::random());
        let joined = identity(&fields, &digester, &[("cookie", "a=1; b=2")]);
        assert_eq!(identity(&fields, &digester, &[("cookie", "a=1"), ("cookie", "b=2")]), joined);
    }

    #[test]
    fn a_list_of_ones_own_replaces_the_default() {
        let digester = Digester::random();
        let fields = IdentityFields::parse(["X-User", "cookie:sid"]).unwrap();
        let of = |lines: &[(&'static str, &'static str)]| identity(&fields, &digester, lines);
        assert_eq!(of(&[("authorization", "a"), ("cookie", "theme=dark")]), Identity::Anonymous);
        assert_ne!(of(&[("x-user", "a")]), Identity::Anonymous);
        assert_eq!(of(&[("cookie", "sid=1; theme=dark")]), of(&[("cookie", "theme=light; sid=1")]));
        // What one server overlooks may be two users to another; nobody is anonymous for an odd spelling.
        let spellings = ["sid=1", "sid=\"1\"", "sid =1", "sid=%31", "SID=1", "theme=dark sid=1"];
        for (i, one) in spellings.into_iter().enumerate() {
            assert_ne!(of(&[("cookie", one)]), Identity::Anonymous, "{one}");
            for other in spellings.into_iter().skip(i + 1) {
                assert_ne!(of(&[("cookie", one)]), of(&[("cookie", other)]), "{one} {other}");
            }
        }
        assert!(IdentityFields::parse(["bad name"]).is_err());
    }

    #[test]
    fn what_is_no_header_field_and_no_cookie_tells_nobody_apart() {
        for text in ["client_ip", "global", "query:x", "path:x"] {
            let error = IdentityFields::parse([text]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}` cannot be an identity")), "{error}");
        }
        let error = IdentityFields::parse(["client_ip"]).unwrap_err().to_string();
        assert!(error.contains("`header:client_ip`"), "{error}");
        assert!(IdentityFields::parse(["header:client_ip", "header:global", "cookie"]).is_ok());
    }

    #[test]
    fn what_a_limit_counts_by_tells_users_apart() {
        let mut fields = IdentityFields::default();
        fields.include_key(&KeySpec::new(vec!["header:X-Tenant".parse().unwrap(), KeySource::ClientIp], 64));
        let digester = Digester::random();
        assert_ne!(identity(&fields, &digester, &[("x-tenant", "a")]), Identity::Anonymous);
    }
}
