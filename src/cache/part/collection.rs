//! What is collected of a body while its client reads it: a part, or the whole answer to a request that went its own way.
//!
//! Promises: what is collected at a time is bounded; nothing is stored unless it comes to its end.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use http::{Method, StatusCode, response};

use super::Part;
use crate::cache::fetch::{Exchange, Fetch};
use crate::cache::policy::{CachePolicy, Mode};
use crate::cache::{Cache, Plan};
use crate::http::fields;

/// Of the store's bound, what may be under way like this at a time.
const COLLECTED: u64 = 16;

impl Cache {
    /// What is to be collected of the answer to a range request while its client reads it: the part, or the whole where the
    /// upstream has ignored the range (RFC 9110 14.2).
    pub fn collect(
        self: &Arc<Self>,
        policy: &CachePolicy,
        fetch: Fetch,
        exchange: &Exchange<'_>,
        head: &response::Parts,
    ) -> Option<Box<Collection>> {
        let part = match head.status {
            StatusCode::OK => None,
            _ => Some(Part::of(head).filter(|_| policy.mode == Mode::Standard)?),
        };
        let said = head.headers.get(CONTENT_LENGTH).map(fields::plain_number);
        if let (Some(part), Some(said)) = (&part, said)
            && said != Some(part.span.length())
        {
            return None;
        }
        let plan = self.terms(policy, exchange, &Method::GET).judge(&as_whole(head)).verdict.ok()?;
        let is_decided = part.is_none() || plan.is_by_head();
        is_decided.then(|| Collection::begin(self, fetch, plan, exchange, head, part))
    }

    /// The same of the answer to a POST, whose `Content-Location` is its target: it is for later GETs (RFC 9110 9.3.3).
    pub fn collect_post(
        self: &Arc<Self>,
        policy: &CachePolicy,
        fetch: Fetch,
        exchange: &Exchange<'_>,
        head: &response::Parts,
    ) -> Option<Box<Collection>> {
        let plan = self.terms(policy, exchange, &Method::POST).judge(head).verdict.ok()?;
        Some(Collection::begin(self, fetch, plan, exchange, head, None))
    }
}

/// The head as that of the whole would be; a field that speaks of the part stays out.
fn as_whole(head: &response::Parts) -> response::Parts {
    let mut whole = http::Response::new(()).into_parts().0;
    whole.headers = head.headers.clone();
    whole.headers.remove(CONTENT_RANGE);
    if head.status != StatusCode::PARTIAL_CONTENT {
        whole.status = head.status;
    }
    whole
}

/// A body on its way into the store. Nothing is stored unless it comes to its end.
#[derive(Debug)]
pub struct Collection {
    cache: Arc<Cache>,
    fetch: Fetch,
    /// Where it is a part only.
    part: Option<Part>,
    plan: Plan,
    request: HeaderMap,
    head: response::Parts,
    chunks: Vec<Bytes>,
    got: u64,
}

impl Collection {
    fn begin(
        cache: &Arc<Cache>,
        fetch: Fetch,
        plan: Plan,
        exchange: &Exchange<'_>,
        head: &response::Parts,
        part: Option<Part>,
    ) -> Box<Self> {
        let (cache, request) = (Arc::clone(cache), exchange.request.headers.clone());
        let head = as_whole(head);
        Box::new(Self { cache, fetch, part, plan, request, head, chunks: Vec::new(), got: 0 })
    }

    /// One more chunk; `false` when there is no room for it, and nothing will come of the whole.
    pub fn add(&mut self, data: &Bytes) -> bool {
        let length = data.len() as u64;
        self.cache.collected.add(i64::try_from(length).unwrap_or(i64::MAX));
        self.got += length;
        self.chunks.push(data.clone());
        let collected = u64::try_from(self.cache.collected.value()).unwrap_or_default();
        let most = self.part.as_ref().map_or(u64::MAX, |part| part.span.length());
        self.got <= most.min(self.plan.max_object)
            && collected <= self.cache.store.limits().max_bytes / COLLECTED
    }

    /// All has come.
    pub fn store(mut self) {
        let chunks = std::mem::take(&mut self.chunks);
        let Self { cache, fetch, part, plan, request, head, .. } = &self;
        let stored = match part {
            Some(part) => cache.store_part(fetch, *part, plan, request, &head.headers, chunks),
            None => cache.store(fetch, plan, request, head, chunks).map(drop),
        };
        if let Err(reason) = stored {
            tracing::debug!(?reason, "what was collected is not stored");
        }
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        self.cache.collected.add(-i64::try_from(self.got).unwrap_or(i64::MAX));
    }
}
