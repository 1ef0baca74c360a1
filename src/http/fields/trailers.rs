//! What may come after a body. Careless receivers merge trailers into the head, so nothing may pass in them that anybody
//! decides by.

use http::header::{HeaderMap, HeaderName};

use super::{is_claim, is_end_to_end_for_sure, overrides_method, remove_hop_by_hop};

/// Leaves of the trailers of a response what may come after a body: no framing, routing, identity, conditions, control nor
/// content fields (RFC 9110 section 6.5.1).
pub fn clean_trailers(trailers: &mut HeaderMap) {
    const FORBIDDEN: [&str; 26] = [
        "accept-encoding",
        "age",
        "content-encoding",
        "content-range",
        "date",
        "expect",
        "expires",
        "idempotency-key",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "location",
        "max-forwards",
        "pragma",
        "proxy-authenticate",
        "proxy-authorization",
        "range",
        "retry-after",
        "trailer",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-request-id",
    ];
    remove_hop_by_hop(trailers);
    remove(trailers, |name| {
        is_end_to_end_for_sure(name)
            || is_claim(name)
            || overrides_method(name)
            || FORBIDDEN.contains(&name.as_str())
    });
}

/// Leaves of the trailers of a request what is known to be for there: checksums of its body. By what else a backend, or the
/// configuration, tells users apart no list can know, and trailers may always be lost on the way (RFC 9110 section 6.5.1).
pub fn clean_upload_trailers(trailers: &mut HeaderMap) {
    const CHECKSUMS: [&str; 5] =
        ["content-digest", "repr-digest", "digest", "content-md5", "x-amz-trailer-signature"];
    remove(trailers, |name| {
        !CHECKSUMS.contains(&name.as_str()) && !name.as_str().starts_with("x-amz-checksum-")
    });
}

fn remove(trailers: &mut HeaderMap, is_forbidden: impl Fn(&HeaderName) -> bool) {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| is_forbidden(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}
