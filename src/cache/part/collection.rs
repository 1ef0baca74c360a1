//! A part that is collected while its client reads it.
//!
//! Promises: what is collected at a time is bounded; nothing is stored unless it comes to its end.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use http::response;

use super::Part;
use crate::cache::fetch::{Exchange, Fetch};
use crate::cache::policy::{CachePolicy, Mode};
use crate::cache::{Cache, Plan};
use crate::http::fields;

/// Of the store's bound, what parts may take while they are collected.
const COLLECTED: u64 = 16;

impl Cache {
    /// What is to be collected of a 206 while its client reads it.
    pub fn collect(
        self: &Arc<Self>,
        policy: &CachePolicy,
        fetch: Fetch,
        exchange: &Exchange<'_>,
        head: &response::Parts,
    ) -> Option<Box<Collection>> {
        let part = Part::of(head).filter(|_| policy.mode == Mode::Standard)?;
        let said = head.headers.get(CONTENT_LENGTH).map(fields::plain_number);
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
