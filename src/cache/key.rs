//! What a stored response is stored under.
//!
//! A key is a keyed digest of length-prefixed parts, so no request can imitate another's key (and nobody outside can
//! search for a collision). The method is no part of it: GET and HEAD share the stored GET (RFC 9111 4). The path and
//! `Host` are taken as canonical already.

use http::header::{HOST, HeaderName};
use http::request::Parts;

use crate::digest::{Digest, Digester};

/// The name of a resource, or of one identity's view of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(u128);

impl CacheKey {
    /// The digest, for keys that are made of this one.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The key of nothing that anybody asks for, but by an accident of one in 2^128.
    pub(super) const NONE: Self = Self(0);

    /// Where parts of it are kept, apart from all wholes. (The key is secret: nobody can find another's key this way.)
    pub(super) fn of_parts(self) -> Self {
        Self(!self.0)
    }

    /// Where answers to HEAD are kept.
    pub(super) fn of_heads(self) -> Self {
        Self(self.0 ^ u128::from(u64::MAX))
    }

    /// The key of what is seen under these claims about the request's target, by whoever is believed; the same key where
    /// there are none.
    pub fn under_claims<'c>(
        self,
        claims: impl Iterator<Item = (&'c str, &'c [u8])>,
        digester: &Digester,
    ) -> Self {
        let mut claims = claims.peekable();
        if claims.peek().is_none() {
            return self;
        }
        let mut digest = digester.begin();
        digest.add(b"claims");
        digest.add(&self.to_bytes());
        claims.for_each(|(name, value)| {
            digest.add(name.as_bytes());
            digest.add(value);
        });
        Self(digest.finish())
    }

    /// The key of what one identity alone may see.
    pub fn for_identity(self, identity: u128, digester: &Digester) -> Self {
        Self(digester.of([b"identity".as_slice(), &self.0.to_be_bytes(), &identity.to_be_bytes()]))
    }
}

/// What of a request goes into its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Query parameters that do not matter.
    pub query_ignore: Vec<NamePattern>,
    /// Whether the order of query parameters does not matter; that of equally named ones always does.
    pub query_sort: bool,
    /// Request fields that matter although the response's `Vary` may not say so.
    pub headers: Vec<HeaderName>,
    /// Whether requests with credentials share what `force` stores.
    pub shared_credentials: bool,
}

impl KeyRules {
    /// The key of a request's resource.
    pub fn key(&self, digester: &Digester, scheme: &str, parts: &Parts) -> CacheKey {
        let mut digest = digester.begin();
        digest.add(scheme.as_bytes());
        digest.add(parts.headers.get(HOST).map_or(b"", |host| host.as_bytes()));
        digest.add(parts.uri.path().as_bytes());
        self.add_query(&mut digest, parts.uri.query());
        for name in &self.headers {
            // The number of lines keeps one line "a" and two lines "a", "" apart, and a field from its neighbour.
            digest.add(&parts.headers.get_all(name).iter().count().to_be_bytes());
            parts.headers.get_all(name).iter().for_each(|line| digest.add(line.as_bytes()));
        }
        CacheKey(digest.finish())
    }

    /// The resource as text, `host/path?query` by the same rules: the name by which it is purged and fenced.
    pub fn url(&self, host: &str, path: &str, query: Option<&str>) -> String {
        let mut url = String::with_capacity(host.len() + path.len() + query.map_or(0, str::len) + 1);
        url.push_str(host);
        url.push_str(path);
        let Some(query) = query else { return url };
        if self.takes_query_as_it_is() {
            url.push('?');
            url.push_str(query);
            return url;
        }
        for (index, parameter) in self.parameters(query).into_iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(parameter);
        }
        url
    }

    /// The target as it is sent upstream for all who share the key: what the key ignores is not sent, or one client could
    /// choose with it what the others get. `None` where that is the request's own.
    pub fn shared_target(&self, path: &str, query: Option<&str>) -> Option<String> {
        let query = query.filter(|_| !self.takes_query_as_it_is())?;
        let target = self.url("", path, Some(query));
        (target.get(path.len() + 1..) != Some(query)).then_some(target)
    }

    fn add_query(&self, digest: &mut Digest, query: Option<&str>) {
        let Some(query) = query else { return digest.add(b"none") };
        if self.takes_query_as_it_is() {
            digest.add(b"whole");
            return digest.add(query.as_bytes());
        }
        let parameters = self.parameters(query);
        if parameters.is_empty() {
            return digest.add(b"none");
        }
        digest.add(b"parameters");
        digest.add(&parameters.len().to_be_bytes());
        parameters.iter().for_each(|parameter| digest.add(parameter.as_bytes()));
    }

    fn takes_query_as_it_is(&self) -> bool {
        self.query_ignore.is_empty() && !self.query_sort
    }

    fn parameters<'q>(&self, query: &'q str) -> Vec<&'q str> {
        let name = |parameter: &&'q str| parameter.split_once('=').map_or(*parameter, |(name, _)| name);
        let matters = |parameter: &&'q str| {
            !parameter.is_empty() && !self.query_ignore.iter().any(|pattern| pattern.matches(name(parameter)))
        };
        let mut parameters: Vec<_> = query.split('&').filter(matters).collect();
        if self.query_sort {
            parameters.sort_by_key(name);
        }
        parameters
    }
}

/// A parameter name in which `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(Box<str>);

impl NamePattern {
    /// Any text is a pattern.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether a name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut name) = name.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The leftmost place of every middle piece leaves the most for what follows.
        for piece in middle.split('*') {
            let Some(at) = name.find(piece) else { return false };
            name = name.get(at + piece.len()..).unwrap_or_default();
        }
        name.ends_with(tail)
    }
}

#[cfg(test)]
mod tests;
