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

/// How long a start waits to be written down, all in all; a disk that hangs must not hold work up for good.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Until a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How far the state file is behind the table.
#[derive(Debug, Default)]
pub(super) struct Durability {
    /// Counts changes.
    revision: AtomicU64,
    progress: watch::Sender<Progress>,
    is_restored: AtomicBool,
    /// Starts under way.
    starting: AtomicUsize,
    /// Held while the file is written, for whoever asked for it may have left: the last change that was.
    writing: Arc<Mutex<u64>>,
}

/// What became of the writing.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The last change that is in the file.
    saved: u64,
    /// Whether the last attempt failed.
    is_failing: bool,
}

/// A start under way. Whether it begins a job or not is not known before it is answered, so it counts as one.
#[derive(Debug)]
pub struct Starting<P> {
    wait: Wait<P>,
}

/// What a start waits for: that the file has it, before it is sent and when its job is known. For both it waits two
/// seconds at most.
#[derive(Debug)]
pub struct Wait<P> {
    jobs: Arc<Jobs<P>>,
    left: Duration,
}

impl Durability {
    pub(super) fn changed(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// An attempt to write is over. Whether the one before it failed.
    fn note(&self, revision: u64, is_written: bool) -> bool {
        let mut was_failing = false;
        self.progress.send_modify(|progress| {
            was_failing = std::mem::replace(&mut progress.is_failing, !is_written);
            if is_written {
                progress.saved = revision;
            }
        });
        was_failing
    }
}

impl<P> Jobs<P> {
    /// A start is about to be sent.
    pub fn starting(self: &Arc<Self>) -> Starting<P> {
        self.durability.starting.fetch_add(1, Ordering::AcqRel);
        self.changed();
        Starting { wait: Wait { jobs: Arc::clone(self), left: LONGEST_WAIT } }
    }

    /// Brings back what the state file holds, the first time that it is called. `hold` gives what each of them holds. The
    /// file is written then, so that one that cannot be is told of before anybody relies on it.
    ///
    /// # Errors
    /// The file is there and of no use; no job is brought back then.
    pub fn restore(&self, mut hold: impl FnMut() -> P) -> Result<usize, Unusable> {
        let spec = self.spec();
        let (Some(path), false) = (spec.state_file, self.durability.is_restored.swap(true, Ordering::AcqRel))
        else {
            return Ok(0);
        };
        let saved = file::read(&path).inspect_err(|unusable| {
            if matches!(unusable, Unusable::SetAside(_)) {
                self.changed();
            }
        })?;
        let Some(saved) = saved else {
            self.changed();
            return Ok(0);
        };
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
        self.changed();
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
        let was_failing = self.durability.note(revision, written.is_ok());
        if let Err(error) = written {
            self.figures.failed_saves.inc();
            if !was_failing {
                tracing::warn!(%error, file = shown, "jobs cannot be written down: they would not survive a restart");
            }
        }
    }

    /// Whether the file lacks something that can be written.
    fn is_behind(&self) -> bool {
        self.durability.progress.borrow().saved < self.durability.revision.load(Ordering::Acquire)
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
}

impl<P> Starting<P> {
    /// Waits until the start is written down, where a restart is to know of it: a process that is killed while the
    /// upstream begins a job must not forget that there is one.
    pub async fn written_down(&mut self) {
        if !self.wait.jobs.spec().unknown_hold.is_zero() {
            self.wait.written_down().await;
        }
    }

    /// What is left to wait for once the job is known.
    pub fn wait(&self) -> Wait<P> {
        Wait { jobs: Arc::clone(&self.wait.jobs), left: self.wait.left }
    }
}

impl<P> Wait<P> {
    /// Waits until all that has changed so far is in the state file, where there is one that can be written.
    pub async fn written_down(&mut self) {
        let Jobs { clock, table, durability, .. } = &*self.jobs;
        let revision = durability.revision.load(Ordering::Acquire);
        if table.lock().spec.state_file.is_none() {
            return;
        }
        let mut progress = durability.progress.subscribe();
        let began = clock.now();
        let is_settled = progress.wait_for(|progress| progress.saved >= revision || progress.is_failing);
        let _ = tokio::time::timeout(self.left, is_settled).await;
        self.left = self.left.saturating_sub(clock.now().saturating_duration_since(began));
    }
}

impl<P> Drop for Starting<P> {
    fn drop(&mut self) {
        self.wait.jobs.durability.starting.fetch_sub(1, Ordering::AcqRel);
        self.wait.jobs.changed();
    }
}

/// Writes the state files when something changes, for as long as it is polled.
pub async fn keep_written<P>(tables: impl Fn() -> Vec<Arc<Jobs<P>>>, bells: &Bells) {
    loop {
        let mut is_failing = false;
        for table in tables() {
            table.save().await;
            is_failing |= table.durability.progress.borrow().is_failing;
        }
        // One that fails holds up no other: what changes is written at once.
        tokio::select! {
            () = bells.file_rung() => {}
            () = tokio::time::sleep(RETRY), if is_failing => {}
        }
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
