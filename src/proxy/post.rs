//! The answer to a POST that is what a GET of the same target would bring, and is stored for that (RFC 9110 9.3.3).
//!
//! Promises: it must say so itself, by a `Content-Location` that names its own target and an explicit lifetime; nothing is
//! stored that another write or a purge may have overtaken.

use http::{Method, response};
use tokio::time::Instant;

use super::asked::Asked;
use crate::cache::{self, Collection, Fence, Fetch, Mode};
use crate::policy::{Policy, State};

/// A POST under way, as a fetch for later GETs.
#[derive(Debug)]
pub(super) struct ForGet {
    /// The GET of the same target.
    get: Asked,
    fetch: Fetch,
}

impl ForGet {
    /// A POST begins, behind its fence. `None`: its answer can be no GET's.
    pub(super) fn begin(state: &State, policy: &Policy, asked: &Asked) -> Option<Box<Self>> {
        if asked.parts.method != Method::POST || asked.may_be_repeated() {
            return None;
        }
        let get = asked.as_get(policy)?;
        let route = get.route();
        if route.cache.mode != Mode::Standard || route.taps_body() || !get.may_share() {
            return None;
        }
        let tags = route.cache.tags(|name| get.capture(name));
        let fetch = state.cache.begin(&route.cache, get.storage_key(), &route.url(&get.parts), &tags);
        Some(Box::new(Self { get, fetch }))
    }

    /// The write has succeeded. `None` where another one was under way at the same time.
    pub(super) fn after(mut self: Box<Self>, fence: Fence, also: &[&str]) -> Option<Box<Self>> {
        self.fetch = self.fetch.after(fence, also)?;
        Some(self)
    }

    /// What of the answer is stored while its client reads it.
    pub(super) fn collect(
        self: Box<Self>,
        state: &State,
        requested: Instant,
        received: Instant,
        head: &response::Parts,
    ) -> Option<Box<Collection>> {
        let exchange = cache::Exchange {
            request: &self.get.parts,
            credentialed: self.get.is_credentialed(),
            requested,
            received,
        };
        state.cache.collect_post(&self.get.route().cache, self.fetch.clone(), &exchange, head)
    }
}
