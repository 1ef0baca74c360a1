//! A stored part that is made whole (RFC 9111 3.4).
//!
//! Promises: a part is completed only with the bytes that it lacks, and only where they carry the same strong validator.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use http::{Method, StatusCode, response};

use super::{Part, strong};
use crate::cache::lookup::{Lookup, Query};
use crate::cache::range::Span;
use crate::cache::selected::Selected;
use crate::cache::{Cache, validation};

impl Cache {
    /// A stored part which the whole that a request asks for can be made of.
    pub fn lookup_completion(&self, query: Query<'_>) -> Option<Box<Completion>> {
        if !self.has_parts(query.policy) || query.request.method != Method::GET {
            return None;
        }
        let part = match self.lookup(Query { key: query.key.of_parts(), ..query }) {
            Lookup::Fresh(part) | Lookup::Stale(part, _) => part,
            Lookup::Forward(_) | Lookup::OnlyIfCached => return None,
        };
        let extent = part.response().part.as_ref()?;
        let (length, (missing, before)) = (extent.length(), extent.missing()?);
        let etag = strong(part.response().validators.etag.as_ref())?.clone();
        Some(Box::new(Completion { part, missing, before, length, etag }))
    }
}

/// A stored part, and what is missing for the whole.
#[derive(Debug)]
pub struct Completion {
    part: Selected,
    missing: Span,
    /// How many of the stored bytes come before that.
    before: u64,
    length: u64,
    etag: HeaderValue,
}

impl Completion {
    /// Asks the upstream for what is missing, or for the whole if that has changed (RFC 9110 13.1.5).
    pub fn ask(&self, headers: &mut HeaderMap) {
        let Span { first, last } = self.missing;
        // To the end, where that is missing: the usual question of who goes on where he was cut off.
        let range = match last + 1 {
            end if end == self.length => format!("bytes={first}-"),
            _ => format!("bytes={first}-{last}"),
        };
        let range = HeaderValue::try_from(range);
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
        let before = body.take_bytes(self.before);
        let behind = std::iter::from_fn(|| body.next_chunk()).collect();
        Some(Surroundings { before, missing: self.missing.length(), behind })
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
