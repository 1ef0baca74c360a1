//! What the store has for a request, and whether it may be used (RFC 9111 4).

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, HeaderMap, IF_MATCH, IF_UNMODIFIED_SINCE, PRAGMA, TRANSFER_ENCODING,
};
use http::{Method, request};
use tokio::time::Instant;

use super::Cache;
use super::control::RequestControl;
use super::facts::Permission;
use super::key::CacheKey;
use super::policy::{CachePolicy, Mode};
use super::selected::Selected;
use super::status::Forward;
use super::store::Found;
use super::stored::StoredResponse;

/// What the store has for a request.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Answer with this one: it is fresh, or stale in a way that the client accepts.
    Fresh(Selected),
    /// Have this one validated, or use it stale on these occasions.
    Stale(Selected, StaleUse),
    /// Ask the upstream.
    Forward(Forward),
    /// The client wants nothing from the upstream, and nothing stored will do: 504 (RFC 9111 5.2.1.7).
    OnlyIfCached,
}

/// Why a stored response needs validation, and what it may be used for without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaleUse {
    /// [`Forward::Stale`], or [`Forward::Request`] where it is fresh but the client wants more.
    pub reason: Forward,
    /// Answer with it at once and have it validated in the background (RFC 5861 3).
    pub while_revalidate: bool,
    /// Answer with it in place of a 500, 502, 503 or 504 (RFC 5861 4).
    pub if_error: bool,
    /// Answer with it in place of a 502, 503 or 504 (RFC 9111 4.3.3).
    pub when_unavailable: bool,
    /// Answer with it when the upstream cannot be reached or breaks off (RFC 9111 4.2.4).
    pub when_disconnected: bool,
}

/// What is looked for in the store, and by whom.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Of the request's route.
    pub policy: &'a CachePolicy,
    /// See [`CachePolicy::storage_key`].
    pub key: CacheKey,
    /// The request.
    pub request: &'a request::Parts,
    /// Whether it says whose it is.
    pub credentialed: bool,
    /// The time at which freshness is judged.
    pub now: Instant,
}

impl Cache {
    /// What is stored for a request.
    pub fn lookup(&self, query: Query<'_>) -> Lookup {
        let Query { policy, key, request, credentialed, now } = query;
        if policy.mode == Mode::Off {
            return Lookup::Forward(Forward::Bypass);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Lookup::Forward(Forward::Method);
        }
        let traits = RequestTraits::of(&request.headers);
        let control = match policy.mode {
            Mode::Standard if traits.has_directives => RequestControl::of(&request.headers),
            Mode::Standard | Mode::Force | Mode::Off => RequestControl::default(),
        };
        let found = self.find(policy, key, &request.headers, credentialed, traits, &control);
        let answer = match found {
            Err(reason) => {
                let head = (request.method == Method::HEAD && policy.mode == Mode::Standard)
                    .then(|| self.fresh_head(query, traits, &control));
                head.flatten().map_or(Lookup::Forward(reason), Lookup::Fresh)
            }
            Ok(response) => {
                response.touch(now);
                match decide(&response, &control, response.current_age(now)) {
                    Ok(()) => Lookup::Fresh(Selected::new(response, now)),
                    Err(stale) => Lookup::Stale(Selected::new(response, now), stale),
                }
            }
        };
        match answer {
            Lookup::Forward(_) if control.only_if_cached => Lookup::OnlyIfCached,
            Lookup::Stale(_, StaleUse { while_revalidate: false, .. }) if control.only_if_cached => {
                Lookup::OnlyIfCached
            }
            answer => answer,
        }
    }

    /// The stored answer to another HEAD, where no GET is stored (RFC 9110 9.3.2).
    fn fresh_head(
        &self,
        query: Query<'_>,
        traits: RequestTraits,
        control: &RequestControl,
    ) -> Option<Selected> {
        let Query { policy, key, request, credentialed, now } = query;
        let found =
            self.find(policy, key.of_heads(), &request.headers, credentialed, traits, control).ok()?;
        found.touch(now);
        decide(&found, control, found.current_age(now)).ok()?;
        Some(Selected::new(found, now))
    }

    /// Whether a client wants an answer that was asked for later than its own question, so that no fetch under way will
    /// do (RFC 9111 5.2.1.4); under [`Mode::Force`] it has no say.
    pub fn is_insisted_on(policy: &CachePolicy, request: &HeaderMap) -> bool {
        policy.mode != Mode::Force && RequestControl::of(request).insists()
    }

    fn find(
        &self,
        policy: &CachePolicy,
        key: CacheKey,
        headers: &HeaderMap,
        credentialed: bool,
        traits: RequestTraits,
        control: &RequestControl,
    ) -> Result<Arc<StoredResponse>, Forward> {
        if traits.is_for_origin {
            return Err(Forward::Bypass);
        }
        if control.no_store {
            return Err(Forward::Request);
        }
        let standard = policy.mode == Mode::Standard;
        let permitted = |response: &StoredResponse| {
            !standard || !response.forced && (!credentialed || response.permission == Permission::Everybody)
        };
        let sequence = self.registry.sequence();
        let found = self.store.find(key, |response| {
            response.is_valid(sequence).then(|| response.selecting.matches(headers) && permitted(response))
        });
        match found {
            Found::Variant(response) => Ok(response),
            Found::NoVariant => Err(Forward::VaryMiss),
            Found::Nothing => Err(Forward::UriMiss),
        }
    }
}

/// Decides by the times alone whether a stored response may be used.
fn decide(response: &StoredResponse, control: &RequestControl, age: Duration) -> Result<(), StaleUse> {
    let lifetime = response.lifetime;
    let fresh = lifetime > age;
    // RFC 9111 5.2.1: each of these is about fresh responses, too.
    let refused = control.no_cache
        || control.max_age.is_some_and(|limit| age > limit)
        || control.min_fresh.is_some_and(|wanted| lifetime < age.saturating_add(wanted));
    let not_at_all = StaleUse {
        reason: if fresh { Forward::Request } else { Forward::Stale },
        while_revalidate: false,
        if_error: false,
        when_unavailable: false,
        when_disconnected: false,
    };
    if refused {
        return Err(not_at_all);
    }
    let (rules, staleness) = (response.stale, age.saturating_sub(lifetime));
    if fresh || rules.on_request && control.max_stale.is_some_and(|limit| staleness <= limit) {
        return Ok(());
    }
    let asked = control.stale_if_error.filter(|_| rules.on_request).unwrap_or_default();
    Err(StaleUse {
        while_revalidate: staleness < rules.while_revalidate,
        if_error: staleness < rules.if_error.max(asked),
        when_unavailable: staleness < rules.unavailable.max(asked),
        when_disconnected: staleness < rules.disconnected.max(asked),
        ..not_at_all
    })
}

/// What of a request's head concerns the cache, found in one walk over its fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RequestTraits {
    /// It has a body, or conditions that only an origin can evaluate (RFC 9111 4.3.2).
    is_for_origin: bool,
    /// It may have cache directives.
    has_directives: bool,
}

impl RequestTraits {
    fn of(headers: &HeaderMap) -> Self {
        let mut traits = Self::default();
        for (name, value) in headers {
            match *name {
                IF_MATCH | IF_UNMODIFIED_SINCE | TRANSFER_ENCODING => {
                    traits.is_for_origin = true;
                }
                CONTENT_LENGTH => traits.is_for_origin |= value != "0",
                CACHE_CONTROL | PRAGMA => traits.has_directives = true,
                _ => {}
            }
        }
        traits
    }
}
