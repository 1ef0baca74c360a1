//! Where stored responses are kept, and how much memory they may take.
//!
//! moka keeps the order of use and the bound; it decides nothing about freshness. It enforces the bound late and frees
//! later still, so this file keeps its own account: every response is counted from its making to the end of its last
//! reader, one writer at a time makes room before it stores and lets moka catch up afterwards, and what is evicted is
//! emptied on the spot. One lookup in moka finds a resource with all its variants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use arc_swap::ArcSwap;
use http::HeaderMap;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::key::CacheKey;
use super::stored::StoredResponse;
use super::tags::Sequence;
use crate::digest::BuildDigestHasher;
use crate::metrics::{Counter, Gauge};

/// How many variants a resource has at most; beyond that the least recently used goes.
pub const MAX_VARIANTS: usize = 16;

/// The bounds of the store; both can change while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What all stored responses may take, in bytes.
    pub max_bytes: u64,
    /// The largest body, in bytes.
    pub max_object: u64,
}

/// Why stored responses have gone.
#[derive(Debug, Default)]
pub struct Evictions {
    /// To make room.
    pub size: Counter,
    /// Nobody could have used them any more.
    pub expired: Counter,
    /// Purged, and swept out since.
    pub purged: Counter,
    /// Too many variants of one resource.
    pub variants: Counter,
}

type Entries = Moka<CacheKey, Arc<Resource>, BuildDigestHasher>;

/// What was found under a key.
pub(super) enum Found {
    Nothing,
    NoVariant,
    Variant(Arc<StoredResponse>),
}

#[derive(Debug)]
pub(super) struct Store {
    entries: ArcSwap<Entries>,
    live: Arc<Gauge>,
    evictions: Arc<Evictions>,
    max_bytes: AtomicU64,
    max_object: AtomicU64,
    /// What bodies on their way take already, in bytes. Changed by whose turn it is.
    reserved: AtomicU64,
    /// Writers take turns: what one makes room for another must not fill.
    turn: Mutex<()>,
}

impl Store {
    pub(super) fn new(limits: Limits) -> Self {
        let evictions = Arc::new(Evictions::default());
        Self {
            entries: ArcSwap::from_pointee(entries(limits, &evictions)),
            live: Arc::default(),
            evictions,
            max_bytes: AtomicU64::new(limits.max_bytes),
            max_object: AtomicU64::new(limits.max_object),
            reserved: AtomicU64::new(0),
            turn: Mutex::default(),
        }
    }

    /// `suits` says of a variant whether it may be used; `None` of one that is no more than memory to be freed.
    pub(super) fn find(&self, key: CacheKey, suits: impl Fn(&StoredResponse) -> Option<bool>) -> Found {
        let Some(resource) = self.entries.load().get(&key) else { return Found::Nothing };
        let variants = resource.variants.load();
        let mut found = Found::Nothing;
        for variant in variants.iter() {
            match suits(variant) {
                Some(true) => return Found::Variant(Arc::clone(variant)),
                Some(false) => found = Found::NoVariant,
                None => {}
            }
        }
        found
    }

    /// Stores what `make` makes (it gets the account on which to put it), if there is room for `bytes` more. It takes
    /// the place of every variant that suits the same request.
    pub(super) fn put(
        &self,
        key: CacheKey,
        bytes: u64,
        now: Instant,
        same: impl Fn(&StoredResponse) -> bool,
        make: impl FnOnce(&Arc<Gauge>) -> Arc<StoredResponse>,
    ) -> Option<Arc<StoredResponse>> {
        let _turn = self.turn.lock();
        let reserved = self.reserved.load(Ordering::Relaxed);
        if reserved > 0 || !self.has_room(bytes) {
            // Else moka may let go of what is reserved, as what was used least recently, and hold more of the rest.
            self.set_reserved(reserved);
            if !self.has_room(bytes) {
                return None;
            }
        }
        let entries = self.entries.load_full();
        let response = make(&self.live);
        entries.entry(key).and_upsert_with(|old| {
            let resource = old.map(moka::Entry::into_value).unwrap_or_default();
            let dropped = resource.add(&response, now, &same);
            self.evictions.variants.add(dropped);
            resource
        });
        // Else moka would let many large responses in before it looks at its bound.
        entries.run_pending_tasks();
        Some(response)
    }

