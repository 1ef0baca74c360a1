//! Who shares what the request fetches: the cache later, the flight now.

use http::Method;
use serde::Serialize;

use crate::cache::control::RequestControl;
use crate::cache::{BodyRule, Forward, Lookup, Mode};
use crate::client::Identity;
use crate::config::values::Period;
use crate::digest::short;
use crate::http::target::host;
use crate::policy::{Collapse, State};
use crate::proxy::asked::Asked;

/// What the cache does with the request.
#[derive(Debug, Serialize)]
pub(super) struct CacheReport {
    /// `standard`, `force` or `off`.
    pub(super) mode: &'static str,
    /// Whether a stored response may answer it.
    pub(super) lookup: bool,
    /// Whether its response may be stored.
    pub(super) store: bool,
    /// Why not, or on what condition.
    pub(super) because: Option<String>,
    /// How long a stored response is fresh.
    pub(super) ttl: Option<String>,
    /// The same by what the body says, in words; the first that matches counts.
    pub(super) when: Vec<String>,
    /// The same for 404, 410 and 5xx.
    pub(super) negative_ttl: Option<String>,
    /// How long after that it is used while a new one is fetched.
    pub(super) stale_while_revalidate: Option<String>,
    /// How long after that it is used when the backend fails.
    pub(super) stale_if_error: Option<String>,
    /// By what it is found; none where it is neither looked up nor stored.
    pub(super) key: Option<CacheKeyReport>,
    /// By what it can be purged.
    pub(super) tags: Vec<String>,
}

/// The parts of a cache key.
#[derive(Debug, Serialize)]
pub(super) struct CacheKeyReport {
    /// Equal ones share a stored response.
    pub(super) digest: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) path: String,
    /// What the rules leave of the query.
    pub(super) query: Option<String>,
    /// Fields whose values are part of it.
    pub(super) headers: Vec<String>,
    /// Whether the identity is part of it.
    pub(super) identity: bool,
    /// Whether requests of any identity have this key.
    pub(super) shared: bool,
}

/// Whether the request waits for a fetch that is under way.
#[derive(Debug, Serialize)]
pub(super) struct CollapseReport {
    /// `identity`, `shared`, or `off` where it fetches for itself.
    pub(super) scope: &'static str,
    /// Who shares the fetch, or why nobody does.
    pub(super) with: String,
    /// Equal ones share a fetch.
    pub(super) digest: Option<String>,
}

impl CacheReport {
    pub(super) fn of(asked: &Asked, state: &State) -> Self {
        let policy = &asked.route().cache;
        let obstacles = Obstacles::of(asked, state);
        let is_used = obstacles.lookup.is_none() || obstacles.store.is_none();
        let duration = |period: Option<_>| period.map(|period| Period(period).to_string());
        Self {
            mode: match policy.mode {
                Mode::Standard => "standard",
                Mode::Force => "force",
                Mode::Off => "off",
            },
            lookup: obstacles.lookup.is_none(),
            store: obstacles.store.is_none(),
            because: obstacles.lookup.or(obstacles.store).or_else(|| condition(asked)),
            ttl: duration(policy.ttl),
            when: policy.when.iter().flat_map(|when| &when.rules).map(in_words).collect(),
            negative_ttl: duration(policy.negative_ttl),
            stale_while_revalidate: duration(policy.stale_while_revalidate),
            stale_if_error: duration(policy.stale_if_error),
            key: is_used.then(|| CacheKeyReport::of(asked)),
            tags: policy.tags(|name| asked.capture(name)),
        }
    }

    /// How long, in one line.
    pub(super) fn lifetime(&self) -> String {
        let mut words = vec![match (self.mode, &self.ttl) {
            ("force", Some(ttl)) => format!("fresh for {ttl}, whatever the backend says"),
            ("force", None) => "fresh for no time".to_owned(),
            (_, Some(ttl)) => format!("fresh for as long as the response says, or else {ttl}"),
            (_, None) => "fresh for as long as the response says".to_owned(),
        }];
        words.extend(self.when.iter().cloned());
        words.extend(self.negative_ttl.as_ref().map(|ttl| format!("404, 410 and 5xx for {ttl}")));
        let stale = self.stale_while_revalidate.as_ref();
        words.extend(stale.map(|time| format!("stale for {time} while a new one is fetched")));
        let error = self.stale_if_error.as_ref();
        words.extend(error.map(|time| format!("stale for {time} if the backend fails")));
        words.join("; ")
    }
}

