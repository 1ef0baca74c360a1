//! How a route wants its responses stored: the compiled form of `[routes.cache]`.

use std::sync::Arc;
use std::time::Duration;

use super::key::{CacheKey, KeyRules};
use super::tags::TagTemplate;
use super::when::BodyRules;
use crate::digest::Digester;
use crate::metrics::RouteMetrics;

/// Whose word counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The origin's and the client's, by RFC 9111.
    #[default]
    Standard,
    /// The operator's: what the origin and the client say about caching is ignored, but `private` and `Set-Cookie`.
    Force,
    /// Nothing is stored or looked up.
    Off,
}

/// The cache policy of one route.
#[derive(Debug, Clone)]
pub struct CachePolicy {
    /// Whose word counts.
    pub mode: Mode,
    /// `standard`: the freshness lifetime of a response that gives none; `force`: of every successful one.
    pub ttl: Option<Duration>,
    /// Freshness lifetimes by what the body says, in place of `ttl`.
    pub when: Option<Arc<BodyRules>>,
    /// Under `force`: the freshness lifetime of 404, 410 and 5xx.
    pub negative_ttl: Option<Duration>,
    /// How long after its lifetime a response may be served while it is fetched anew.
    pub stale_while_revalidate: Option<Duration>,
    /// How long after its lifetime a response may be served when the upstream fails.
    pub stale_if_error: Option<Duration>,
    /// By what names it can be purged, besides its URL and its route.
    pub tags: Vec<TagTemplate>,
    /// What of the request goes into the key.
    pub key: KeyRules,
    /// Whether copies in content codings are kept beside what is stored.
    pub keeps_coded: bool,
    /// The largest body that this route stores; the cache's own `max_object` where `None`.
    pub max_object: Option<u64>,
    /// The route's name, which is a tag of its own.
    pub route: Arc<str>,
    /// The route's figures, where evictions are counted.
    pub figures: Arc<RouteMetrics>,
}

impl CachePolicy {
    /// `standard` without anything more.
    pub fn standard(route: &str) -> Self {
        Self {
            mode: Mode::Standard,
            ttl: None,
            when: None,
            negative_ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            tags: Vec::new(),
            key: KeyRules::default(),
            keeps_coded: false,
            max_object: None,
            route: route.into(),
            figures: Arc::default(),
        }
    }

    /// `force` for that long.
    pub fn force(route: &str, ttl: Duration) -> Self {
        Self { mode: Mode::Force, ttl: Some(ttl), ..Self::standard(route) }
    }

    /// Where responses to an identity's requests are kept: what `force` stores is each identity's own, unless the route
    /// says `key.credentials = "shared"`. In `standard` mode all look in one place, and [`super::storable`] keeps out
    /// of it what is not for everybody.
    pub fn storage_key(&self, resource: CacheKey, identity: Option<u128>, digester: &Digester) -> CacheKey {
        match identity {
            Some(identity) if self.mode == Mode::Force && !self.key.shared_credentials => {
                resource.for_identity(identity, digester)
            }
            _ => resource,
        }
    }

    /// The tags of one request; a tag whose capture has no value is left out.
    pub fn tags<'c>(&self, capture: impl Fn(&str) -> Option<&'c str>) -> Vec<String> {
        self.tags.iter().filter_map(|tag| tag.render(&capture)).collect()
    }
}
