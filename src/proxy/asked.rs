//! A request as the stages see it: its canonical head, its route, and whose it is under every name that a stage needs.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};
use tokio::time::Instant;

use super::alone::Alone;
use super::exchange::Exchange;
use crate::admission::{Asking, Permit, Shed};
use crate::cache::{CacheKey, Mode, Query};
use crate::client::{ClientAddress, Identity, IdentityFields, KeySpec, PartitionKey, Seen};
use crate::collapse::FlightKey;
use crate::dedupe::{Room, Ticket};
use crate::digest::Digester;
use crate::http::fields::{self, Present};
use crate::http::scheme::Scheme;
use crate::http::target;
use crate::policy::{Collapse, Destination, InFlight, Policy, Route};
use crate::refusal::Refusal;
use crate::router::Captures;
use crate::upstream::{self, Forwarding};

/// What a client has of a resource already.
pub(super) const CONDITIONS: [HeaderName; 2] = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// A request that was taken in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its head, canonical. In a box: it comes through many hands.
    pub(crate) parts: Box<Parts>,
    /// What of a proxy's concern its head had when it came.
    pub(super) present: Present,
    /// The route, and what its pattern's captures are called.
    destination: Arc<Destination>,
    /// Where in the path its pattern's captures are.
    captures: Captures,
    pub(crate) client: ClientAddress,
    pub(crate) scheme: Scheme,
    /// Read when somebody asks for it: what is neither stored nor shared needs none.
    /// (Bytes and not a number: an alignment of 16 would cost the allocator its fast way.)
    identity: OnceLock<Option<[u8; 16]>>,
    digester: Digester,
    pub(super) has_body: bool,
    /// Its body, where that was read already.
    pub(super) upload: Option<(Bytes, Room)>,
    /// While it is under way, no equal start is made.
    pub(super) ticket: Option<Ticket<Refusal>>,
}

impl Asked {
    /// A canonical head with what was found out about it.
    #[inline]
    pub(crate) fn new(
        (mut parts, present): (Box<Parts>, Present),
        (destination, captures): (Arc<Destination>, Captures),
        client: ClientAddress,
        scheme: Scheme,
        has_body: bool,
        digester: Digester,
    ) -> Self {
        if destination.route.compress || destination.route.taps_body() {
            // One stored body for all codings, and one that can be read. Here, so that the upstream, the key and the
            // variant know of no other coding either.
            parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Self {
            parts,
            present,
            destination,
            captures,
            client,
            scheme,
            identity: OnceLock::new(),
            digester,
            has_body,
            upload: None,
            ticket: None,
        }
    }

    /// What happens to the requests of its kind.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.destination.route
    }

    /// Whether others may share what this request asks for, or a stored response answer it.
    pub(super) fn may_share(&self) -> bool {
        self.alone().is_none()
    }

    /// Why it may not.
    pub(crate) fn alone(&self) -> Option<Alone> {
        Alone::reason(&self.parts, self.has_body, self.route())
    }

    /// Whether it is a start that may be the same as another.
    pub(crate) fn may_be_repeated(&self) -> bool {
        let is_special = |name: &HeaderName| *name == header::UPGRADE || fields::overrides_method(name);
        self.route().dedupe.is_some()
            && !self.parts.method.is_safe()
            && !self.parts.headers.keys().any(is_special)
    }

    /// Whose request it is.
    pub(crate) fn identity(&self) -> Identity {
        let known = self.identity.get_or_init(|| {
            match self.route().identity.identify(&self.parts.headers, &self.digester) {
                Identity::Known(digest) => Some(digest.to_be_bytes()),
                Identity::Anonymous => None,
            }
        });
        known.map_or(Identity::Anonymous, |digest| Identity::Known(u128::from_be_bytes(digest)))
    }

    /// Whose request it is by other fields than the route's own.
    pub(super) fn identity_by(&self, fields: &IdentityFields) -> Identity {
        fields.identify(&self.parts.headers, &self.digester)
    }

    pub(crate) fn is_credentialed(&self) -> bool {
        self.identity() != Identity::Anonymous
    }

    /// The name of what it asks for, whoever asks.
    pub(crate) fn resource(&self) -> CacheKey {
        let key = self.route().cache.key.key(&self.digester, self.scheme.as_str(), &self.parts);
        if self.client.via_trusted {
            // What such a proxy says is passed on, whoever told it so: the upstream may build its answer from it.
            return key.under_claims(fields::claims_about_the_target(&self.parts.headers), &self.digester);
        }
        key
    }

    /// Where a stored response for it is.
    pub(crate) fn storage_key(&self) -> CacheKey {
        let identity = match self.identity() {
            Identity::Known(identity) => Some(identity),
            Identity::Anonymous => None,
        };
        self.route().cache.storage_key(self.resource(), identity, &self.digester)
    }

