//! Stored responses: an HTTP shared cache after RFC 9111.
//!
//! One request meets the cache like this: [`Cache::lookup`]; on a miss [`Cache::begin`] before the upstream is asked,
//! [`Cache::judge`] at the response's head, [`Cache::gather`] while its body arrives and [`Gathering::store`] once it is
//! there (or [`Cache::freshen`] after a 304). What is whole already goes to [`Cache::store`]. A write goes through
//! [`Cache::fence`]; operators use the `purge_` methods.
//!
//! What is promised: one identity's response reaches another only where the rules allow it; nothing that a purge or a
//! write has overtaken is stored or served; live memory stays at its bound; a hit allocates nothing and takes no lock.

mod body;
pub mod control;
mod facts;
mod fetch;
mod freshen;
pub mod freshness;
mod gathering;
pub mod key;
mod lookup;
mod part;
pub mod policy;
pub mod range;
mod selected;
pub mod status;
pub mod storable;
mod store;
mod stored;
pub mod tags;
mod validation;
pub mod vary;
mod when;

pub use body::{Copying, StoredBody};
pub use facts::{Permission, ResponseFacts};
pub use fetch::{Exchange, Fetch, Freshened, NotStored};
pub use gathering::Gathering;
pub use key::{CacheKey, KeyRules, NamePattern};
pub use lookup::{Lookup, Query, StaleUse};
pub use part::{Collection, Completion, Surroundings};
pub use policy::{CachePolicy, Mode};
pub use range::{Cut, Multipart, Wanted};
pub use selected::Selected;
pub use status::{CACHE_STATUS, CacheStatus, Forward, Forwarded};
pub use storable::{Judgement, Plan, Unstorable};
pub use store::{Evictions, Limits, MAX_VARIANTS};
pub use stored::StoredResponse;
pub use tags::{Fence, Live, TagError, TagTemplate};
pub use validation::{Precondition, evaluate_live as evaluate};
pub use vary::{SelectingFields, Vary};
pub use when::{BodyRule, BodyRules};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, response};

use crate::clock::Clock;
use crate::http::fields;
use crate::metrics::{Counter, Gauge};

use body::Chunks;
use storable::Terms;
use store::{Store, suiting};
use stored::Draft;
use tags::Registry;

/// All that is stored, of all routes.
#[derive(Debug)]
pub struct Cache {
    clock: Clock,
    store: Store,
    registry: Arc<Registry>,
    refused: Counter,
    /// How many responses had been dropped when the last sweep began.
    swept: AtomicU64,
    /// Whether a part was ever stored.
    has_parts: AtomicBool,
    /// What is collected of parts under way, in bytes.
    collected: Gauge,
}

/// What the whole cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Stored responses; purged ones until they are swept out.
    pub entries: u64,
    /// Memory of all stored responses, in bytes; those counted that were evicted but are still being read, and what has come
    /// of large ones that are on their way.
    pub bytes: u64,
    /// The bounds.
    pub limits: Limits,
    /// Responses that were not stored because there was no room.
    pub refused: u64,
}

impl Cache {
    /// An empty one.
    pub fn new(clock: Clock, limits: Limits) -> Self {
        Self {
            clock,
            store: Store::new(limits),
            registry: Arc::default(),
            refused: Counter::default(),
            swept: AtomicU64::new(0),
            has_parts: AtomicBool::new(false),
            collected: Gauge::default(),
        }
    }

    /// A fetch begins; to be called before the upstream is asked. `url` is [`KeyRules::url`].
    pub fn begin(&self, policy: &CachePolicy, key: CacheKey, url: &str, tags: &[String]) -> Fetch {
        Fetch { key, provenance: self.registry.begin(&policy.route, url, tags) }
    }

    /// Whether and how a response is to be stored, by its head.
    pub fn judge(
        &self,
        policy: &CachePolicy,
        exchange: &Exchange<'_>,
        response: &response::Parts,
    ) -> Judgement {
        self.terms(policy, exchange, &exchange.request.method).judge(response)
    }

    /// Stores a whole response. `response` has no hop-by-hop fields any more, nor any that `Connection` named.
    ///
    /// # Errors
    ///
    /// See [`NotStored`].
    pub fn store(
        &self,
        fetch: &Fetch,
        plan: &Plan,
        request: &HeaderMap,
        response: &response::Parts,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        self.store_packed(fetch, plan, request, response, Chunks::pack(body))
    }

