//! The first look at a request: is it one, where does it go, whose is it?
//!
//! Promises: what comes out of here has one canonical target and host, framing that nobody can read in two ways, a route
//! and a client; nothing that follows looks at the connection again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::alone::Alone;
use super::exchange::Exchange;
use crate::admission::{Asking, Permit, Shed};
use crate::cache::CacheKey;
use crate::client::{ClientAddress, Identity, KeySpec, PartitionKey, Seen};
use crate::collapse::FlightKey;
use crate::digest::Digester;
use crate::http::body::UploadFault;
use crate::http::fields::{self, TransferCoding};
use crate::http::target;
use crate::policy::{Collapse, Destination, InFlight, Policy, Route, State};
use crate::refusal::Refusal;
use crate::router::Captures;
use crate::server::Peer;
use crate::upstream::{self, Forwarding};

/// The scheme of the listener.
pub(crate) const SCHEME: &str = "http";
const DEFAULT_PORT: u16 = 80;
/// A body up to this size is read before a refusal, so that the connection can be used again.
const DRAINED: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A request as the stages see it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its head, canonical.
    pub(crate) parts: Parts,
    destination: Destination,
    captures: Captures,
    pub(crate) client: ClientAddress,
    /// Read when somebody asks for it: what is neither stored nor shared needs none.
    /// (Bytes and not a number: an alignment of 16 would cost the allocator its fast way.)
    identity: OnceLock<Option<[u8; 16]>>,
    digester: Digester,
    pub(super) has_body: bool,
}

/// Takes a request in; `None` for `OPTIONS *`, which is about no resource.
///
/// # Errors
/// What is wrong with it, or that no route matches.
pub(super) fn receive(
    mut parts: Parts,
    body: Option<&Incoming>,
    peer: &Peer,
    policy: &Policy,
    state: &State,
    exchange: &mut Exchange,
) -> Result<Option<Box<Asked>>, Refusal> {
    let upload = body.map_or(0, |body| body.size_hint().lower());
    let Some(found) = look(&mut parts, upload, policy)? else { return Ok(None) };
    exchange.routed(&found.0.route, &parts);
    let client = policy.trusted_proxies.resolve(peer.address, &parts.headers);
    exchange.asked_by(client.ip);
    let has_body = body.is_some_and(|body| !body.is_end_stream());
    Ok(Some(Box::new(Asked::new(parts, found, client, has_body, state.digester))))
}

/// Checks what the protocol library lets through, canonicalises, and finds the route; `None` for `OPTIONS *`. `upload`:
/// the bytes that the body has at least.
///
/// # Errors
/// The refusal; the head is canonical if that is [`Refusal::NoRoute`].
pub(crate) fn look(
    parts: &mut Parts,
    upload: u64,
    policy: &Policy,
) -> Result<Option<(Destination, Captures)>, Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed);
    }
    check_framing(parts)?;
    target::canonicalize(parts, DEFAULT_PORT)?;
    if upload > policy.listener.max_body_bytes {
        return Err(Refusal::Upload(UploadFault::TooLarge));
    }
    if parts.uri.path() == "*" {
        return Ok(None);
    }
    let found =
        policy.router.find(&parts.method, host(&parts.headers), parts.uri.path()).ok_or(Refusal::NoRoute)?;
    Ok(Some((found.route.clone(), found.captures)))
}

/// Exactly one `chunked` or none (RFC 9112 section 6.1); the library has refused what is broken outright.
fn check_framing(parts: &Parts) -> Result<(), Refusal> {
    match fields::transfer_coding(&parts.headers) {
        TransferCoding::Absent => Ok(()),
        TransferCoding::Chunked | TransferCoding::Other if parts.version != Version::HTTP_11 => {
            Err(Refusal::BadFraming("Transfer-Encoding has no place in this version of HTTP"))
        }
        TransferCoding::Chunked => Ok(()),
        TransferCoding::Other => Err(Refusal::UnknownCoding),
    }
}

/// Lets the client read a refusal: a small body is read to its end, after a large one the connection lingers.
pub(super) async fn settle(body: Incoming, is_badly_framed: bool, peer: &Peer) {
    let is_small = body.size_hint().upper().is_none_or(|length| length <= DRAINED);
    if is_badly_framed || !is_small || !drain(body).await {
        peer.watch.linger();
    }
}

