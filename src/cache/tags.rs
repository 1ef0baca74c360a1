//! Purging by name in O(1), without an index and without a race against fetches under way.
//!
//! Everything by which a stored response can be purged (its URL, its tags, its route, "all") has a [`TagCell`]. Time is
//! a sequence of numbers: a fetch remembers the number at its start, a purge draws the next one and writes it into the
//! cell. What began before the cell's number is gone, whether it is stored already or still under way. A purge costs
//! the same however much it drops, and a hit takes no lock: two loads, unless something was purged since it was last
//! looked at.
//!
//! A cell lives as long as a stored response, a fetch or a fence carries it: there are never more of them than those.

mod registry;
mod template;

pub use registry::Registry;
pub use template::{TagError, TagTemplate};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use registry::Names;

/// What has happened to one name.
#[derive(Debug)]
pub struct TagCell {
    name: Arc<str>,
    home: Weak<Names>,
    /// What began before this number is purged.
    purged: AtomicU64,
    /// A fetch that began before this number is overtaken by a write: it may end, but is neither stored nor joined.
    fenced: AtomicU64,
    live: Mutex<Live>,
}

/// The stored responses under one name that no purge has reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Their number.
    pub entries: u64,
    /// What they weigh, in bytes.
    pub bytes: u64,
}

impl TagCell {
    fn new(name: Arc<str>, home: Weak<Names>) -> Self {
        Self { name, home, purged: AtomicU64::new(0), fenced: AtomicU64::new(0), live: Mutex::default() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is stored under the name.
    pub fn live(&self) -> Live {
        *self.live.lock()
    }

    fn spares(&self, started: u64) -> bool {
        started >= self.purged.load(Ordering::Acquire)
    }

    /// The purge's number, which is drawn under the lock: who is counted has begun before it.
    fn purge(&self, sequence: &Sequence) -> (u64, Live) {
        let mut live = self.live.lock();
        let number = sequence.next();
        self.purged.fetch_max(number, Ordering::AcqRel);
        (number, std::mem::take(&mut *live))
    }

    /// Whether nothing has happened since that number but the purge of `own` number.
    fn is_untouched(&self, since: u64, own: Option<u64>) -> bool {
        let purged = self.purged.load(Ordering::Acquire);
        (purged <= since || Some(purged) == own) && self.fenced.load(Ordering::Acquire) <= since
    }

    fn fence(&self, sequence: &Sequence) {
        self.fenced.fetch_max(sequence.next(), Ordering::AcqRel);
    }
}

impl Drop for TagCell {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.forget(&self.name);
        }
    }
}

/// The order of fetches, purges and writes.
#[derive(Debug, Default)]
pub struct Sequence {
    last: AtomicU64,
    /// Counts finished purges; read before cells are looked at, so that a purge in between is noticed the next time.
    purges: AtomicU64,
}

impl Sequence {
    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn now(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    fn finish_purge(&self) {
        self.purges.fetch_add(1, Ordering::AcqRel);
    }
}

/// The names that one fetch answers to, and when it began.
#[derive(Debug, Clone)]
pub struct Provenance {
    started: u64,
    cells: Arc<[Arc<TagCell>]>,
}

impl Provenance {
    fn starting_now(cells: Arc<[Arc<TagCell>]>, sequence: &Sequence) -> Self {
        // The request to the upstream follows: a purge or write that ends before now is older than its answer.
        Self { started: sequence.now(), cells }
    }

    /// Whether a purge or a write came after the start.
    pub fn is_overtaken(&self) -> bool {
        self.cells
            .iter()
            .any(|cell| !cell.spares(self.started) || self.started < cell.fenced.load(Ordering::Acquire))
    }

    /// About how many bytes of memory the names take; a long URL counts, too.
    pub fn weight(&self) -> usize {
        self.cells.iter().map(|cell| cell.name.len() + 8).sum()
    }

