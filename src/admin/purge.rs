//! Which stored responses an operator wants removed.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use crate::cache::Cache;
use crate::http::host::canonical_host;
use crate::http::target::canonical_path;
use crate::policy::Policy;

/// Which stored responses to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All of them.
    All,
    /// Those of a route, by its name.
    Route(String),
    /// Those with a tag.
    Tag(String),
    /// The one of a path with query on every host, or of a whole URL of the public listener; all its variants.
    Url(String),
    /// Those whose path with query, or whole URL, begins so.
    Prefix(String),
}

impl Purge {
    /// `{}` is all; else exactly one of the four keys. Strict, because a key that is misspelt must not clear everything.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let object: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            format!("the body is a JSON object such as {{}} (everything) or {{\"route\":\"lists\"}}: {error}")
        })?;
        let mut keys = object.into_iter();
        let (key, value) = match (keys.next(), keys.next()) {
            (None, _) => return Ok(Self::All),
            (Some(only), None) => only,
            _ => return Err("only one of \"route\", \"tag\", \"url\" and \"prefix\" at a time".into()),
        };
        let of = match key.as_str() {
            "route" => Self::Route,
            "tag" => Self::Tag,
            "url" => Self::Url,
            "prefix" => Self::Prefix,
            _ => return Err(format!("there is no {key:?}, only \"route\", \"tag\", \"url\" and \"prefix\"")),
        };
        match value {
            Value::String(value) if !value.is_empty() => Ok(of(value)),
            _ => Err(format!("{key:?} is a string that is not empty")),
        }
    }

    /// Removes them; how many.
    ///
    /// # Errors
    /// What is wrong with the URL, and a route that neither is there nor has left anything.
    pub fn apply(&self, cache: &Cache, policy: &Policy) -> Result<u64, String> {
        Ok(match self {
            Self::All => cache.purge_all(),
            Self::Route(name) => match cache.purge_route(name) {
                0 if policy.routes.iter().all(|route| *route.name != **name) => {
                    let names: Vec<_> = policy.routes.iter().map(|route| &*route.name).collect();
                    return Err(format!("there is no route {name:?}, only {}", names.join(", ")));
                }
                cleared => cleared,
            },
            Self::Tag(tag) => cache.purge_tag(tag),
            Self::Url(url) => cache.purge_url(&Address::parse(url)?.as_stored(policy)),
            Self::Prefix(prefix) => cache.purge_prefix(&Address::parse(prefix)?.as_written()),
        })
    }
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Route(name) => write!(f, "route {name}"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Url(url) => write!(f, "url {url}"),
            Self::Prefix(prefix) => write!(f, "prefix {prefix}"),
        }
    }
}

/// A path with query on every host, or a whole URL; in canonical form, as in the keys of stored responses.
struct Address<'a> {
    /// Empty for every host.
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    query: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (rest, default_port) = match text.split_once("://") {
            Some(("http", rest)) => (rest, 80),
            Some(("https", rest)) => (rest, 443),
            _ if text.starts_with('/') => (text, 0),
            _ => return Err(format!("{text:?} is neither a path nor an http or https URL")),
        };
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let host = match host {
            "" if default_port == 0 => Cow::Borrowed(""),
            host => canonical_host(host, default_port).map_err(|error| error.to_string())?,
        };
        let path =
            canonical_path(if path.is_empty() { "/" } else { path }).map_err(|error| error.to_string())?;
        Ok(Self { host, path, query })
    }

    /// By the query rules of the route that answers it.
    fn as_stored(&self, policy: &Policy) -> String {
        policy.stored_url(&self.host, &self.path, self.query)
    }

    fn as_written(&self) -> String {
        let Self { host, path, query } = self;
        query.map_or_else(|| format!("{host}{path}"), |query| format!("{host}{path}?{query}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_object_clears_everything() {
        for (body, expected) in [
            ("{}", Ok(Purge::All)),
            (r#"{"route":"lists"}"#, Ok(Purge::Route("lists".into()))),
            (r#"{"tag":"scan:7"}"#, Ok(Purge::Tag("scan:7".into()))),
            (r#"{"url":"/api/scans?page=2"}"#, Ok(Purge::Url("/api/scans?page=2".into()))),
            (r#"{"prefix":"/api/"}"#, Ok(Purge::Prefix("/api/".into()))),
            ("", Err(())),
            ("[]", Err(())),
            (r#"{"rout":"lists"}"#, Err(())),
            (r#"{"route":null}"#, Err(())),
            (r#"{"route":""}"#, Err(())),
            (r#"{"route":"lists","tag":"scans"}"#, Err(())),
        ] {
            assert_eq!(Purge::parse(body.as_bytes()).map_err(drop), expected, "{body}");
        }
        let unknown = Purge::parse(br#"{"foo":1}"#).unwrap_err();
        assert!(unknown.contains("there is no \"foo\", only \"route\""), "{unknown}");
    }

    #[test]
    fn what_was_cleared_is_told_in_words() {
        let told = [Purge::All, Purge::Tag("scans".into())].map(|what| what.to_string());
        assert_eq!(told, ["everything", "tag scans"]);
    }

    #[test]
    fn an_address_is_spelled_like_a_stored_one() {
        for (text, expected) in [
            ("/api/scans?page=2", Some("/api/scans?page=2")),
            ("/api/%73cans", Some("/api/scans")),
            ("http://Example.COM:80/api", Some("example.com/api")),
            ("https://example.com:443?x=1", Some("example.com/?x=1")),
            ("https://example.com:8443/#top", Some("example.com:8443/")),
            ("http:///api", None),
            ("example.com/api", None),
            ("ftp://example.com/", None),
            ("/api/%zz", None),
        ] {
            let written = Address::parse(text).map(|address| address.as_written());
            assert_eq!(written.ok().as_deref(), expected, "{text}");
        }
    }
}