/// Whether a body came to its end within the bounds.
async fn drain(mut body: Incoming) -> bool {
    let read = async {
        let mut left = DRAINED;
        while let Some(frame) = body.frame().await {
            let length = frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
            left = left.checked_sub(length)?;
        }
        Some(())
    };
    tokio::time::timeout(DRAIN_TIME, read).await.is_ok_and(|end| end.is_some())
}

impl Asked {
    /// What happens to the requests of its kind.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.destination.route
    }

    /// A canonical head with what was found out about it.
    #[inline]
    pub(crate) fn new(
        parts: Parts,
        (destination, captures): (Destination, Captures),
        client: ClientAddress,
        has_body: bool,
        digester: Digester,
    ) -> Self {
        let identity = OnceLock::new();
        Self { parts, destination, captures, client, identity, digester, has_body }
    }

    /// Whether others may share what this request asks for, or a stored response answer it.
    pub(super) fn may_share(&self) -> bool {
        self.alone().is_none()
    }

    /// Why it may not.
    pub(crate) fn alone(&self) -> Option<Alone> {
        Alone::reason(&self.parts, self.has_body, &self.destination.route)
    }

    /// Whose request it is.
    pub(crate) fn identity(&self) -> Identity {
        let known = self.identity.get_or_init(|| {
            match self.destination.route.identity.identify(&self.parts.headers, &self.digester) {
                Identity::Known(digest) => Some(digest.to_be_bytes()),
                Identity::Anonymous => None,
            }
        });
        known.map_or(Identity::Anonymous, |digest| Identity::Known(u128::from_be_bytes(digest)))
    }

    pub(crate) fn is_credentialed(&self) -> bool {
        self.identity() != Identity::Anonymous
    }

    /// The name of what it asks for, whoever asks.
    pub(crate) fn resource(&self) -> CacheKey {
        self.destination.route.cache.key.key(&self.digester, SCHEME, &self.parts)
    }

    /// Where a stored response for it is.
    pub(crate) fn storage_key(&self) -> CacheKey {
        let identity = match self.identity() {
            Identity::Known(identity) => Some(identity),
            Identity::Anonymous => None,
        };
        self.destination.route.cache.storage_key(self.resource(), identity, &self.digester)
    }

    /// Which flight it may join: the same route, method, resource, identity and codings.
    pub(crate) fn flight_key(&self) -> FlightKey {
        let mut digest = self.digester.begin();
        digest.add(self.destination.route.name.as_bytes());
        digest.add(self.parts.method.as_str().as_bytes());
        digest.add(&self.resource().to_bytes());
        match (self.identity(), self.destination.route.collapse) {
            (Identity::Known(identity), Collapse::Identity | Collapse::Off) => {
                digest.add(&identity.to_be_bytes());
            }
            (Identity::Known(_), Collapse::Shared) | (Identity::Anonymous, _) => digest.add(b""),
        }
        for coding in self.parts.headers.get_all(header::ACCEPT_ENCODING) {
            digest.add(coding.as_bytes());
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

    /// The head as it is sent upstream.
    pub(super) fn outgoing(&self, peer: &Peer, request_id: &HeaderValue) -> Parts {
        outgoing(self.parts.clone(), self.client, peer, request_id)
    }

    /// The same, where the request's own head is not needed any more.
    pub(super) fn into_outgoing(self, peer: &Peer, request_id: &HeaderValue) -> Parts {
        outgoing(self.parts, self.client, peer, request_id)
    }

    /// A permit of the route's pool, where it has one.
    pub(super) async fn admit(&self) -> Result<Option<Permit>, Shed> {
        let Some(InFlight { pool, per }) = &self.destination.route.in_flight else { return Ok(None) };
        let asking = Asking {
            per_key: per.as_ref().map(|per| self.partition(per)),
            client: self.partition(&KeySpec::client_ip()),
            priority: self.destination.route.priority,
        };
        pool.admit(asking).await.map(Some)
    }
}

fn outgoing(mut parts: Parts, client: ClientAddress, peer: &Peer, request_id: &HeaderValue) -> Parts {
    let is_trusted = client.via_trusted;
    let forwarding = Forwarding { peer: &peer.forwarded_for, is_trusted, scheme: SCHEME, request_id };
    upstream::prepare_request(&mut parts, &forwarding);
    parts
}

/// The canonical host of a head that was taken in.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}
