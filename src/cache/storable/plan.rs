//! The terms on which a response is stored: all that a hit will need, as numbers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use tokio::time::Instant;

use crate::cache::facts::Permission;
use crate::cache::when::BodyRules;
use crate::metrics::RouteMetrics;

/// On what terms a response is stored.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(in crate::cache) lifetime: Duration,
    /// What the body may yet change of the lifetime.
    pub(in crate::cache) by_body: Option<Arc<BodyRules>>,
    pub(in crate::cache) initial_age: Duration,
    pub(in crate::cache) received: Instant,
    pub(in crate::cache) received_wall: SystemTime,
    pub(in crate::cache) stale: StaleRules,
    pub(in crate::cache) permission: Permission,
    /// Stored under `force`; not to be found in `standard` mode, should the mode change.
    pub(in crate::cache) forced: bool,
    pub(in crate::cache) selecting: Vec<HeaderName>,
    /// Fields that `private` or `no-cache` lists.
    pub(in crate::cache) without: Vec<HeaderName>,
    /// Whether room is set aside for copies in content codings.
    pub(in crate::cache) keeps_coded: bool,
    /// Whether it is the answer to a HEAD, and for later ones only.
    pub(in crate::cache) head_only: bool,
    pub(in crate::cache) max_object: u64,
    /// Of the route that stores it.
    pub(in crate::cache) figures: Arc<RouteMetrics>,
}

impl Plan {
    /// What is left of its lifetime at its arrival, by its head; in whole seconds, as `Age` counts them.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.lifetime.as_secs().saturating_sub(self.initial_age.as_secs()))
    }

    /// Whether the head alone has decided all of it.
    pub(in crate::cache) fn is_by_head(&self) -> bool {
        self.by_body.is_none()
    }

    /// The largest body that is stored, in bytes.
    pub fn max_object(&self) -> u64 {
        self.max_object
    }

    /// Whether it is the answer to a HEAD, and for later ones only.
    pub fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// The fields by which later requests select it.
    pub fn selecting(&self) -> &[HeaderName] {
        &self.selecting
    }
}

/// How far beyond its lifetime a response may be used, and on what occasion (RFC 9111 4.2.4, RFC 5861).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StaleRules {
    /// While it is fetched anew.
    pub while_revalidate: Duration,
    /// Instead of a 500, 502, 503 or 504.
    pub if_error: Duration,
    /// Instead of a 502, 503 or 504, which say that the origin is as good as unreachable (RFC 9111 4.3.3).
    pub unavailable: Duration,
    /// When the upstream cannot be reached.
    pub disconnected: Duration,
    /// Whether the client's own `max-stale` and `stale-if-error` count.
    pub on_request: bool,
}

/// Whether it can be used even once.
pub(in crate::cache) fn is_useful(plan: &Plan, headers: &HeaderMap) -> bool {
    // There is no way to bring it up to date but another HEAD.
    if plan.head_only {
        return plan.lifetime > plan.initial_age;
    }
    let stale = plan.stale.while_revalidate.max(plan.stale.if_error);
    // One that has spent its lifetime on the way here may still be used where a stale one may (RFC 9111 4.2.4).
    let outlived = plan.lifetime > Duration::ZERO && plan.stale.disconnected > Duration::ZERO;
    outlived
        || plan.lifetime.saturating_add(stale) > plan.initial_age
        || headers.contains_key(ETAG)
        || headers.contains_key(LAST_MODIFIED)
}
