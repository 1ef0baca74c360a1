//! What became of jobs.

use crate::metrics::Counter;

/// How a job came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its status was final.
    Done,
    /// Its lease ended.
    Expired,
    /// The upstream does not know it any more.
    Gone,
    /// An operator let it go.
    Released,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Expired, Self::Gone, Self::Released];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Released => "released",
        }
    }

    /// Whether it stays over although the upstream goes on to say that it is at work: its end was not the upstream's.
    pub(super) fn is_against_the_upstream(self) -> bool {
        matches!(self, Self::Expired | Self::Released)
    }
}

/// Counts over the life of a kind of job.
#[derive(Debug, Default)]
pub struct Figures {
    done: Counter,
    expired: Counter,
    gone: Counter,
    released: Counter,
    /// Answers to starts that named no job.
    pub unrecognised_starts: Counter,
    /// Good status answers that told no state, or for names too long to be one.
    pub unrecognised_statuses: Counter,
    /// Jobs for which there was no room.
    pub overflowed: Counter,
    /// Attempts to write the state file that failed.
    pub failed_saves: Counter,
}

impl Figures {
    /// How many came to that end.
    pub fn outcome(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::Done => &self.done,
            Outcome::Expired => &self.expired,
            Outcome::Gone => &self.gone,
            Outcome::Released => &self.released,
        }
    }

    pub(super) fn ended(&self, outcome: Outcome) {
        self.outcome(outcome).inc();
    }
}
