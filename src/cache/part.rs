//! Parts that are stored as such, and made whole (RFC 9111 3.3, 3.4).
//!
//! Promises: a part is never taken for a whole, for it has a place of its own, where only requests for ranges and
//! fetches that complete it look; it is stored on the very terms on which the whole would be; it is combined and completed
//! only with bytes that carry the same strong validator; what is collected at a time is bounded.

mod collection;
mod combination;
mod completion;
mod extent;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use http::{Method, StatusCode, response};

pub use self::collection::Collection;
use self::combination::Combination;
pub use self::completion::{Completion, Surroundings};
pub(super) use self::extent::Extent;
use super::body::StoredBody;
use super::fetch::{Fetch, NotStored};
use super::key::CacheKey;
use super::lookup::{Lookup, Query};
use super::policy::{CachePolicy, Mode};
use super::range::{self, Span, Wanted};
use super::selected::Selected;
use super::storable::Plan;
use super::store::Found;
use super::stored::{Draft, StoredResponse};
use super::{Cache, validation};
use crate::http::fields;

/// What one 206 brings: some bytes of a representation whose length is known; all of them, where that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: Span,
    pub(super) length: u64,
}

impl Part {
    /// What a 206 says that it has: one part, of a known whole (RFC 9110 14.4).
    fn of(head: &response::Parts) -> Option<Self> {
        let line = fields::only(&head.headers, &CONTENT_RANGE)?;
        let kind = head.headers.get(CONTENT_TYPE).map_or(b"".as_slice(), HeaderValue::as_bytes);
        let is_multipart = kind.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart"));
        if head.status != StatusCode::PARTIAL_CONTENT || is_multipart {
            return None;
        }
        let (unit, rest) = line.to_str().ok()?.trim().split_once(' ')?;
        let (span, length) = rest.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let number =
            |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        let part =
            Self { span: Span { first: number(first)?, last: number(last)? }, length: number(length)? };
        let is_sound = part.span.first <= part.span.last && part.span.last < part.length;
        (unit.eq_ignore_ascii_case("bytes") && is_sound).then_some(part)
    }
}

