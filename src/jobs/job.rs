//! One job: what is known of it, and what it holds.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::{By, Outcome, Reading, Seen};
use crate::client::PartitionKey;

/// How many clients are told apart that ask about one job.
const MAX_POLLERS: usize = 32;
/// How long a client that asked counts as one that asks.
const POLLING: Duration = Duration::from_secs(60);
/// Longer addresses of a status are not kept, in bytes: such a job is not asked for.
const MAX_URL: usize = 2048;

/// Where a job's status is asked for: host, and path with query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Canonical.
    pub host: Box<str>,
    /// Canonical, from the first slash on.
    pub path: Box<str>,
}

impl Url {
    /// One that is worth keeping; `None` where it is too long.
    pub fn new(host: &str, path: &str) -> Option<Self> {
        (host.len() + path.len() <= MAX_URL).then(|| Self { host: host.into(), path: path.into() })
    }

    /// Whether both are one place, whatever the queries say.
    fn is_at(&self, other: &Self) -> bool {
        self.host == other.host && self.bare_path() == other.bare_path()
    }

    fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }
}

/// What is known of a job at its start.
#[derive(Debug, Clone)]
pub struct Start {
    /// Who started it.
    pub starter: By,
    /// Where its status will be asked for, where that can be told.
    pub url: Option<Url>,
    /// The starter's credentials, where the probe may use them.
    pub credentials: Option<HeaderMap>,
}

/// A job at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStats {
    /// Its name; `unknown-N` where its start gave none.
    pub id: String,
    /// Since its start, or since it was first seen.
    pub age: Duration,
    /// The last state that it told.
    pub state: Box<str>,
    /// Since a client's question about it last reached the upstream.
    pub last_poll: Option<Duration>,
    /// Clients whose questions reached the upstream within the last minute.
    pub pollers: usize,
    /// What is left of its lease.
    pub lease_left: Duration,
    /// Whether it was seen at work without having been started here.
    pub is_adopted: bool,
}

/// Where a job is in its life.
#[derive(Debug)]
pub(super) enum Phase<P> {
    /// At work: it holds what it holds.
    Running(Box<Job<P>>),
    /// Over, and remembered for a while: an older answer, or an upstream that goes on about it, must not bring it back.
    Over(Over),
}

/// What is remembered of a job that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    pub(super) outcome: Outcome,
    pub(super) at: Instant,
    pub(super) began: Instant,
    /// When it was last heard of.
    pub(super) last_seen: Instant,
}

/// What a status answer makes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is over.
    Ends(Outcome),
    /// It is at work still.
    GoesOn,
    /// It is at work, and nobody knew.
    IsNew,
    /// It says that it is at work, since then, and holds nothing any more.
    WasLetGo(Instant),
    /// It was over before.
    IsOver,
    /// No news.
    Nothing,
}

impl<P> Phase<P> {
    /// Every transition that an answer can cause.
    pub(super) fn verdict(phase: Option<&Self>, seen: &Seen) -> Verdict {
        match (phase, &seen.reading) {
            (Some(Self::Running(job)), _) if seen.asked < job.known_since => Verdict::Nothing,
            (Some(Self::Running(_)), Reading::Final) => Verdict::Ends(Outcome::Done),
            (Some(Self::Running(job)), Reading::Gone) if job.is_missed_by(seen) => {
                Verdict::Ends(Outcome::Gone)
            }
            (Some(Self::Running(_)), Reading::Running(_)) => Verdict::GoesOn,
            (Some(Self::Over(over)), Reading::Running(_)) if over.outcome.is_against_the_upstream() => {
                Verdict::WasLetGo(over.began)
            }
            (Some(Self::Over(over)), Reading::Running(_)) if seen.asked < over.at => Verdict::Nothing,
            (Some(Self::Over(_)) | None, Reading::Running(_)) => Verdict::IsNew,
            (Some(Self::Over(_)) | None, Reading::Final) => Verdict::IsOver,
            _ => Verdict::Nothing,
        }
    }
}