    /// Whether no purge came after the start.
    pub fn is_valid(&self) -> bool {
        self.cells.iter().all(|cell| cell.spares(self.started))
    }
}

/// A stored response's place in the figures of its names, until it leaves the store or a purge takes it out.
#[derive(Debug)]
pub struct Membership {
    provenance: Provenance,
    bytes: u64,
    has_left: AtomicBool,
    /// How many purges there had been when all cells were last looked at.
    seen: AtomicU64,
}

impl Membership {
    /// Counts a response of that weight under all its names.
    pub fn new(provenance: Provenance, bytes: u64) -> Self {
        for cell in &*provenance.cells {
            let mut live = cell.live.lock();
            // Asked under the lock, like at the end: either both sides count or neither.
            if cell.spares(provenance.started) {
                live.entries += 1;
                live.bytes += bytes;
            }
        }
        Self { provenance, bytes, has_left: AtomicBool::new(false), seen: AtomicU64::new(0) }
    }

    /// Whether no purge has reached the response; two loads in the usual case.
    pub fn is_valid(&self, sequence: &Sequence) -> bool {
        let purges = sequence.purges();
        // The count starts with 1 more than was seen, so that a new response is looked at once.
        if self.seen.load(Ordering::Relaxed) == purges + 1 {
            return true;
        }
        let valid = self.provenance.is_valid();
        if valid {
            self.seen.store(purges + 1, Ordering::Relaxed);
        }
        valid
    }

    /// The response cannot be found any more.
    pub fn leave(&self) {
        if self.has_left.swap(true, Ordering::AcqRel) {
            return;
        }
        for cell in &*self.provenance.cells {
            let mut live = cell.live.lock();
            if cell.spares(self.provenance.started) {
                live.entries -= 1;
                live.bytes -= self.bytes;
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The write fence around one unsafe request.
///
/// A fetch of the same names that was under way when the write began, or that begins during the write and ends after
/// it, is neither stored nor joined: it may have seen what was there before. That holds for a write that fails, too, since
/// nobody knows how far it came. Dropping the fence ends the write; only success purges what is stored already.
#[derive(Debug)]
#[must_use = "the write is over when the fence is dropped"]
pub struct Fence {
    cells: Vec<Arc<TagCell>>,
    registry: Arc<Registry>,
}

impl Fence {
    /// The write has succeeded (RFC 9111 4.4): purges all its names and those of `also`, URLs that the answer's
    /// `Location` and `Content-Location` name on the same origin. Returns how many stored responses that drops.
    pub fn succeeded(self, also: &[&str]) -> u64 {
        let others = also.iter().filter_map(|url| self.registry.urls.find(url));
        self.registry.purge(self.cells.iter().cloned().chain(others))
    }

    /// The same, where the answer is what a GET of the target would bring now: gives what `fetch`, which began with the write,
    /// is as one that begins with this purge. `None`: another write or purge has come in between, and nobody knows which
    /// was the last.
    pub fn succeeded_as(mut self, also: &[&str], fetch: &Provenance) -> Option<Provenance> {
        let own = std::mem::take(&mut self.cells);
        let is_own = |cell: &Arc<TagCell>| own.iter().any(|own| Arc::ptr_eq(own, cell));
        let others = also.iter().filter_map(|url| self.registry.urls.find(url));
        self.registry.purge(others.filter(|other| !is_own(other)));
        let numbers: Vec<u64> = own.iter().map(|cell| self.registry.purge_one(cell)).collect();
        self.registry.sequence.finish_purge();
        // Looked at after the purge: what comes later has a higher number, and overtakes what is returned.
        let is_alone = fetch.cells.iter().all(|cell| {
            let number = own.iter().zip(&numbers).find(|(own, _)| Arc::ptr_eq(own, cell));
            cell.is_untouched(fetch.started, number.map(|(_, number)| *number))
        });
        let started = numbers.into_iter().max().filter(|_| is_alone)?;
        Some(Provenance { started, cells: Arc::clone(&fetch.cells) })
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.cells.iter().for_each(|cell| cell.fence(&self.registry.sequence));
    }
}

#[cfg(test)]
mod interleavings;

#[cfg(test)]
mod tests;
