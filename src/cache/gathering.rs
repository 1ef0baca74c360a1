//! A body on its way into the store.
//!
//! Promises: what is on its way counts like what is stored, and what was used least recently goes for it; memory is
//! shared with whoever reads the body meanwhile. The first block of a body counts when it is stored.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderMap;
use http::response;

use super::body::{BLOCK, Chunks, Packing};
use super::fetch::{Fetch, NotStored};
use super::storable::Plan;
use super::{Cache, StoredResponse};

/// Room in the store, given back on drop.
#[derive(Debug)]
struct Room {
    cache: Arc<Cache>,
    bytes: u64,
}

impl Room {
    /// Makes it this large at least; false where there is not so much.
    fn reach(&mut self, bytes: u64, most: u64) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let more = bytes.next_multiple_of(BLOCK as u64).min(most) - self.bytes;
        let is_there = self.cache.store.reserve(more);
        self.bytes += if is_there { more } else { 0 };
        is_there
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.cache.store.release(self.bytes);
        }
    }
}

/// A body on its way into the store, with the plan for it.
#[derive(Debug)]
pub struct Gathering {
    plan: Plan,
    packing: Packing,
    room: Room,
}

impl Cache {
    /// A body begins to arrive; `length` is what is known of it.
    pub fn gather(self: &Arc<Self>, plan: Plan, length: Option<u64>) -> Gathering {
        let room = Room { cache: Arc::clone(self), bytes: 0 };
        Gathering { plan, packing: Packing::expecting(length), room }
    }
}

impl Gathering {
    /// Takes bytes off a chunk, and gives them back to be handed on. `None`: they are too many, or there is no room, and
    /// nothing will come of it.
    pub fn add(&mut self, chunk: &mut Bytes) -> Option<Bytes> {
        let (length, most) = (self.packing.length() + chunk.len() as u64, self.plan.max_object);
        if length > most {
            return None;
        }
        if length > BLOCK as u64 && !self.room.reach(length, most) {
            self.room.cache.refused.inc();
            return None;
        }
        Some(self.packing.add(chunk))
    }

    /// The plan for it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// All has come. See [`Cache::store`].
    ///
    /// # Errors
    ///
    /// See [`NotStored`].
    pub fn store(
        self,
        fetch: &Fetch,
        request: &HeaderMap,
        head: &response::Parts,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        let (cache, plan, body) = self.end();
        cache.store_packed(fetch, &plan, request, head, body)
    }

    /// It broke off: keeps its beginning, where it can be completed.
    ///
    /// # Errors
    ///
    /// See [`NotStored`].
    pub fn store_beginning(
        self,
        fetch: &Fetch,
        request: &HeaderMap,
        head: &response::Parts,
    ) -> Result<(), NotStored> {
        let (cache, plan, body) = self.end();
        cache.store_beginning(fetch, &plan, request, head, body.into_chunks())
    }

    /// What came. It gives up its place: what is stored of it takes it.
    fn end(self) -> (Arc<Cache>, Plan, Chunks) {
        let Self { plan, packing, room } = self;
        (Arc::clone(&room.cache), plan, packing.finish())
    }
}
