//! The counters of one limit, by key.
//!
//! Promises: never more than the given number of keys; a record is given up only when a new one would say the same, so
//! no flood of new keys resets a limited client; keys that find no room share one record. A check takes one lock and looks
//! in one place. A table belongs to a limit's name and outlives the limit: each shard carries its records over when it
//! first sees rules that are newer than its own, so a reload costs nothing and loses nothing, and one that fails never gets
//! here.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::quota::Quota;
use super::record::{Receipt, Record, Standing};
use super::reshape::reshape;
use super::rules::{Rules, nanos};
use crate::client::PartitionKey;
use crate::digest::BuildDigestHasher;
use crate::metrics::Counter;

const SHARDS: usize = 64;

/// The key of the record that those share who find no room.
const OVERFLOW: Key = Key { high: 0, low: 0 };

/// While a shard is full, how long (in nanoseconds) it is not searched again for records to give up.
const SEARCH_PAUSE: u64 = 10_000_000;

/// The counters of a limit, and its figures.
#[derive(Debug)]
pub struct Buckets {
    epoch: Instant,
    shards: Box<[Padded<Mutex<Shard>>]>,
    /// Of one record, for all that find no room.
    overflow: Mutex<Shard>,
    keys: AtomicUsize,
    /// The latest rules that were made, whether a request ever came under them or not.
    latest: Mutex<Edition>,
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests that would have been refused, but are only observed.
    pub would_refuse: Counter,
    /// Charges made to the shared record because the table was full.
    pub overflowed: Counter,
}

/// Rules, and how many came before them.
#[derive(Debug, Clone, Default)]
pub(super) struct Edition {
    number: u64,
    pub(super) rules: Arc<Rules>,
}

/// Where a charge was made, and what to take back.
#[derive(Debug)]
pub(super) struct Debit {
    key: Key,
    is_shared: bool,
    edition: u64,
    receipt: Receipt,
}

/// Nothing was charged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) standing: Standing,
    /// By the record that keys without room share.
    pub(super) is_shared: bool,
}

impl From<Standing> for Refused {
    fn from(standing: Standing) -> Self {
        Self { standing, is_shared: false }
    }
}

#[derive(Debug, Default)]
struct Shard {
    edition: Edition,
    records: HashMap<Key, Record, BuildDigestHasher>,
    /// Charges made: counted here, where the lock is held anyway, for the sake of the others' caches.
    allowed: u64,
    /// No record expires before this, or is looked for.
    next_search: u64,
}

