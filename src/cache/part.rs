//! Parts that are stored as such, and made whole (RFC 9111 3.3, 3.4).
//!
//! Promises: a part is never taken for a whole, for it has a place of its own, where only requests for ranges and
//! fetches that complete it look; it is stored on the very terms on which the whole would be; it is completed only with
//! bytes that carry the same strong validator; what is collected at a time is bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{Method, StatusCode, request, response};
use tokio::time::Instant;

use super::body::{Chunks, StoredBody};
use super::fetch::{Exchange, Fetch, NotStored};
use super::key::CacheKey;
use super::lookup::Lookup;
use super::policy::{CachePolicy, Mode};
use super::range::{self, Span, Wanted};
use super::storable::Plan;
use super::store::Found;
use super::stored::{Draft, Selected, StoredResponse};
use super::{Cache, validation};

/// Of the store's bound, what parts may take while they are collected.
const COLLECTED: u64 = 16;

/// Some bytes of a representation whose length is known; never all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) span: Span,
    pub(super) length: u64,
}

impl Part {
    /// What a 206 says that it has: one part, of a known whole (RFC 9110 14.4).
    fn of(head: &response::Parts) -> Option<Self> {
        let mut lines = head.headers.get_all(CONTENT_RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
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
        let is_all = part.span.first == 0 && part.span.last + 1 == part.length;
        (unit.eq_ignore_ascii_case("bytes") && is_sound && !is_all).then_some(part)
    }

    /// What there is not, where it is in one piece.
    fn missing(self) -> Option<Span> {
        let end = self.length - 1;
        match (self.span.first, self.span.last) {
            (0, last) => Some(Span { first: last + 1, last: end }),
            (first, last) if last == end => Some(Span { first: 0, last: first - 1 }),
            _ => None,
        }
    }
}

/// The store's side.
impl Cache {
    /// A stored part that is fresh and has the one range in it which the client wants.
    pub fn lookup_part(
        &self,
        policy: &CachePolicy,
        key: CacheKey,
        request: &request::Parts,
        credentialed: bool,
        now: Instant,
    ) -> Option<(Selected, Span)> {
        // Conditions are about the whole, of which too little is known.
        let is_conditional =
            [IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| request.headers.contains_key(name));
        if !self.has_parts(policy) || is_conditional {
            return None;
        }
        let Lookup::Fresh(selected) = self.lookup(policy, key.of_parts(), request, credentialed, now) else {
            return None;
        };
        let part = selected.response().part?;
        match selected.wanted_of(&request.headers, part.length) {
            Wanted::Spans(spans)
                if let [span] = *spans
                    && part.span.contains(span) =>
            {
                Some((selected, span))
            }
            Wanted::Whole | Wanted::Nothing | Wanted::Spans(_) => None,
        }
    }

    /// A stored part which the whole that a request asks for can be made of.
    pub fn lookup_completion(
        &self,
        policy: &CachePolicy,
        key: CacheKey,
        request: &request::Parts,
        credentialed: bool,
        now: Instant,
    ) -> Option<Box<Completion>> {
        if !self.has_parts(policy) || request.method != Method::GET {
            return None;
        }
        let part = match self.lookup(policy, key.of_parts(), request, credentialed, now) {
            Lookup::Fresh(part) | Lookup::Stale(part, _) => part,
            Lookup::Forward(_) | Lookup::OnlyIfCached => return None,
        };
        let Part { length, .. } = part.response().part?;
        let missing = part.response().part?.missing()?;
        let etag = strong(part.response().validators.etag.as_ref())?.clone();
        Some(Box::new(Completion { part, missing, length, etag }))
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

    /// What is to be collected of a 206 while its client reads it.
    pub fn collect(
        self: &Arc<Self>,
        policy: &CachePolicy,
        fetch: Fetch,
        exchange: &Exchange<'_>,
        head: &response::Parts,
    ) -> Option<Box<Collection>> {
        let part = Part::of(head).filter(|_| policy.mode == Mode::Standard)?;
        let said = head.headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|said| said != Some(part.span.length())) {
            return None;
        }
        // Judged as the whole would be; a field that speaks of the part stays out.
        let mut whole = http::Response::new(()).into_parts().0;
        whole.headers = head.headers.clone();
        whole.headers.remove(CONTENT_RANGE);
        let plan = self.judge(policy, exchange, &whole).verdict.ok().filter(Plan::is_by_head)?;
        let request = exchange.request.headers.clone();
        let cache = Arc::clone(self);
        Some(Box::new(Collection {
            cache,
            fetch,
            part,
            plan,
            request,
            head: whole,
            chunks: Vec::new(),
            got: 0,
        }))
    }

