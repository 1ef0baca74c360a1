//! The first look at a request: is it one, where does it go, whose is it?
//!
//! Promises: what comes out of here has one canonical target and host, framing that nobody can read in two ways, a route
//! and a client.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::Body;
use super::asked::Asked;
use super::exchange::Exchange;
use crate::boxed;
use crate::http::body::UploadFault;
use crate::http::fields::{self, Present, TransferCoding};
use crate::http::readings;
use crate::http::scheme::Scheme;
use crate::http::target::{self, BadTarget, host};
use crate::policy::{Destination, Policy, Route, State};
use crate::refusal::Refusal;
use crate::router::Captures;
use crate::server::Peer;

/// A body up to this size is read before a refusal, so that the connection can be used again.
const DRAINED: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Takes a request in; `None` for an OPTIONS request that asks about forebay itself.
///
/// # Errors
/// What is wrong with it, or that no route matches.
pub(super) fn receive(
    mut parts: Box<Parts>,
    present: Present,
    body: Option<&Incoming>,
    policy: &Policy,
    state: &State,
    exchange: &mut Exchange,
) -> Result<Option<Box<Asked>>, Refusal> {
    let upload = body.map_or(0, |body| body.size_hint().lower());
    let scheme = exchange.peer.scheme;
    let Some(found) = look(&mut parts, present, scheme, policy)? else {
        return check_upload(upload, policy).map(|()| None);
    };
    exchange.routed(&found.0.route, &parts);
    let client = exchange.peer.resolve(&policy.trusted_proxies, &parts.headers);
    exchange.asked_by(client.ip);
    check_upload(upload, policy)?;
    let has_body = body.is_some_and(|body| !body.is_end_stream());
    Ok(Some(boxed::in_place(|| {
        Asked::new((parts, present), found, client, scheme, has_body, state.digester)
    })))
}

/// Checks what the protocol library lets through, canonicalises, and finds the route; `None` for an OPTIONS request that asks
/// about forebay itself: `OPTIONS *`, or one that may go no further.
///
/// # Errors
/// The refusal; the head is canonical if that is [`Refusal::NoRoute`].
pub(crate) fn look(
    parts: &mut Parts,
    present: Present,
    scheme: Scheme,
    policy: &Policy,
) -> Result<Option<(Arc<Destination>, Captures)>, Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed);
    }
    // RFC 9110 section 9.1: methods have case. Some servers overlook it, and `post` would pass the rules for POST.
    if parts.method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(Refusal::BadFraming(
            "The method has lower-case letters, which servers read in different ways",
        ));
    }
    // The library's own bound is for the whole head.
    let longest = policy.listener.bounds.max_header_bytes / 2;
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > longest) {
        return Err(Refusal::TargetTooLong);
    }
    check_framing(parts, present)?;
    check_blanks(parts)?;
    if present.has_expect() && !is_expected(parts) {
        return Err(Refusal::UnknownExpectation);
    }
    // Before anything reads the head: what the upstream will not see must choose no limit, identity, key or variant.
    fields::remove_named_by_connection(&mut parts.headers, present);
    target::canonicalize(parts, scheme.default_port())?;
    if parts.uri.path() == "*" || is_last_hop(parts) {
        return Ok(None);
    }
    let host = if policy.router.looks_at_hosts() { host(&parts.headers) } else { "" };
    let found = policy.router.find(&parts.method, host, parts.uri.path()).ok_or(Refusal::NoRoute)?;
    check_readings(parts, present, host, &found.route.route, policy)?;
    Ok(Some((Arc::clone(found.route), found.captures)))
}

/// Whether a body that has so many bytes at least may come. Asked last: the refusal belongs to a route.
///
/// # Errors
/// The refusal.
pub(crate) fn check_upload(upload: u64, policy: &Policy) -> Result<(), Refusal> {
    if upload > policy.listener.max_body_bytes {
        return Err(Refusal::Upload(UploadFault::TooLarge));
    }
    Ok(())
}