    /// Takes so many bytes more for a body that is on its way, and for them what was used least recently. False where they
    /// are not to be had: all such bodies together get half of the bound.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let _turn = self.turn.lock();
        let before = self.reserved.load(Ordering::Relaxed);
        let most = (self.max_bytes.load(Ordering::Relaxed) / 2).min(u64::from(u32::MAX));
        if before + bytes > most {
            return false;
        }
        self.set_reserved(before + bytes);
        let has_room = self.has_room(0);
        if !has_room {
            self.set_reserved(before);
        }
        has_room
    }

    /// Gives back what was reserved.
    pub(super) fn release(&self, bytes: u64) {
        let _turn = self.turn.lock();
        self.set_reserved(self.reserved.load(Ordering::Relaxed).saturating_sub(bytes));
    }

    /// moka makes room for what it holds: a resource that is nothing but its weight, and as good as used just now.
    fn set_reserved(&self, bytes: u64) {
        self.reserved.store(bytes, Ordering::Relaxed);
        let entries = self.entries.load_full();
        entries.insert(CacheKey::NONE, Arc::new(Resource::placeholder(bytes)));
        entries.run_pending_tasks();
    }

    /// Takes one response out.
    pub(super) fn discard(&self, key: CacheKey, response: &Arc<StoredResponse>) {
        let entries = self.entries.load();
        let Some(resource) = entries.get(&key) else { return };
        if resource.retain(|variant| !Arc::ptr_eq(variant, response), StoredResponse::leave).1 == 0 {
            entries.invalidate(&key);
        }
    }

    /// Takes out what purges have reached; returns how many responses that are.
    pub(super) fn sweep(&self, sequence: &Sequence) -> u64 {
        let entries = self.entries.load_full();
        let mut swept = 0;
        for (key, resource) in entries.iter() {
            let (dropped, left) =
                resource.retain(|variant| variant.is_valid(sequence), StoredResponse::be_evicted);
            swept += dropped;
            if left == 0 && *key != CacheKey::NONE {
                entries.invalidate(&*key);
            }
        }
        self.evictions.purged.add(swept);
        entries.run_pending_tasks();
        swept
    }

    pub(super) fn tidy(&self) {
        self.entries.load_full().run_pending_tasks();
    }

    /// Changes the bounds. moka cannot change its own: what is stored moves over to another one.
    pub(super) fn set_limits(&self, limits: Limits) {
        let _turn = self.turn.lock();
        self.max_object.store(limits.max_object, Ordering::Relaxed);
        if self.max_bytes.swap(limits.max_bytes, Ordering::Relaxed) == limits.max_bytes {
            return;
        }
        let (old, new) = (self.entries.load_full(), entries(limits, &self.evictions));
        old.iter().for_each(|(key, resource)| new.insert(*key, resource));
        self.entries.store(Arc::new(new));
        // In use now, whenever it moved.
        self.set_reserved(self.reserved.load(Ordering::Relaxed));
    }

    pub(super) fn limits(&self) -> Limits {
        let max_bytes = self.max_bytes.load(Ordering::Relaxed);
        // One object must not be all that the store can hold.
        let max_object = self.max_object.load(Ordering::Relaxed).min(max_bytes / 2);
        Limits { max_bytes, max_object }
    }

    pub(super) fn evictions(&self) -> &Evictions {
        &self.evictions
    }

    /// What counts for the bound: what is stored, what was and is still read, and what is on its way.
    pub(super) fn live_bytes(&self) -> u64 {
        let live = u64::try_from(self.live.value()).unwrap_or_default();
        live.saturating_add(self.reserved.load(Ordering::Relaxed))
    }

    /// Evicted responses that somebody still reads take room, too.
    fn has_room(&self, bytes: u64) -> bool {
        let max = self.max_bytes.load(Ordering::Relaxed);
        self.live_bytes().saturating_add(bytes) <= max + max / 16
    }
}

fn entries(limits: Limits, evictions: &Arc<Evictions>) -> Entries {
    let evictions = Arc::clone(evictions);
    Moka::builder()
        // Below the bound by as much as may be over it while one more comes in.
        .max_capacity(limits.max_bytes - limits.max_bytes / 16)
        .weigher(|_: &CacheKey, resource: &Arc<Resource>| resource.weight())
        // With TinyLFU a full store refuses whatever has not been asked for before.
        .eviction_policy(EvictionPolicy::lru())
        .expire_after(GarbageCollection)
        .eviction_listener(move |_, resource, cause| {
            let count = match cause {
                RemovalCause::Size => &evictions.size,
                RemovalCause::Expired => &evictions.expired,
                RemovalCause::Explicit => &evictions.purged,
                // The same resource with other variants.
                RemovalCause::Replaced => return,
            };
            count.add(resource.retain(|_| false, StoredResponse::be_evicted).0);
        })
        .build_with_hasher(BuildDigestHasher::default())
}

