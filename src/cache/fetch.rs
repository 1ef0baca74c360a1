//! One exchange with the upstream, as the cache sees it.

use http::request;
use tokio::time::Instant;

use super::facts::ResponseFacts;
use super::key::CacheKey;
use super::selected::Selected;
use super::storable::Unstorable;
use super::tags::{Fence, Provenance};

/// A fetch under way: what is known of it at its start.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub(super) key: CacheKey,
    pub(super) provenance: Provenance,
}

impl Fetch {
    /// Whether a purge or a write came after its start: its response is then for those who wait already, and for
    /// nobody who comes later.
    pub fn is_overtaken(&self) -> bool {
        self.provenance.is_overtaken()
    }

    /// The fetch that an answered write was, of what it has written; it began with the write. See [`Fence::succeeded_as`].
    pub fn after(&self, write: Fence, also: &[&str]) -> Option<Self> {
        Some(Self { key: self.key, provenance: write.succeeded_as(also, &self.provenance)? })
    }

    /// What it fetches.
    pub fn key(&self) -> CacheKey {
        self.key
    }
}

/// When an exchange with the upstream took place, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The request, with the client's own fields.
    pub request: &'a request::Parts,
    /// Whether it carries credentials.
    pub credentialed: bool,
    /// When it was sent.
    pub requested: Instant,
    /// When the response's head arrived.
    pub received: Instant,
}

/// Why a response that could be stored is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// A purge or a write came in between.
    Overtaken,
    /// It outgrew the largest object.
    TooLarge,
    /// Its length is not the one that it said.
    Truncated,
    /// There is no room: others still read what was evicted for it.
    Full,
    /// A 304 brought terms on which it may not be stored any longer.
    Unstorable(Unstorable),
}

/// What a 304 has made of a stored response.
#[derive(Debug, Clone)]
pub struct Freshened {
    /// The response with its new fields, good for this answer in any case.
    pub selected: Selected,
    /// What the new fields say.
    pub facts: ResponseFacts,
    /// Whether it is stored like that; otherwise it is no longer stored at all.
    pub stored: Result<(), NotStored>,
}
