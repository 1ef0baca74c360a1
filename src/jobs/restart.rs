//! Across restarts: jobs are written down when one begins or ends, off everybody's way, and brought back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::file::{self, Saved, SavedJob, Unusable};
use super::job::Key;
use super::table::MAX_ACTIVE;
use super::{Bells, Jobs, Url};

/// How long a start waits to be written down; a disk that hangs must not hold work up for good.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Until a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How far the state file is behind the table.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// Counts changes.
    revision: AtomicU64,
    /// The last change that is in the file.
    saved: watch::Sender<u64>,
    is_restored: AtomicBool,
    /// Whether the last attempt to write failed.
    is_failing: AtomicBool,
    /// Starts under way.
    starting: AtomicUsize,
    /// Held while the file is written, for whoever asked for it may have left: the last change that was.
    writing: Arc<Mutex<u64>>,
}

/// A start under way. Whether it begins a job or not is not known before it is answered, so it counts as one.
#[derive(Debug)]
pub struct Starting<P> {
    jobs: Arc<Jobs<P>>,
}

impl Durability {
    pub(super) fn changed(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }
}

impl<P> Jobs<P> {
    /// A start is about to be sent.
    pub fn starting(self: &Arc<Self>) -> Starting<P> {
        self.durability.starting.fetch_add(1, Ordering::AcqRel);
        self.changed();
        Starting { jobs: Arc::clone(self) }
    }

    /// Brings back what the state file holds, the first time that it is called. `hold` gives what each of them holds.
    ///
    /// # Errors
    /// The file is there and of no use; no job is brought back then.
    pub fn restore(&self, mut hold: impl FnMut() -> P) -> Result<usize, Unusable> {
        let spec = self.spec();
        let (Some(path), false) = (spec.state_file, self.durability.is_restored.swap(true, Ordering::AcqRel))
        else {
            return Ok(0);
        };
        let Some(saved) = file::read(&path)? else { return Ok(0) };
        let (now, mut table) = (self.clock.now(), self.table.lock());
        let mut given_back = Vec::new();
        for SavedJob { id, began, host, path } in &saved.jobs {
            if !super::reading::is_name(id) {
                continue;
            }
            let age = self.clock.wall(now).duration_since(UNIX_EPOCH + Duration::from_millis(*began));
            let began = now.checked_sub(age.unwrap_or_default()).unwrap_or(now);
            let url = host.as_deref().zip(path.as_deref()).and_then(|(host, path)| Url::new(host, path));
            given_back.extend(table.restore(id, url, began, hold(), now));
        }
        for _ in 0..saved.nameless.min(MAX_ACTIVE) {
            given_back.extend(table.start_nameless(hold(), now));
        }
        let restored = table.active();
        drop(table);
        drop(given_back);
        self.durability.changed();
        self.bells.ring();
        Ok(restored)
    }

    /// Writes the state file, where there is one and something has changed.
    pub async fn save(&self) {
        let Some((path, bytes, revision)) = self.unsaved() else { return };
        let shown = path.display().to_string();
        let turn = Arc::clone(&self.durability.writing);
        let write = move || {
            let mut last = turn.lock();
            if *last < revision {
                file::replace(&path, &bytes)?;
                *last = revision;
            }
            Ok(())
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        let was_failing = self.durability.is_failing.swap(written.is_err(), Ordering::AcqRel);
        match written {
            Ok(()) => drop(self.durability.saved.send_replace(revision)),
            Err(error) => {
                self.figures.failed_saves.inc();
                if !was_failing {
                    tracing::warn!(%error, file = shown, "jobs cannot be written down: they would not survive a restart");
                }
            }
        }
    }

    /// Whether the file lacks something that can be written.
    fn is_behind(&self) -> bool {
        *self.durability.saved.borrow() < self.durability.revision.load(Ordering::Acquire)
    }

    fn unsaved(&self) -> Option<(PathBuf, Vec<u8>, u64)> {
        if !self.is_behind() {
            return None;
        }
        // Before the table is read: what changes meanwhile is written the next time.
        let revision = self.durability.revision.load(Ordering::Acquire);
        let starting = self.durability.starting.load(Ordering::Acquire);
        let (now, table) = (self.clock.now(), self.table.lock());
        let path = table.spec.state_file.clone()?;
        let (mut nameless, mut jobs) = (starting, Vec::new());
        for (key, job) in table.running() {
            match key {
                Key::Nameless(_) => nameless += 1,
                Key::Named(id) => jobs.push(SavedJob {
                    id: id.to_string(),
                    began: millis(self.clock.wall(now) - now.saturating_duration_since(job.began)),
                    host: job.url.as_ref().map(|url| url.host.to_string()),
                    path: job.url.as_ref().map(|url| url.path.to_string()),
                }),
            }
        }
        drop(table);
        Some((path, Saved::new(nameless, jobs).to_bytes(), revision))
    }

    /// Waits until all that has changed so far is in the state file, where there is one; not for long where it cannot be
    /// written.
    pub async fn written_down(&self) {
        let revision = self.durability.revision.load(Ordering::Acquire);
        if self.table.lock().spec.state_file.is_none() {
            return;
        }
        let mut saved = self.durability.saved.subscribe();
        let is_written = saved.wait_for(|saved| *saved >= revision);
        let _ = tokio::time::timeout(LONGEST_WAIT, is_written).await;
    }
}

impl<P> Starting<P> {
    /// Waits until the start is written down, where a restart is to know of it: a process that is killed while the
    /// upstream begins a job must not forget that there is one.
    pub async fn written_down(&self) {
        if !self.jobs.spec().unknown_hold.is_zero() {
            self.jobs.written_down().await;
        }
    }
}

impl<P> Drop for Starting<P> {
    fn drop(&mut self) {
        self.jobs.durability.starting.fetch_sub(1, Ordering::AcqRel);
        self.jobs.changed();
    }
}

/// Writes the state files when something changes, for as long as it is polled.
pub async fn keep_written<P>(tables: impl Fn() -> Vec<Arc<Jobs<P>>>, bells: &Bells) {
    loop {
        let mut is_failing = false;
        for table in tables() {
            table.save().await;
            is_failing |= table.durability.is_failing.load(Ordering::Acquire);
        }
        if is_failing {
            tokio::time::sleep(RETRY).await;
        } else {
            bells.file_rung().await;
        }
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