/// All variants under one key, the one made last first (RFC 9111 section 4: by `Date`). Emptied when it is evicted: moka may
/// keep it for some time yet.
#[derive(Debug, Default)]
struct Resource {
    variants: ArcSwap<Vec<Arc<StoredResponse>>>,
    /// In seconds, from the last change.
    keep_for: AtomicU64,
    /// What is held back under the name of no resource, in bytes.
    reserved: u64,
}

impl Resource {
    fn placeholder(reserved: u64) -> Self {
        Self { reserved, keep_for: AtomicU64::new(u64::from(u32::MAX)), ..Self::default() }
    }

    /// Puts a response among the others; returns how many had to go because there are too many.
    fn add(
        &self,
        response: &Arc<StoredResponse>,
        now: Instant,
        same: impl Fn(&StoredResponse) -> bool,
    ) -> u64 {
        let mut crowded_out = 0;
        let part = |gone: &StoredResponse| if same(gone) { gone.leave() } else { gone.be_evicted() };
        self.change(part, |old| {
            let mut variants: Vec<_> = old.iter().filter(|variant| !same(variant)).cloned().collect();
            let place = variants.partition_point(|variant| variant.made > response.made);
            variants.insert(place, Arc::clone(response));
            crowded_out = 0;
            if variants.len() > MAX_VARIANTS {
                let others = variants.iter().enumerate().filter(|(index, _)| *index != place);
                if let Some((oldest, _)) = others.min_by_key(|(_, variant)| variant.last_used()) {
                    variants.remove(oldest);
                    crowded_out = 1;
                }
            }
            variants
        });
        let until = self.variants.load().iter().map(|variant| variant.keep_until()).max();
        let keep_for = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        self.keep_for.store(keep_for.as_secs() + 1, Ordering::Relaxed);
        crowded_out
    }

    /// Keeps what is wanted and parts with the rest; returns how many have gone and how many are left.
    fn retain(
        &self,
        wanted: impl Fn(&Arc<StoredResponse>) -> bool,
        part: impl Fn(&StoredResponse),
    ) -> (u64, usize) {
        let variants = self.variants.load();
        if variants.iter().all(&wanted) {
            return (0, variants.len());
        }
        let mut left = 0;
        let gone = self.change(part, |old| {
            let variants: Vec<_> = old.iter().filter(|variant| wanted(variant)).cloned().collect();
            left = variants.len();
            variants
        });
        (gone, left)
    }

    /// Puts other variants in the place of the present ones; returns how many of these have left the store.
    fn change(
        &self,
        part: impl Fn(&StoredResponse),
        mut make: impl FnMut(&[Arc<StoredResponse>]) -> Vec<Arc<StoredResponse>>,
    ) -> u64 {
        let mut kept = Vec::new();
        let old = self.variants.rcu(|old| {
            kept = make(old);
            kept.clone()
        });
        let gone = old.iter().filter(|old| !kept.iter().any(|kept| Arc::ptr_eq(kept, old)));
        gone.inspect(|response| part(response)).count() as u64
    }

    fn weight(&self) -> u32 {
        let weight: u64 = self.variants.load().iter().map(|variant| variant.weight()).sum();
        u32::try_from(weight + self.reserved).unwrap_or(u32::MAX)
    }
}

/// When a resource has become useless. This only frees memory: whether a response is fresh is never asked here.
struct GarbageCollection;

impl moka::Expiry<CacheKey, Arc<Resource>> for GarbageCollection {
    fn expire_after_create(&self, _: &CacheKey, resource: &Arc<Resource>, _: StdInstant) -> Option<Duration> {
        Some(Duration::from_secs(resource.keep_for.load(Ordering::Relaxed)))
    }

    fn expire_after_update(
        &self,
        key: &CacheKey,
        resource: &Arc<Resource>,
        now: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, resource, now)
    }
}

/// The variants that answer the request with these fields.
pub(super) fn suiting(request: &HeaderMap) -> impl Fn(&StoredResponse) -> bool + '_ {
    |variant| variant.selecting.matches(request)
}