    /// Keeps the beginning of a whole response that broke off, where it can be completed.
    ///
    /// # Errors
    ///
    /// See [`NotStored`].
    pub fn store_beginning(
        &self,
        fetch: &Fetch,
        plan: &Plan,
        request: &HeaderMap,
        head: &response::Parts,
        chunks: Vec<Bytes>,
    ) -> Result<(), NotStored> {
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
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
        let body = Chunks::pack(chunks);
        match body.len() {
            length if length != part.span.length() => return Err(NotStored::Truncated),
            length if length > plan.max_object => return Err(NotStored::TooLarge),
            _ => {}
        }
        let fetch = Fetch { key: fetch.key.of_parts(), ..fetch.clone() };
        let provenance = fetch.provenance.clone();
        let status = StatusCode::PARTIAL_CONTENT;
        self.put(&fetch, plan, request, body.len(), |gauge| {
            let body = Arc::new(body.counted(gauge, false));
            let draft = Draft { plan, provenance, status, headers, body, part: Some(part), request };
            Arc::new(StoredResponse::new(draft, gauge))
        })?;
        self.has_parts.store(true, Ordering::Relaxed);
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
        let Part { span: stored, length } = self.response().part?;
        let (mut status, mut headers, body) =
            self.answer(&Method::GET, validation::Precondition::Full, None, recycled);
        range::describe(span, length, &mut status, &mut headers);
        let inner = Span { first: span.first - stored.first, last: span.last - stored.first };
        Some((status, headers, body?.span(inner)))
    }
}

/// A part on its way into the store. Nothing is stored unless it comes to its end.
#[derive(Debug)]
pub struct Collection {
    cache: Arc<Cache>,
    fetch: Fetch,
    part: Part,
    plan: Plan,
    request: HeaderMap,
    head: response::Parts,
    chunks: Vec<Bytes>,
    got: u64,
}

impl Collection {
    /// One more chunk; `false` when there is no room for it, and nothing will come of the whole.
    pub fn add(&mut self, data: &Bytes) -> bool {
        let length = data.len() as u64;
        self.cache.collected.add(i64::try_from(length).unwrap_or(i64::MAX));
        self.got += length;
        self.chunks.push(data.clone());
        let collected = u64::try_from(self.cache.collected.value()).unwrap_or_default();
        let limits = self.cache.store.limits();
        self.got <= self.part.span.length().min(limits.max_object)
            && collected <= limits.max_bytes / COLLECTED
    }

    /// All has come.
    pub fn store(mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        let Self { fetch, part, plan, request, head, .. } = &self;
        let stored = self.cache.store_part(fetch, *part, plan, request, &head.headers, chunks);
        if let Err(reason) = stored {
            tracing::debug!(?reason, "a part is not stored");
        }
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.cache.collected.add(-i64::try_from(self.got).unwrap_or(i64::MAX));
    }
}

/// A stored part, and what is missing for the whole.
#[derive(Debug)]
pub struct Completion {
    part: Selected,
    missing: Span,
    length: u64,
    etag: HeaderValue,
}

impl Completion {
    /// Asks the upstream for what is missing, or for the whole if that has changed (RFC 9110 13.1.5).
    pub fn ask(&self, headers: &mut HeaderMap) {
        let Span { first, last } = self.missing;
        let range = HeaderValue::try_from(format!("bytes={first}-{last}"));
        headers.extend(range.ok().map(|range| (RANGE, range)));
        headers.insert(IF_RANGE, self.etag.clone());
    }

    /// Makes the head of the answer that of the whole (RFC 9111 3.4), and gives what belongs before and behind its body.
    /// `None`: it is not what was asked for.
    pub fn complete(&self, head: &mut response::Parts) -> Option<Surroundings> {
        let is_missing = Part::of(head) == Some(Part { span: self.missing, length: self.length });
        if !is_missing || strong(head.headers.get(ETAG)) != Some(&self.etag) {
            return None;
        }
        head.status = StatusCode::OK;
        head.headers = validation::updated_fields(self.part.response(), &head.headers);
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.length));
        let mut body = self.part.response().body();
        let known = std::iter::from_fn(|| body.next_chunk()).collect();
        let missing = self.missing.length();
        Some(match self.missing.first {
            0 => Surroundings { before: Vec::new(), missing, behind: known },
            _ => Surroundings { before: known, missing, behind: Vec::new() },
        })
    }
}

/// What belongs around a body to make it the whole.
#[derive(Debug)]
pub struct Surroundings {
    /// What comes first.
    pub before: Vec<Bytes>,
    /// How many bytes must come between.
    pub missing: u64,
    /// What comes last.
    pub behind: Vec<Bytes>,
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
        for line in [
            "bytes 0-9/10",
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

    #[test]
    fn what_is_missing_is_one_piece_or_nothing_is_asked_for() {
        let missing = |first, last| Part { span: Span { first, last }, length: 10 }.missing();
        assert_eq!(missing(0, 4), Some(Span { first: 5, last: 9 }));
        assert_eq!(missing(4, 9), Some(Span { first: 0, last: 3 }));
        assert_eq!(missing(2, 4), None);
    }
}