    /// What it asks the store, at this time.
    pub(crate) fn query(&self, now: Instant) -> Query<'_> {
        Query {
            policy: &self.route().cache,
            key: self.storage_key(),
            request: &self.parts,
            credentialed: self.is_credentialed(),
            now,
        }
    }

    /// Which flight it may join: the same route, method, resource, identity and codings.
    pub(crate) fn flight_key(&self) -> FlightKey {
        self.key_of(b"client")
    }

    /// Whether its conditions are the origin's to evaluate where nothing is stored (RFC 9111 4.3.2). Not where the operator
    /// has all share a whole answer, nor where forebay reads it.
    pub(super) fn has_conditions_for_origin(&self) -> bool {
        self.route().cache.mode == Mode::Standard
            && !self.route().taps_body()
            && CONDITIONS.iter().any(|name| self.parts.headers.contains_key(name))
    }

    /// The flight of those who have the same conditions, which the origin evaluates for all of them.
    pub(super) fn conditional_flight_key(&self) -> FlightKey {
        let mut digest = self.digester.begin();
        digest.add(&self.key_of(b"conditional").0.to_be_bytes());
        for name in &CONDITIONS {
            let lines = self.parts.headers.get_all(name);
            digest.add(&lines.iter().count().to_be_bytes());
            lines.iter().for_each(|line| digest.add(line.as_bytes()));
        }
        FlightKey(digest.finish())
    }

    /// The GET of the same target, as the route takes it to which that goes.
    pub(super) fn as_get(&self, policy: &Policy) -> Option<Self> {
        let (host, path) = (target::host(&self.parts.headers), self.parts.uri.path());
        let found = policy.router.find(&Method::GET, host, path)?;
        let mut parts = self.parts.clone();
        parts.method = Method::GET;
        let destination = (Arc::clone(found.route), found.captures);
        let head = (parts, self.present);
        Some(Self::new(head, destination, self.client, self.scheme, false, self.digester))
    }

    /// The flight that fetches anew what is served stale; no client's own request joins it.
    pub(super) fn refresh_key(&self) -> FlightKey {
        self.key_of(b"refresh")
    }

    fn key_of(&self, purpose: &[u8]) -> FlightKey {
        let mut digest = self.digester.begin();
        digest.add(purpose);
        digest.add(self.route().name.as_bytes());
        digest.add(self.parts.method.as_str().as_bytes());
        digest.add(&self.resource().to_bytes());
        match (self.identity(), self.route().collapse) {
            (Identity::Known(identity), Collapse::Identity | Collapse::Off) => {
                digest.add(&identity.to_be_bytes());
            }
            (Identity::Known(_), Collapse::Shared) | (Identity::Anonymous, _) => digest.add(b""),
        }
        for coding in fields::members(&self.parts.headers, &header::ACCEPT_ENCODING) {
            digest.add(&coding);
        }
        FlightKey(digest.finish())
    }

    /// The key under which a limit or a pool counts it.
    pub(crate) fn partition(&self, spec: &KeySpec) -> PartitionKey {
        self.with_seen(|seen| spec.partition(seen, &self.digester))
    }

    /// Runs `look` on what keys are made of.
    pub(crate) fn with_seen<R>(&self, look: impl FnOnce(&Seen<'_>) -> R) -> R {
        let capture = |name: &str| self.capture(name);
        look(&Seen { parts: &self.parts, address: self.client.ip, capture: &capture })
    }

    /// What the route's pattern captured under a name.
    pub(crate) fn capture(&self, name: &str) -> Option<&str> {
        let index = self.destination.captures.iter().position(|known| **known == *name)?;
        self.captures.value(self.parts.uri.path(), index)
    }

    /// The head as it is sent upstream for all who share what comes back.
    pub(super) fn outgoing(&self, exchange: &Exchange) -> Parts {
        let mut parts = Parts::clone(&self.parts);
        if let Some(target) = self.shared_target() {
            parts.uri = target;
        }
        prepare(&mut parts, self.present, self.client, exchange);
        parts
    }

    /// The same, where the request's own head is not needed any more.
    pub(super) fn into_outgoing(mut self: Box<Self>, exchange: &Exchange) -> Parts {
        // What comes may be stored as a part, for all.
        if self.alone() == Some(Alone::Range)
            && let Some(target) = self.shared_target()
        {
            self.parts.uri = target;
        }
        prepare(&mut self.parts, self.present, self.client, exchange);
        *self.parts
    }

    /// The target without what the key ignores, where that is another one.
    fn shared_target(&self) -> Option<Uri> {
        let uri = &self.parts.uri;
        let target = self.route().cache.key.shared_target(uri.path(), uri.query())?;
        Uri::try_from(target).ok()
    }

    /// A permit of the route's pool, where it has one.
    pub(super) async fn admit(&self) -> Result<Option<Permit>, Shed> {
        let Some(InFlight { pool, per, .. }) = &self.route().in_flight else { return Ok(None) };
        let asking = Asking {
            per_key: per.as_ref().map(|per| self.partition(per)),
            client: self.partition(&KeySpec::client_ip()),
            priority: self.route().priority,
        };
        pool.admit(asking).await.map(Some)
    }
}

fn prepare(parts: &mut Parts, present: Present, client: ClientAddress, exchange: &Exchange) {
    let forwarding = Forwarding {
        peer: &exchange.peer.forwarded_for,
        is_trusted: client.via_trusted,
        scheme: exchange.peer.scheme,
        request_id: &exchange.id,
    };
    upstream::prepare_request(parts, present, &forwarding);
}
