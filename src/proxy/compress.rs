//! Compression, negotiated after the cache: what is stored has no coding and serves every client, each in its own.
//!
//! The head is changed where the answer leaves, whichever way it came: `Vary` tells other caches, the length is no longer
//! known, and the validator becomes weak, for it now stands for two sequences of bytes (RFC 9110 8.8.1).

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::Body;
use crate::http::coding::{Accepted, is_codable};
use crate::http::fields;

/// What is shorter gains nothing, in bytes.
const WORTH_IT: u64 = 1024;

/// What a client may get, as its request says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    accepted: Accepted,
    /// Whether it has a response with a weak validator already.
    has_weak: bool,
}

impl Wish {
    /// Reads a request's fields.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut validators = headers.get_all(IF_NONE_MATCH).iter().flat_map(fields::tokens);
        let has_weak = validators.any(|validator| validator.starts_with(b"W/"));
        // RFC 9111 5.2.1.6, RFC 9110 7.7.
        let is_to_stay = fields::has_token(headers, &CACHE_CONTROL, "no-transform");
        let accepted = if is_to_stay { Accepted::PLAIN } else { Accepted::of(headers) };
        Self { accepted, has_weak }
    }

    /// Gives a response the coding that the client wishes, where it is worth one.
    pub(super) fn grant(self, response: &mut Response<Body>) {
        if response.status() == StatusCode::NOT_MODIFIED {
            return self.confirm(response.headers_mut());
        }
        if !self.is_for(response) {
            return;
        }
        vary(response.headers_mut());
        let Some(coding) = self.accepted.coding else { return };
        let body = response.body_mut();
        // The answer to a HEAD has nothing to be coded.
        if !body.is_end_stream() && !body.encode(coding) {
            return;
        }
        let length = body.size_hint().exact().filter(|length| *length > 0);
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        // A part of it would be cut from other bytes than these.
        headers.remove(ACCEPT_RANGES);
        headers.insert(CONTENT_ENCODING, coding.value());
        weaken(headers);
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
    }

    /// A 304 names the validator that the client has (RFC 9110 15.4.5).
    fn confirm(self, headers: &mut HeaderMap) {
        vary(headers);
        if self.has_weak {
            weaken(headers);
        }
    }

    fn is_for(self, response: &Response<Body>) -> bool {
        let status = response.status();
        let has_body = status.as_u16() >= 200
            && !matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
            );
        let is_long = || match fields::content_length(response.headers()) {
            Some(0) => false,
            // Whoever takes nothing else gets a short one coded, too.
            Some(length) => length >= WORTH_IT || !self.accepted.identity,
            None => true,
        };
        has_body && is_long() && is_codable(response.headers())
    }
}

/// Tells other caches that this depends on `Accept-Encoding` (RFC 9110 12.5.5).
fn vary(headers: &mut HeaderMap) {
    if !fields::has_token(headers, &VARY, "accept-encoding") && !fields::has_token(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

fn weaken(headers: &mut HeaderMap) {
    let strong = headers.get(ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/"));
    let weak = strong.and_then(|etag| HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}
