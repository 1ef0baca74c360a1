//! Where a name's cell is found while anybody carries it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Fence, Live, Provenance, Sequence, TagCell};

const SHARDS: usize = 16;

/// All names, by kind.
#[derive(Debug)]
pub struct Registry {
    pub(super) sequence: Sequence,
    pub(super) urls: Arc<Names>,
    tags: Arc<Names>,
    routes: Arc<Names>,
    all: Arc<TagCell>,
    /// How many stored responses purges and writes have dropped.
    dropped: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// One in which nothing is stored or under way.
    pub fn new() -> Self {
        Self {
            sequence: Sequence::default(),
            urls: Arc::default(),
            tags: Arc::default(),
            routes: Arc::default(),
            all: Arc::new(TagCell::new(Arc::from("all"), Weak::new())),
            dropped: AtomicU64::new(0),
        }
    }

    /// The order of things.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// A fetch of `url` begins, under a route's name and tags.
    pub fn begin<T: AsRef<str>>(&self, route: &str, url: &str, tags: &[T]) -> Provenance {
        let named = [Arc::clone(&self.all), self.routes.find_or_make(route), self.urls.find_or_make(url)];
        let tagged = tags.iter().map(|tag| self.tags.find_or_make(tag.as_ref()));
        Provenance::starting_now(named.into_iter().chain(tagged).collect(), &self.sequence)
    }

    /// A write to `url` begins, which will touch what carries these tags too.
    pub fn fence<T: AsRef<str>>(self: &Arc<Self>, url: &str, tags: &[T]) -> Fence {
        let tagged = tags.iter().map(|tag| self.tags.find_or_make(tag.as_ref()));
        let cells: Vec<_> = std::iter::once(self.urls.find_or_make(url)).chain(tagged).collect();
        cells.iter().for_each(|cell| cell.fence(&self.sequence));
        Fence { cells, registry: Arc::clone(self) }
    }

    /// Drops everything; like its siblings it returns how many stored responses that are.
    pub fn purge_all(&self) -> u64 {
        self.purge([Arc::clone(&self.all)])
    }

    /// Drops what a route has stored.
    pub fn purge_route(&self, name: &str) -> u64 {
        self.purge(self.routes.find(name))
    }

    /// Drops what carries a tag.
    pub fn purge_tag(&self, name: &str) -> u64 {
        self.purge(self.tags.find(name))
    }

    /// Drops all variants of one URL, `host/path?query`.
    pub fn purge_url(&self, url: &str) -> u64 {
        self.purge(self.urls.find(url))
    }

    /// Drops a path with its query, on every host. Walks all URLs.
    pub fn purge_path(&self, path: &str) -> u64 {
        self.purge(self.urls.matching(|url| path_of(url) == path))
    }

    /// Drops every URL that begins so: on every host if the prefix begins with `/`. Walks all URLs.
    pub fn purge_prefix(&self, prefix: &str) -> u64 {
        let begins = |url: &str| {
            let url = if prefix.starts_with('/') { path_of(url) } else { url };
            url.starts_with(prefix)
        };
        self.purge(self.urls.matching(begins))
    }

    /// What a route has stored.
    pub fn route_live(&self, name: &str) -> Live {
        self.routes.find(name).map(|cell| cell.live()).unwrap_or_default()
    }

    /// What is stored at all.
    pub fn all_live(&self) -> Live {
        self.all.live()
    }

    /// How many names are carried.
    pub fn names(&self) -> usize {
        self.urls.len() + self.tags.len() + self.routes.len()
    }

    /// How many stored responses have been dropped so far; their memory is there until a sweep.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Drops what carries these names: a few numbers change, however much that is.
    pub(super) fn purge(&self, cells: impl IntoIterator<Item = Arc<TagCell>>) -> u64 {
        let dropped = cells.into_iter().map(|cell| cell.purge(&self.sequence).1.entries).sum();
        self.sequence.finish_purge();
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        dropped
    }

    /// Drops what carries one name; the purge, whose number this returns, is still to be finished.
    pub(super) fn purge_one(&self, cell: &TagCell) -> u64 {
        let (number, live) = cell.purge(&self.sequence);
        self.dropped.fetch_add(live.entries, Ordering::Relaxed);
        number
    }
}

fn path_of(url: &str) -> &str {
    url.find('/').and_then(|slash| url.get(slash..)).unwrap_or_default()
}

/// The names of one kind.
#[derive(Debug, Default)]
pub(super) struct Names {
    hasher: RandomState,
    shards: [Mutex<HashMap<Arc<str>, Weak<TagCell>>>; SHARDS],
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<Arc<TagCell>> {
        self.shard(name).lock().get(name).and_then(Weak::upgrade)
    }

    fn find_or_make(self: &Arc<Self>, name: &str) -> Arc<TagCell> {
        let mut shard = self.shard(name).lock();
        if let Some(cell) = shard.get(name).and_then(Weak::upgrade) {
            return cell;
        }
        let name: Arc<str> = Arc::from(name);
        let cell = Arc::new(TagCell::new(Arc::clone(&name), Arc::downgrade(self)));
        shard.insert(name, Arc::downgrade(&cell));
        cell
    }

    fn matching(&self, wanted: impl Fn(&str) -> bool) -> Vec<Arc<TagCell>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let cells = shard.iter().filter(|(name, _)| wanted(name));
            // Kept beyond the lock: the last owner's drop takes it.
            found.extend(cells.filter_map(|(_, cell)| cell.upgrade()));
        }
        found
    }

    /// Called when a cell has gone; a new one of the same name may stand in its place already.
    pub(super) fn forget(&self, name: &str) {
        let mut shard = self.shard(name).lock();
        if shard.get(name).is_some_and(|cell| cell.strong_count() == 0) {
            shard.remove(name);
        }
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    #[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "a remainder of SHARDS")]
    fn shard(&self, name: &str) -> &Mutex<HashMap<Arc<str>, Weak<TagCell>>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}