/// `1h where /status is completed or failed`.
fn in_words(rule: &BodyRule) -> String {
    format!("{} where {} is {}", Period(rule.ttl), rule.pointer, rule.values.join(" or "))
}

/// What keeps the request from the store.
struct Obstacles {
    lookup: Option<String>,
    store: Option<String>,
}

impl Obstacles {
    fn of(asked: &Asked, state: &State) -> Self {
        let (policy, parts) = (&asked.route().cache, &asked.parts);
        let both = |why: String| Self { lookup: Some(why.clone()), store: Some(why) };
        if policy.mode == Mode::Off {
            return both("the route says so".to_owned());
        }
        if let Some(alone) = asked.alone() {
            return both(alone.to_string());
        }
        // Asked of an empty store, it tells what the request itself demands.
        let now = state.clock.now();
        let found = state.cache.lookup(asked.query(now));
        match found {
            Lookup::OnlyIfCached => {
                let why = "the request says only-if-cached: 504 unless it is stored already";
                Self { lookup: None, store: Some(why.to_owned()) }
            }
            Lookup::Forward(Forward::Request) => both("the request says no-store".to_owned()),
            _ if parts.method == Method::HEAD => Self {
                lookup: None,
                store: Some("a stored GET answers it, its own answer is not stored".into()),
            },
            _ => Self { lookup: None, store: None },
        }
    }
}

/// What must be true of the response, or is done first.
fn condition(asked: &Asked) -> Option<String> {
    match asked.route().cache.mode {
        Mode::Off => None,
        Mode::Force => Some("unless it sets a cookie or says private".to_owned()),
        Mode::Standard if RequestControl::of(&asked.parts.headers).no_cache => {
            Some("but validated first: the request says no-cache".to_owned())
        }
        Mode::Standard if asked.is_credentialed() => {
            Some("if the response says public or s-maxage: the request has credentials".to_owned())
        }
        Mode::Standard => Some("if the response allows it (RFC 9111)".to_owned()),
    }
}

impl CacheKeyReport {
    fn of(asked: &Asked) -> Self {
        let (rules, parts) = (&asked.route().cache.key, &asked.parts);
        let (host, path) = (host(&parts.headers), parts.uri.path());
        let url = rules.url(host, path, parts.uri.query());
        let key = asked.storage_key();
        Self {
            digest: short(u128::from_be_bytes(key.to_bytes())),
            scheme: asked.scheme.as_str(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: url.split_once('?').map(|(_, query)| query.to_owned()),
            headers: rules.headers.iter().map(ToString::to_string).collect(),
            identity: key != asked.resource(),
            shared: asked.route().cache.mode != Mode::Force || rules.shared_credentials,
        }
    }

    /// All of it in one line.
    pub(super) fn in_words(&self) -> String {
        let Self { scheme, host, path, .. } = self;
        let mut words = format!("{scheme}://{host}{path}");
        if let Some(query) = &self.query {
            words.push('?');
            words.push_str(query);
        }
        for name in &self.headers {
            words.push_str(&format!(", {name}"));
        }
        words.push_str(match (self.identity, self.shared) {
            (true, _) => ", this identity",
            (false, true) => ", any identity",
            (false, false) => ", no identity",
        });
        words
    }
}

impl CollapseReport {
    pub(super) fn of(asked: &Asked) -> Self {
        let off = |with: String| Self { scope: "off", with, digest: None };
        let (scope, who) = match (asked.alone(), asked.route().collapse, asked.identity()) {
            (Some(alone), ..) => return off(format!("fetches for itself: {alone}")),
            (None, Collapse::Off, _) => return off("fetches for itself: the route says so".to_owned()),
            (None, Collapse::Shared, _) => ("shared", "everybody"),
            (None, Collapse::Identity, Identity::Known(_)) => ("identity", "requests of the same identity"),
            (None, Collapse::Identity, Identity::Anonymous) => ("identity", "other anonymous requests"),
        };
        Self {
            scope,
            with: format!("one fetch with {who} for the same method, resource and Accept-Encoding"),
            digest: Some(short(asked.flight_key().0)),
        }
    }
}