/// The store's side.
impl Cache {
    /// A stored part that is fresh and has the one range in it which the client wants.
    pub fn lookup_part(&self, query: Query<'_>) -> Option<(Selected, Span)> {
        let Query { policy, key, request, .. } = query;
        // Conditions are about the whole, of which too little is known.
        let is_conditional =
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| request.headers.contains_key(name));
        if !self.has_parts(policy) || is_conditional {
            return None;
        }
        let Lookup::Fresh(selected) = self.lookup(Query { key: key.of_parts(), ..query }) else {
            return None;
        };
        let extent = selected.response().part.as_ref()?;
        match selected.wanted_of(&request.headers, extent.length()) {
            Wanted::Spans(spans)
                if let [span] = *spans
                    && extent.locate(span).is_some() =>
            {
                Some((selected, span))
            }
            Wanted::Whole | Wanted::Nothing | Wanted::Spans(_) => None,
        }
    }

    /// A whole has come: what is stored of an older one must not outlive it.
    pub(super) fn forget_part(&self, key: CacheKey, request: &HeaderMap) {
        if self.has_parts.load(Ordering::Relaxed)
            && let Found::Variant(part) = self.store.find(key.of_parts(), |part| Some(part.suits(request)))
        {
            self.store.discard(key.of_parts(), &part);
        }
    }

    /// Whether it is worth looking for parts at all.
    fn has_parts(&self, policy: &CachePolicy) -> bool {
        policy.mode == Mode::Standard && self.has_parts.load(Ordering::Relaxed)
    }

    /// Keeps the beginning of a whole response that broke off, where it can be completed.
    ///
    /// # Errors
    ///
    /// See [`NotStored`].
    pub(super) fn store_beginning(
        &self,
        fetch: &Fetch,
        plan: &Plan,
        request: &HeaderMap,
        head: &response::Parts,
        chunks: Vec<Bytes>,
    ) -> Result<(), NotStored> {
        let length = fields::content_length(&head.headers);
        let got: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let is_completable = head.status == StatusCode::OK
            && !plan.forced
            && plan.is_by_head()
            && strong(head.headers.get(ETAG)).is_some();
        let part = match length {
            Some(length) if is_completable && 0 < got && got < length => {
                Part { span: Span { first: 0, last: got - 1 }, length }
            }
            _ => return Err(NotStored::Truncated),
        };
        self.store_part(fetch, part, plan, request, &head.headers, chunks)
    }

    fn store_part(
        &self,
        fetch: &Fetch,
        part: Part,
        plan: &Plan,
        request: &HeaderMap,
        headers: &HeaderMap,
        chunks: Vec<Bytes>,
    ) -> Result<(), NotStored> {
        match chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>() {
            length if length != part.span.length() => return Err(NotStored::Truncated),
            length if length > plan.max_object => return Err(NotStored::TooLarge),
            _ => {}
        }
        let Combination { headers, extent, body, new } =
            self.combine(fetch, part, request, headers, chunks, plan.max_object);
        let (key, status, extent) = if extent.is_whole() {
            (fetch.key, StatusCode::OK, None)
        } else {
            (fetch.key.of_parts(), StatusCode::PARTIAL_CONTENT, Some(extent))
        };
        let is_whole = extent.is_none();
        let place = Fetch { key, provenance: fetch.provenance.clone() };
        self.put(&place, plan, request, new, |gauge| {
            let body = Arc::new(body.counted(gauge, is_whole && plan.keeps_coded));
            let provenance = fetch.provenance.clone();
            let draft = Draft { plan, provenance, status, headers: &headers, body, part: extent, request };
            Arc::new(StoredResponse::new(draft, gauge))
        })?;
        if is_whole {
            self.forget_part(fetch.key, request);
        } else {
            self.has_parts.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Selected {
    /// The answer with some bytes of a stored part, which has them.
    pub fn answer_from_part(
        &self,
        span: Span,
        recycled: HeaderMap,
    ) -> Option<(StatusCode, HeaderMap, StoredBody)> {
        let extent = self.response().part.as_ref()?;
        let inner = extent.locate(span)?;
        let (mut status, mut headers, body) =
            self.answer(&Method::GET, validation::Precondition::Full, None, recycled);
        range::describe(span, extent.length(), &mut status, &mut headers);
        Some((status, headers, body?.span(inner)))
    }
}

/// A tag that says that bytes are the same (RFC 9110 8.8.1).
fn strong(etag: Option<&HeaderValue>) -> Option<&HeaderValue> {
    etag.filter(|etag| etag.as_bytes().first() == Some(&b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(status: u16, lines: &[(&'static str, &'static str)]) -> Option<(u64, u64, u64)> {
        let mut head = http::Response::builder().status(status).body(()).unwrap().into_parts().0;
        for (name, line) in lines {
            head.headers.append(*name, HeaderValue::from_static(line));
        }
        Part::of(&head).map(|part| (part.span.first, part.span.last, part.length))
    }

    #[test]
    fn a_part_is_what_one_sound_content_range_says() {
        assert_eq!(part(206, &[("content-range", "bytes 2-4/10")]), Some((2, 4, 10)));
        assert_eq!(part(206, &[("content-range", "bytes 0-9/10")]), Some((0, 9, 10)));
        for line in [
            "bytes 4-2/10",
            "bytes 2-10/10",
            "bytes 2-4/*",
            "bytes */10",
            "items 2-4/10",
            "bytes 2-4",
            "bytes=2-4/10",
            "bytes +2-4/10",
            "bytes 2-99999999999999999999/10",
            "",
        ] {
            assert_eq!(part(206, &[("content-range", line)]), None, "{line}");
        }
        assert_eq!(part(200, &[("content-range", "bytes 2-4/10")]), None);
        assert_eq!(part(206, &[]), None);
        assert_eq!(part(206, &[("content-range", "bytes 2-4/10"), ("content-range", "bytes 2-4/10")]), None);
        let multipart =
            [("content-range", "bytes 2-4/10"), ("content-type", "Multipart/byteranges; boundary=x")];
        assert_eq!(part(206, &multipart), None);
    }
}
