//! Work that goes on after the response that started it: a job holds the permit of its start until it is over.
//!
//! [`Jobs`] is the table of one `[jobs.NAME]`. A start whose answer names a job puts it in ([`Jobs::start`]); every status
//! answer that comes from the upstream is told to it ([`Jobs::observe`]); time ends what nobody ends
//! ([`Jobs::tend`]). What a job holds is opaque (`P`): dropping it gives it back.
//!
//! Promises: what a job holds is given back exactly once, by a final status, a 404 or 410 that counts, the end of its
//! lease, or an operator; an answer that is older than the news it brings changes nothing; a job that was seen at work
//! without having been started here is taken in, but not one whose lease has ended or that an operator has let go;
//! the table is bounded, whatever clients ask for and upstreams answer.

mod figures;
mod file;
mod job;
mod keeper;
mod pace;
mod reading;
mod restart;
mod table;

pub use figures::{Figures, Outcome};
pub use file::Unusable;
pub use job::{JobStats, Start, Url};
pub use keeper::{Bells, keep};
pub use pace::Pace;
pub use reading::{MAX_ID, Reading, StartReading};
pub use restart::{Starting, Wait, keep_written};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::restart::Durability;
use self::table::{Started, Table};
use crate::client::{Identity, PartitionKey};
use crate::clock::Clock;
use crate::http::json::Pointer;

/// What a kind of job is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// The route whose 2xx starts a job, and the one that tells how it is: by these a renamed kind is found again.
    pub routes: (Arc<str>, Arc<str>),
    /// Where a start's answer names the job.
    pub id: Pointer,
    /// Where a status answer tells its state.
    pub state: Pointer,
    /// The states that are final.
    pub done: Box<[Box<str>]>,
    /// The pool that a job's permit is of.
    pub holds: Option<Arc<str>>,
    /// After which a job is over, whatever it says.
    pub lease: Duration,
    /// How long nothing is heard of a job before it is asked for.
    pub probe: Duration,
    /// How long a start that names no job keeps its permit.
    pub unknown_hold: Duration,
    /// What pollers are told.
    pub pace: Pace,
    /// Where jobs survive a restart.
    pub state_file: Option<PathBuf>,
}

/// The jobs of one kind.
#[derive(Debug)]
pub struct Jobs<P> {
    clock: Clock,
    table: Mutex<Table<P>>,
    durability: Durability,
    bells: Arc<Bells>,
    has_warned: AtomicBool,
    /// What became of them.
    pub figures: Figures,
}

/// A status answer that came from the upstream.
#[derive(Debug)]
pub struct Seen {
    /// What it says.
    pub reading: Reading,
    /// When it was asked for: what has happened since is news to it.
    pub asked: Instant,
    /// Who asked.
    pub by: By,
    /// Where it was asked for.
    pub url: Option<Url>,
}

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A client.
    Poller {
        /// Its credentials.
        identity: Identity,
        /// Its address.
        client: PartitionKey,
    },
    /// forebay itself.
    Probe,
}

impl By {
    /// Whether both are one. Clients without credentials are told apart by address.
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Poller { identity: one @ Identity::Known(_), .. }, Self::Poller { identity, .. }) => {
                one == identity
            }
            (one, other) => one == other,
        }
    }
}

/// How a job stands after a status answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has been at work for that long.
    Running(Duration),
    /// It is over.
    Final,
    /// The answer does not say.
    Unknown,
}

/// A job that nobody has asked about for so long that we do.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What it is called.
    pub id: Arc<str>,
    /// Where to ask.
    pub url: Url,
    /// Its starter's credentials, where they may be used.
    pub credentials: Option<HeaderMap>,
}

impl<P> Jobs<P> {
    /// No jobs.
    pub fn new(spec: Spec, clock: Clock, bells: Arc<Bells>) -> Self {
        Self {
            clock,
            table: Mutex::new(Table::new(spec)),
            durability: Durability::default(),
            bells,
            has_warned: AtomicBool::new(false),
            figures: Figures::default(),
        }
    }

    /// Takes on other settings. Jobs stay; where they now hold something else, `hold` gives it to each of them.
    pub fn reconfigure(&self, spec: Spec, hold: impl FnMut() -> P) {
        let given_back = self.table.lock().reconfigure(spec, hold);
        drop(given_back);
        self.changed();
    }

    /// A start was answered and names a job, which holds `permit` from now on. The same name again is the same job, with
    /// a new lease: it holds one permit.
    pub fn start(&self, id: &str, start: Start, permit: P) {
        let now = self.clock.now();
        let Started { given_back, is_full } = self.table.lock().start(id, start, permit, now);
        if is_full {
            self.figures.overflowed.inc();
        }
        drop(given_back);
        self.changed();
    }

    /// A start was answered, or broke off, and names no job: the permit is kept for `unknown_hold`.
    pub fn start_unknown(&self, permit: P) {
        let kept = self.table.lock().start_nameless(permit, self.clock.now());
        drop(kept);
        self.changed();
        self.figures.unrecognised_starts.inc();
    }

    /// True once: whoever wants to complain about answers without a name does it now.
    pub fn is_first_warning(&self) -> bool {
        !self.has_warned.swap(true, Ordering::Relaxed)
    }

    /// What a job goes by that a path calls so. Servers read several spellings of a name as one (`7` and `07`): what is not
    /// known by the path's goes by its `own`, or each of them would be taken in as another job.
    pub fn name(&self, in_path: String, own: impl FnOnce() -> Option<Box<str>>) -> String {
        if self.table.lock().knows(&in_path) {
            return in_path;
        }
        own().map_or(in_path, String::from)
    }

    /// A status answer came. `hold` gives what a job holds that is seen at work and was not started here.
    pub fn observe(&self, id: &str, seen: &Seen, hold: impl FnOnce() -> P) -> Standing {
        if seen.reading == Reading::Unreadable {
            self.figures.unrecognised_statuses.inc();
        }
        let observed = self.table.lock().observe(id, seen, hold, self.clock.now());
        if observed.is_full {
            self.figures.overflowed.inc();
        }
        if let Some((outcome, held)) = observed.ended {
            self.figures.ended(outcome);
            drop(held);
        }
        if observed.has_changed {
            self.changed();
        }
        observed.standing
    }

    /// An operator lets a job go. Whether there was one of that name.
    pub fn release(&self, id: &str) -> bool {
        let released = self.table.lock().release(id, self.clock.now());
        let Some(held) = released else { return false };
        self.figures.ended(Outcome::Released);
        drop(held);
        self.changed();
        true
    }

    /// Ends the leases that are over, and says which jobs to ask for.
    pub fn tend(&self, now: Instant) -> Vec<Probe> {
        let tended = self.table.lock().tend(now);
        if !tended.expired.is_empty() {
            self.figures.outcome(Outcome::Expired).add(tended.expired.len() as u64);
            drop(tended.expired);
            self.changed();
        }
        tended.probes
    }

    /// When [`Jobs::tend`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.table.lock().next_due()
    }

    /// What it is made of now.
    pub fn spec(&self) -> Spec {
        self.table.lock().spec.clone()
    }

    /// Jobs that hold something.
    pub fn active(&self) -> usize {
        self.table.lock().active()
    }

    /// Those jobs, the oldest first.
    pub fn list(&self) -> Vec<JobStats> {
        self.table.lock().list(self.clock.now())
    }

    fn changed(&self) {
        self.durability.changed();
        self.bells.ring();
    }
}

#[cfg(test)]
mod tests;
