//! How many requests may be in flight at once.
//!
//! Promises: never more permits than `max`, nor than `per` for one key; a permit is given back exactly once, when it is
//! dropped, wherever that happens; a waiter that leaves is forgotten at once, and a permit on its way to it goes to the
//! next; who waits is served by priority, within a priority by turns among the clients, and nobody waits for ever
//! behind the more important; a waiter that its own key's cap holds back holds back nobody else.

mod adaptive;
mod pace;
mod permit;
mod pool;
mod queue;
mod state;
mod sync;

pub use permit::Permit;
pub use pool::{Pool, PoolStats, Waiting};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::client::{KeySpec, PartitionKey};

/// The most important priority.
pub const HIGHEST_PRIORITY: u8 = 9;

/// What a pool is made of.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// How many permits there are; with 0 everything is refused.
    pub max: usize,
    /// The pool finds out by itself how many there are, between these; `max` is where it begins.
    pub auto: Option<Auto>,
    /// How many of them for one key, and what the key is.
    pub per: Option<(KeySpec, usize)>,
    /// Where requests wait; without it they are refused at once.
    pub queue: Option<QueueSpec>,
    /// The status of a refusal (that of a wait that took too long is always 503).
    pub status: StatusCode,
    /// Count, never refuse.
    pub observe: bool,
}

/// Between what a pool finds its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auto {
    /// The least, at least 1.
    pub min: usize,
    /// The most, at least the least.
    pub max: usize,
}

impl Auto {
    fn clamp(self, limit: usize) -> usize {
        limit.min(self.max).max(self.min)
    }
}

/// How the upstream took one request that held a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was sent.
    pub began: Instant,
    /// How it went.
    pub verdict: Verdict,
    /// How long it was expected to take, where that is known.
    pub target: Option<Duration>,
}

/// How one request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered after this time.
    Answered(Duration),
    /// There was no answer, none in time, or one that says that it was too much.
    Failed,
}

/// How many may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSpec {
    /// How many.
    pub size: usize,
    /// How long. In each tenth of it a waiter rises by one priority.
    pub timeout: Duration,
}

impl QueueSpec {
    /// How long one waits for a priority more: even the last is among the first before its time is up.
    fn ageing_step(self) -> Duration {
        self.longest_wait() / 10
    }

    /// The timeout, within what the clock can express.
    fn longest_wait(self) -> Duration {
        const LONGEST: Duration = Duration::from_hours(24 * 366);
        self.timeout.min(LONGEST)
    }
}

/// Who asks for a permit.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// The key that `per` counts by; none where the pool has no such cap.
    pub per_key: Option<PartitionKey>,
    /// Among whom turns are taken.
    pub client: PartitionKey,
    /// 0 (last) to 9 (first).
    pub priority: u8,
}

/// A request was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shed {
    /// By which pool.
    pub pool: Arc<str>,
    /// Why.
    pub reason: ShedReason,
    /// When there is likely to be room: the mean time for which a permit is held, once for each round of `max`
    /// permits that will be served before; a second at least.
    pub retry_after: Duration,
    /// What to answer.
    pub status: StatusCode,
}

/// Why a request was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShedReason {
    /// No permit is free, and there is no queue.
    Full,
    /// The key has all the permits that one key may have, and there is no queue.
    PerKey,
    /// The queue is full, or a full queue made room for somebody more important.
    QueueFull,
    /// Before its turn came, more time would pass than the queue allows.
    TooLong,
    /// It waited as long as the queue allows.
    Timeout,
    /// Nothing happened: the pool only observes, and would have let it wait.
    WouldQueue,
    /// Nothing happened: the pool only observes, and would have refused.
    WouldRefuse,
}

impl ShedReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::PerKey,
        Self::QueueFull,
        Self::TooLong,
        Self::Timeout,
        Self::WouldQueue,
        Self::WouldRefuse,
    ];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::PerKey => "per_key",
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::Timeout => "timeout",
            Self::WouldQueue => "would_queue",
            Self::WouldRefuse => "would_refuse",
        }
    }
}

/// For people.
impl fmt::Display for ShedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full | Self::WouldQueue | Self::WouldRefuse => "no permit is free",
            Self::PerKey => "no more permits for one key",
            Self::QueueFull => "its queue is full",
            Self::TooLong => "no permit will be free in time",
            Self::Timeout => "no permit was free in time",
        })
    }
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in-flight pool {}: {}", self.pool, self.reason)
    }
}

impl std::error::Error for Shed {}

#[cfg(test)]
mod tests;