/// A job at work.
#[derive(Debug)]
pub(super) struct Job<P> {
    pub(super) held: P,
    pub(super) began: Instant,
    /// What was asked for before is about another job of that name.
    pub(super) known_since: Instant,
    pub(super) state: Box<str>,
    /// Known of a job that was started here, in this process.
    pub(super) starter: Option<By>,
    pub(super) is_adopted: bool,
    pub(super) url: Option<Url>,
    pub(super) credentials: Option<HeaderMap>,
    /// When forebay will ask for it, unless there is news before.
    pub(super) probe_at: Instant,
    last_poll: Option<Instant>,
    pollers: Vec<(PartitionKey, Instant)>,
}

impl<P> Job<P> {
    /// One that was started here.
    pub(super) fn started(start: Start, held: P, now: Instant, probe: Duration) -> Self {
        let Start { starter, url, credentials } = start;
        let job = Self::adopted(held, now, now, now + probe);
        Self { starter: Some(starter), url, credentials, is_adopted: false, ..job }
    }

    /// One that is at work already.
    pub(super) fn adopted(held: P, began: Instant, known_since: Instant, probe_at: Instant) -> Self {
        Self {
            held,
            began,
            known_since,
            state: Box::default(),
            starter: None,
            is_adopted: true,
            url: None,
            credentials: None,
            probe_at,
            last_poll: None,
            pollers: Vec::new(),
        }
    }

    /// One that was started before this process was, to be asked for at once.
    pub(super) fn restored(held: P, began: Instant, now: Instant, url: Option<Url>) -> Self {
        Self { url, is_adopted: false, ..Self::adopted(held, began, now, now) }
    }

    /// Whether a 404 counts: for who may not see the job there is none, and elsewhere there never was.
    pub(super) fn is_missed_by(&self, seen: &Seen) -> bool {
        let is_here = || match (&self.url, &seen.url) {
            (Some(own), Some(asked)) => own.is_at(asked),
            (None, _) => true,
            (Some(_), None) => false,
        };
        seen.by == By::Probe || self.starter.is_some_and(|starter| starter.is(seen.by)) && is_here()
    }

    /// A question about it was answered.
    pub(super) fn polled(&mut self, seen: &Seen, now: Instant) {
        // Only where it was found: a stranger must not send the probe astray.
        if self.url.is_none() && matches!(seen.reading, Reading::Running(_)) {
            self.url.clone_from(&seen.url);
        }
        let By::Poller { client, .. } = seen.by else { return };
        self.last_poll = Some(now);
        self.pollers.retain(|(other, at)| *other != client && now.saturating_duration_since(*at) < POLLING);
        if self.pollers.len() < MAX_POLLERS {
            self.pollers.push((client, now));
        }
    }

    pub(super) fn stats(&self, id: String, lease_end: Instant, now: Instant) -> JobStats {
        let since = |at: Instant| now.saturating_duration_since(at);
        JobStats {
            id,
            age: since(self.began),
            state: self.state.clone(),
            last_poll: self.last_poll.map(since),
            pollers: self.pollers.iter().filter(|(_, at)| since(*at) < POLLING).count(),
            lease_left: lease_end.saturating_duration_since(now),
            is_adopted: self.is_adopted,
        }
    }
}

/// What a job goes by in its table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// The upstream's name for it.
    Named(Arc<str>),
    /// A start that named none.
    Nameless(u64),
}

impl Key {
    pub(super) fn named(id: &str) -> Self {
        Self::Named(Arc::from(id))
    }

    /// For people; read back by [`Key::of_nameless`].
    pub(super) fn text(&self) -> String {
        match self {
            Self::Named(id) => id.to_string(),
            Self::Nameless(number) => format!("unknown-{number}"),
        }
    }

    pub(super) fn of_nameless(text: &str) -> Option<Self> {
        text.strip_prefix("unknown-")?.parse().ok().map(Self::Nameless)
    }
}