    fn store_packed(
        &self,
        fetch: &Fetch,
        plan: &Plan,
        request: &HeaderMap,
        response: &response::Parts,
        body: Chunks,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        if !plan.head_only && fields::content_length(&response.headers).is_some_and(|said| said != body.len())
        {
            return Err(NotStored::Truncated);
        }
        if body.len() > plan.max_object {
            return Err(NotStored::TooLarge);
        }
        let plan = plan.decided(&response.headers, body.in_one()).map_err(NotStored::Unstorable)?;
        let plan = &*plan;
        let draft = |body| Draft {
            plan,
            provenance: fetch.provenance.clone(),
            status: response.status,
            headers: &response.headers,
            body,
            part: None,
            request,
        };
        let bytes = body.len();
        let key = if plan.head_only { fetch.key.of_heads() } else { fetch.key };
        let place = Fetch { key, provenance: fetch.provenance.clone() };
        let stored = self.put(&place, plan, request, bytes, |gauge| {
            let body = Arc::new(body.counted(gauge, plan.keeps_coded));
            Arc::new(StoredResponse::new(draft(body), gauge))
        })?;
        if !plan.head_only {
            self.forget_part(fetch.key, request);
        }
        Ok(stored)
    }

    /// Takes a response out of the store: its validation brought another one that may not be stored (RFC 9111 4.3.3), so
    /// the old one must not come back as a stale answer.
    pub fn forget(&self, fetch: &Fetch, selected: &Selected) {
        self.store.discard(fetch.key, selected.response());
    }

    /// A write begins: see [`Fence`]. `url` is what a GET of the same target would be purged by.
    pub fn fence(&self, url: &str, tags: &[String]) -> Fence {
        self.registry.fence(url, tags)
    }

    /// Drops everything; like its siblings it returns how many stored responses that are, at once. What is dropped is
    /// never served again; [`Cache::sweep`] gives its memory back.
    pub fn purge_all(&self) -> u64 {
        self.registry.purge_all()
    }

    /// Drops what a route has stored.
    pub fn purge_route(&self, route: &str) -> u64 {
        self.registry.purge_route(route)
    }

    /// Drops what carries a tag.
    pub fn purge_tag(&self, tag: &str) -> u64 {
        self.registry.purge_tag(tag)
    }

    /// Drops every variant of a URL: `host/path?query` as in [`KeyRules::url`], or `/path?query` on every host.
    pub fn purge_url(&self, url: &str) -> u64 {
        if url.starts_with('/') { self.registry.purge_path(url) } else { self.registry.purge_url(url) }
    }

    /// Drops all URLs that begin so; on every host if the prefix begins with `/`. Takes time with the number of URLs.
    pub fn purge_prefix(&self, prefix: &str) -> u64 {
        self.registry.purge_prefix(prefix)
    }

    /// Gives the memory of purged responses back; returns their number. Walks the whole store: not for a request's
    /// task.
    pub fn sweep(&self) -> u64 {
        self.swept.store(self.registry.dropped(), Ordering::Relaxed);
        self.store.sweep(self.registry.sequence())
    }

    /// Whether anything was dropped since the last sweep began.
    pub fn needs_sweep(&self) -> bool {
        self.registry.dropped() != self.swept.load(Ordering::Relaxed)
    }

    /// Lets go of what is too old for anything; to be called now and then, so that an idle store shrinks, too.
    pub fn tidy(&self) {
        self.store.tidy();
    }

    /// Changes the bounds; a lower one is kept at once.
    pub fn set_limits(&self, limits: Limits) {
        self.store.set_limits(limits);
    }

    /// What is stored.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.registry.all_live().entries,
            bytes: self.store.live_bytes(),
            limits: self.store.limits(),
            refused: self.refused.value(),
        }
    }

    /// What a route has stored.
    pub fn route_stats(&self, route: &str) -> Live {
        self.registry.route_live(route)
    }

    /// Why stored responses have gone so far.
    pub fn evictions(&self) -> &Evictions {
        self.store.evictions()
    }

    fn put(
        &self,
        fetch: &Fetch,
        plan: &Plan,
        request: &HeaderMap,
        bytes: u64,
        make: impl FnOnce(&Arc<Gauge>) -> Arc<StoredResponse>,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        if fetch.is_overtaken() {
            return Err(NotStored::Overtaken);
        }
        let stored = self.store.put(fetch.key, bytes, plan.received, suiting(request), make);
        stored.ok_or_else(|| {
            self.refused.inc();
            NotStored::Full
        })
    }

    fn terms<'a>(&self, policy: &'a CachePolicy, exchange: &Exchange<'a>, method: &'a Method) -> Terms<'a> {
        Terms {
            policy,
            method,
            request: exchange.request,
            credentialed: exchange.credentialed,
            requested: exchange.requested,
            received: exchange.received,
            received_wall: self.clock.wall(exchange.received),
            max_object: self.store.limits().max_object,
        }
    }
}

#[cfg(test)]
mod tests;
