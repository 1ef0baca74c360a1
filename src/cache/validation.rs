//! Conditions: the client's against a stored response, and ours against the upstream's 304 (RFC 9111 4.3).

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED,
};

use super::freshness;
use super::stored::{StoredResponse, Validators, is_kept};
use crate::http::date;

/// What a client's conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// It needs the response.
    Full,
    /// It has it already.
    NotModified,
}

/// `If-None-Match` decides where there is one, else `If-Modified-Since` (RFC 9110 13.2.2).
pub(super) fn evaluate(request: &HeaderMap, stored: &Validators) -> Precondition {
    let modified_since =
        || request.get(IF_MODIFIED_SINCE).is_some_and(|since| !is_modified_since(since, stored));
    let unmodified = match request.contains_key(IF_NONE_MATCH) {
        true => request.get_all(IF_NONE_MATCH).iter().any(|line| names_etag(line.as_bytes(), stored)),
        false => modified_since(),
    };
    if unmodified { Precondition::NotModified } else { Precondition::Full }
}

/// The same for a response that is not stored, by its own fields.
pub fn evaluate_live(request: &HeaderMap, response: &HeaderMap) -> Precondition {
    if !request.contains_key(IF_NONE_MATCH) && !request.contains_key(IF_MODIFIED_SINCE) {
        return Precondition::Full;
    }
    evaluate(request, &live_validators(response))
}

/// The validators of a response that is not stored.
pub(super) fn live_validators(response: &HeaderMap) -> Validators {
    Validators {
        etag: response.get(ETAG).cloned(),
        last_modified: response.get(LAST_MODIFIED).cloned(),
        changed: freshness::http_date(response, &LAST_MODIFIED),
    }
}

/// A date that cannot be read is no condition (RFC 9110 13.1.3).
fn is_modified_since(since: &HeaderValue, stored: &Validators) -> bool {
    // The usual case: the client gives back the text that it got.
    if stored.last_modified.as_ref() == Some(since) {
        return false;
    }
    date::parse(since).zip(stored.changed).is_none_or(|(since, changed)| changed > since)
}

/// Whether a list names the stored tag, by weak comparison (RFC 9110 8.8.3.2), or is `*`.
fn names_etag(line: &[u8], stored: &Validators) -> bool {
    if line.trim_ascii() == b"*" {
        return true;
    }
    let Some(etag) = stored.etag.as_ref().map(|etag| opaque(etag.as_bytes())) else { return false };
    // The whole line first: what servers take for a tag may hold quotes.
    if opaque(line.trim_ascii()) == etag {
        return true;
    }
    let mut rest = line;
    while let Some((tag, after)) = first_tag(rest) {
        if tag == etag {
            return true;
        }
        rest = after;
    }
    false
}

/// Cuts off the first tag of a list, without its `W/`; what is not quoted goes to the next comma.
fn first_tag(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let tag = opaque(list.get(start..)?);
    let end = match tag.strip_prefix(b"\"") {
        Some(inner) => inner.iter().position(|byte| *byte == b'"').map_or(tag.len(), |quote| quote + 2),
        None => tag.iter().position(|byte| *byte == b',').unwrap_or(tag.len()),
    };
    let (tag, rest) = tag.split_at(end);
    Some((tag.trim_ascii_end(), rest))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether a 304, or the answer to a HEAD, is about that stored response: what validators it has must be the stored ones
/// (RFC 9111 4.3.4, 4.3.5). One that has none of these is about what we asked about.
pub(super) fn is_about(stored: &StoredResponse, news: &HeaderMap) -> bool {
    let validators = &stored.validators;
    let same_tag =
        |news: &HeaderValue, stored: &HeaderValue| opaque(news.as_bytes()) == opaque(stored.as_bytes());
    match (news.get(ETAG), &validators.etag) {
        (Some(news), Some(stored)) => same_tag(news, stored),
        _ => match (news.get(LAST_MODIFIED), &validators.last_modified) {
            (Some(news), Some(stored)) => news == stored,
            _ => true,
        },
    }
}

/// The stored fields with what a 304 or a HEAD's answer says in their place (RFC 9111 3.2): all but those that describe
/// the stored bytes themselves.
pub(super) fn updated_fields(stored: &StoredResponse, news: &HeaderMap) -> HeaderMap {
    let mut fields = stored.headers();
    // News without a date are as of their arrival (RFC 9110 6.6.1), not as of the stored response's date.
    fields.remove(DATE);
    let describes_bytes = |name: &_| [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name);
    // Set-Cookie and Age are kept by nobody, but the judgement of the whole must see them.
    let taken = |name: &_| {
        !describes_bytes(name)
            && (is_kept(name) || matches!(*name, http::header::SET_COOKIE | http::header::AGE))
    };
    for name in news.keys().filter(|name| taken(name)) {
        fields.remove(name);
        news.get_all(name).iter().for_each(|value| {
            fields.append(name.clone(), value.clone());
        });
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn outcome(etag: Option<&str>, conditions: &[(http::HeaderName, &str)]) -> Precondition {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let stored = Validators {
            etag: etag.map(value),
            last_modified: Some(value(CHANGED)),
            changed: httpdate::parse_http_date(CHANGED).ok(),
        };
        let request = conditions.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        evaluate(&request, &stored)
    }

    /// RFC 9110 13.1.2, 13.1.3 and 13.2.2; RFC 9111 4.3.2.
    #[test]
    fn the_clients_conditions_are_evaluated() {
        use Precondition::{Full, NotModified};
        const EARLIER: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Monday, 07-Nov-94 08:49:37 GMT";
        for (etag, conditions, expected) in [
            (Some("\"a\""), vec![], Full),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"a\"")], NotModified),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "W/\"a\"")], NotModified),
            (Some("W/\"a\""), vec![(IF_NONE_MATCH, "\"a\"")], NotModified),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"A\"")], Full),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"x\", \"y,\\\" ,W/\"a\"")], NotModified),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"x,\"a\"")], Full),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a\"")], NotModified),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "*")], NotModified),
            (None, vec![(IF_NONE_MATCH, "*")], NotModified),
            (None, vec![(IF_NONE_MATCH, "\"a\"")], Full),
            (Some("a"), vec![(IF_NONE_MATCH, "x, a ,b")], NotModified),
            (Some("\"a\\\"b\""), vec![(IF_NONE_MATCH, " W/\"a\\\"b\" ")], NotModified),
            (Some("\"a\"b\""), vec![(IF_NONE_MATCH, "\"a\"")], Full),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "")], Full),
            (Some("\"a\""), vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, CHANGED)], Full),
            (Some("\"a\""), vec![(IF_MODIFIED_SINCE, CHANGED)], NotModified),
            (None, vec![(IF_MODIFIED_SINCE, LATER)], NotModified),
            (None, vec![(IF_MODIFIED_SINCE, EARLIER)], Full),
            (None, vec![(IF_MODIFIED_SINCE, "yesterday")], Full),
        ] {
            assert_eq!(outcome(etag, &conditions), expected, "{etag:?} {conditions:?}");
        }
    }
}