/// No way in which servers read the path, or take the method from a field, may lead round the rules of another route than
/// the one that was found.
fn check_readings(
    parts: &Parts,
    present: Present,
    host: &str,
    route: &Arc<Route>,
    policy: &Policy,
) -> Result<(), BadTarget> {
    let path = parts.uri.path();
    let is_elsewhere = |method: &Method, path: &str| {
        let other = policy.router.find(method, host, path);
        other.is_none_or(|other| !Arc::ptr_eq(&other.route.route, route))
    };
    let may_be_elsewhere = |method: &Method| {
        readings::has_other_readings(path)
            && readings::other_readings(path).any(|reading| is_elsewhere(method, &reading))
    };
    if may_be_elsewhere(&parts.method) {
        return Err(BadTarget::AmbiguousPath);
    }
    // What is not one method may be any.
    let leads_elsewhere = |method: Option<Method>| {
        method.is_none_or(|method| is_elsewhere(&method, path) || may_be_elsewhere(&method))
    };
    if present.has_override() && fields::other_methods(&parts.headers).any(leads_elsewhere) {
        return Err(BadTarget::AmbiguousMethod);
    }
    Ok(())
}

/// RFC 9113 section 8.2.1: a value with blanks at its ends is malformed. Whoever reads it behind us trims it, so that a key
/// would have as many spellings as one likes. (Of HTTP/1.1 the library trims them.)
fn check_blanks(parts: &Parts) -> Result<(), Refusal> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_padded =
        |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
    if parts.version == Version::HTTP_2 && parts.headers.values().any(is_padded) {
        return Err(Refusal::BadFraming("A field's value begins or ends with a blank"));
    }
    Ok(())
}

/// Exactly one `chunked` or none (RFC 9112 section 6.1); the library has refused what is broken outright.
fn check_framing(parts: &Parts, present: Present) -> Result<(), Refusal> {
    match fields::transfer_coding(&parts.headers, present) {
        TransferCoding::Absent => Ok(()),
        TransferCoding::Chunked | TransferCoding::Other if parts.version != Version::HTTP_11 => {
            Err(Refusal::BadFraming("Transfer-Encoding has no place in this version of HTTP"))
        }
        TransferCoding::Chunked => Ok(()),
        TransferCoding::Other => Err(Refusal::UnknownCoding),
    }
}

/// Whether all that a request expects is to be asked for its body. HTTP/1.0 has no expectations (RFC 9110 section 10.1.1).
fn is_expected(parts: &Parts) -> bool {
    let mut expectations = parts.headers.get_all(header::EXPECT).iter();
    parts.version == Version::HTTP_10
        || expectations.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether an OPTIONS request is to go no further than here (RFC 9110 section 7.6.2); where it may, its hops are counted.
fn is_last_hop(parts: &mut Parts) -> bool {
    if parts.method != Method::OPTIONS {
        return false;
    }
    let Some(hops) = parts.headers.get(header::MAX_FORWARDS).and_then(fields::plain_number) else {
        return false;
    };
    parts.headers.insert(header::MAX_FORWARDS, hops.saturating_sub(1).into());
    hops == 0
}

/// A refusal of a request whose body was not read, and for which its client may still wait to be asked.
pub(super) async fn settled(
    body: Incoming,
    is_awaited: bool,
    exchange: Box<Exchange>,
    refusal: Refusal,
) -> Response<Body> {
    let can_go_on = settle(body, !is_awaited && !refusal.is_about_framing(), &exchange.peer).await;
    let mut response = exchange.refused(&refusal, HeaderMap::new());
    if !can_go_on {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Lets the client read a refusal: a small body is read to its end, after a large one the connection lingers. So it does
/// where the body is not to be read: framing that nobody can trust, a client that waits to be asked for it. Says whether
/// the connection can be used again.
async fn settle(body: Incoming, may_be_read: bool, peer: &Peer) -> bool {
    let is_small = body.size_hint().upper().is_none_or(|length| length <= DRAINED);
    let is_read = may_be_read && is_small && drain(body, peer.watch.is_http2()).await;
    if !is_read {
        peer.watch.linger();
    }
    is_read
}

/// Whether a body came to its end within the bounds, and it is known where that is: see [`UploadOutcome::is_end_in_doubt`].
///
/// [`UploadOutcome::is_end_in_doubt`]: crate::http::body::UploadOutcome::is_end_in_doubt
async fn drain(mut body: Incoming, is_http2: bool) -> bool {
    let read = async {
        let mut left = DRAINED;
        while let Some(frame) = body.frame().await {
            let frame = frame.ok().filter(|frame| is_http2 || !frame.is_trailers())?;
            left = left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64))?;
        }
        Some(())
    };
    tokio::time::timeout(DRAIN_TIME, read).await.is_ok_and(|end| end.is_some())
}