impl Buckets {
    /// An empty table; its time counts from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            overflow: Mutex::default(),
            keys: AtomicUsize::new(0),
            latest: Mutex::default(),
            refused: Counter::default(),
            would_refuse: Counter::default(),
            overflowed: Counter::default(),
        }
    }

    /// How many keys have a record of their own.
    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// Requests that were within the limit.
    pub fn allowed(&self) -> u64 {
        let own: u64 = self.shards.iter().map(|shard| shard.0.lock().allowed).sum();
        own + self.overflow.lock().allowed
    }

    /// Gives up the records that a new one would equal. Once a second is right: a full table searches by itself.
    pub fn sweep(&self, now: Instant) {
        let now = self.nanos(now);
        for shard in &self.shards {
            let given_up = shard.0.lock().give_up_expired(now, 0);
            self.keys.fetch_sub(given_up, Relaxed);
        }
        self.overflow.lock().give_up_expired(now, 0);
    }

    /// The rules of these tiers: the table's own if they are the same, else a new edition.
    pub(super) fn edition(&self, quotas: &[Quota], burst: u32) -> Edition {
        let mut latest = self.latest.lock();
        if latest.number == 0 || !latest.rules.is_same_as(quotas, burst) {
            let rules = Arc::new(Rules::new(quotas, burst));
            *latest = Edition { number: latest.number + 1, rules };
        }
        latest.clone()
    }

    /// Charges all tiers of a key, or none.
    pub(super) fn charge(
        &self,
        edition: &Edition,
        max_keys: usize,
        key: PartitionKey,
        now: Instant,
    ) -> Result<(Standing, Debit), Refused> {
        let (key, now) = (Key::from(key), self.nanos(now));
        let mut shard = self.shard(key).lock();
        shard.adopt(edition, now);
        let Shard { edition, records, allowed, .. } = &mut *shard;
        if let Some(record) = records.get_mut(&key) {
            let (standing, receipt) = record.charge(&edition.rules, now)?;
            *allowed += 1;
            return Ok((standing, Debit { key, is_shared: false, edition: edition.number, receipt }));
        }
        if !self.has_room(&mut shard, max_keys, now) {
            let edition = shard.edition.clone();
            drop(shard);
            return self.charge_overflow(&edition, now);
        }
        Ok(shard.charge_new(key, now)?)
    }

    /// The tier that would refuse `key`, and for how long. Charges nothing.
    pub(super) fn judge(&self, edition: &Edition, key: PartitionKey, now: Instant) -> Option<Standing> {
        let (key, now) = (Key::from(key), self.nanos(now));
        let mut shard = self.shard(key).lock();
        shard.adopt(edition, now);
        shard.records.get(&key)?.refusal(&shard.edition.rules, now)
    }

    /// Takes a charge back. One from before a change of the tiers stays.
    pub(super) fn refund(&self, debit: &Debit) {
        let mut shard = if debit.is_shared { &self.overflow } else { self.shard(debit.key) }.lock();
        let Shard { edition, records, .. } = &mut *shard;
        if edition.number == debit.edition
            && let Some(record) = records.get_mut(&debit.key)
        {
            record.refund(&edition.rules, &debit.receipt);
        }
    }

    fn charge_overflow(&self, edition: &Edition, now: u64) -> Result<(Standing, Debit), Refused> {
        self.overflowed.inc();
        let mut shard = self.overflow.lock();
        shard.adopt(edition, now);
        let charged = shard.charge_new(OVERFLOW, now);
        let (standing, debit) = charged.map_err(|standing| Refused { standing, is_shared: true })?;
        Ok((standing, Debit { is_shared: true, ..debit }))
    }

    /// Whether the shard may have one record more, which is then counted.
    fn has_room(&self, shard: &mut Shard, max_keys: usize, now: u64) -> bool {
        let take = || self.keys.fetch_update(Relaxed, Relaxed, |n| (n < max_keys).then_some(n + 1)).is_ok();
        take() || {
            let given_up = shard.give_up_expired(now, SEARCH_PAUSE);
            self.keys.fetch_sub(given_up, Relaxed);
            given_up > 0 && take()
        }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a digest choose as well")]
        let at = key.high as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        &self.shards[at].0
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

impl Shard {
    /// Goes over to newer rules. Older ones (of requests that began before a reload) change nothing.
    fn adopt(&mut self, newer: &Edition, now: u64) {
        if newer.number <= self.edition.number {
            return;
        }
        for record in self.records.values_mut() {
            *record = reshape(record, &self.edition.rules, &newer.rules, now);
        }
        self.edition = newer.clone();
        self.next_search = 0;
    }

    fn charge_new(&mut self, key: Key, now: u64) -> Result<(Standing, Debit), Standing> {
        let Self { edition, records, allowed, next_search } = self;
        let record = records.entry(key).or_insert_with(|| Record::new(&edition.rules));
        let (standing, receipt) = record.charge(&edition.rules, now)?;
        *allowed += 1;
        *next_search = record.expiry(&edition.rules).min(*next_search);
        Ok((standing, Debit { key, is_shared: false, edition: edition.number, receipt }))
    }

    /// Gives up expired records, and tells how many; does nothing while there can be none. `pause` puts off the next
    /// search.
    fn give_up_expired(&mut self, now: u64, pause: u64) -> usize {
        if now < self.next_search {
            return 0;
        }
        let before = self.records.len();
        let rules = &self.edition.rules;
        let mut next = u64::MAX;
        self.records.retain(|_, record| {
            let expiry = record.expiry(rules);
            if expiry > now {
                next = next.min(expiry);
            }
            expiry > now
        });
        self.next_search = next.max(now + pause);
        if self.records.capacity() > 4 * self.records.len().max(16) {
            self.records.shrink_to(2 * self.records.len());
        }
        before - self.records.len()
    }
}

/// A keyed digest in two halves: one chooses the shard, the other the place in it. (A `u128` would be aligned to 16
/// bytes, and each record with it.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Key {
    high: u64,
    low: u64,
}

impl From<PartitionKey> for Key {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    fn from(PartitionKey(digest): PartitionKey) -> Self {
        Self { high: (digest >> 64) as u64, low: digest as u64 }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// On cache lines of its own, so that neighbours do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

#[cfg(test)]
mod tests;
