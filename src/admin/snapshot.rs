//! The figures of one moment, as plain data.
//!
//! Everything that `/metrics` and the JSON endpoints show comes from here, so the two cannot disagree and both are
//! tested without a running proxy. [`Snapshot::take`] is where a figure of a stage becomes one that is shown.

#[cfg(test)]
mod example;
mod take;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::admission::Waiting;
use crate::metrics::{CacheResult, DedupeResult, HistogramSnapshot, RequestCount, UnreadBody};

/// All figures.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When the process began.
    pub started: SystemTime,
    /// Whether it is on its way out.
    pub is_draining: bool,
    /// How long it has been running.
    pub uptime: Duration,
    /// By route; the one without a name counts requests that no route matched.
    pub routes: Vec<RouteFigures>,
    /// The cache as a whole.
    pub cache: CacheFigures,
    /// By rate limit.
    pub rate_limits: Vec<LimitFigures>,
    /// By in-flight pool.
    pub pools: Vec<PoolFigures>,
    /// By kind of job.
    pub jobs: Vec<JobFigures>,
    /// By upstream.
    pub upstreams: Vec<UpstreamFigures>,
    /// Open connections of the public listener.
    pub connections: i64,
    /// TLS handshakes with clients that came to nothing.
    pub failed_handshakes: u64,
    /// Connections turned away because their address had as many as it may.
    pub connections_refused: u64,
    /// Connections of HTTP/2 that ended because their client flooded them.
    pub floods: u64,
    /// Requests that could not be read as HTTP/1.1.
    pub unreadable_heads: u64,
    /// Streams of HTTP/2 that were reset because their client took nothing.
    pub stalled_streams: u64,
    /// Requests whose processing failed in forebay itself.
    pub panics: u64,
    /// Reloads of the configuration.
    pub reloads: ReloadFigures,
    /// Lines that the program's log and the access log could not write.
    pub log_lines_dropped: u64,
}

/// What one route has answered.
#[derive(Debug, Clone)]
pub struct RouteFigures {
    /// Its name.
    pub name: Arc<str>,
    /// Answered requests by method and status.
    pub requests: Vec<RequestCount>,
    /// How long they took.
    pub duration: HistogramSnapshot,
    /// Begun and not answered yet.
    pub in_progress: i64,
    /// By [`CacheResult`], in the order of [`CacheResult::ALL`].
    pub cache: [u64; CacheResult::ALL.len()],
    /// Bodies that could not be asked for a lifetime, by [`UnreadBody`], in the order of [`UnreadBody::ALL`].
    pub unread: [u64; UnreadBody::ALL.len()],
    /// Upstream requests that the cache saved.
    pub saved_by_cache: u64,
    /// Upstream requests that collapsing saved.
    pub saved_by_collapse: u64,
    /// Upstream requests that equal starts saved.
    pub saved_by_dedupe: u64,
    /// By [`DedupeResult`], in the order of [`DedupeResult::ALL`].
    pub dedupe: [u64; DedupeResult::ALL.len()],
    /// How long the upstream would have worked on them.
    pub time_saved: Duration,
    /// Stored responses.
    pub entries: u64,
    /// Their size in memory.
    pub bytes: u64,
    /// How many have gone before something took their place.
    pub evictions: u64,
}

impl RouteFigures {
    /// All answered requests.
    pub fn total(&self) -> u64 {
        self.requests.iter().map(|request| request.count).sum()
    }
}

/// What is stored.
#[derive(Debug, Clone, Default)]
pub struct CacheFigures {
    /// Stored responses.
    pub entries: u64,
    /// Their size in memory.
    pub bytes: u64,
    /// What that may be.
    pub max_bytes: u64,
    /// Responses removed, by cause.
    pub evictions: Vec<(&'static str, u64)>,
    /// Responses that were not stored for want of room.
    pub refused: u64,
}

/// What one rate limit has decided.
#[derive(Debug, Clone)]
pub struct LimitFigures {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, in words.
    pub rule: String,
    /// False in observe mode.
    pub is_enforced: bool,
    /// Clients it remembers.
    pub keys: u64,
    /// Clients it can remember.
    pub max_keys: u64,
    /// Requests let through.
    pub allowed: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests that enforcing would have refused.
    pub would_refuse: u64,
    /// Requests of unknown clients that were counted together, because the table was full.
    pub overflowed: u64,
}

/// One in-flight pool.
#[derive(Debug, Clone)]
pub struct PoolFigures {
    /// Its name.
    pub name: Arc<str>,
    /// False in observe mode.
    pub is_enforced: bool,
    /// Permits held.
    pub active: u64,
    /// Permits there are.
    pub max: u64,
    /// Permits that one key may hold.
    pub per_key_max: Option<u64>,
    /// For how long a permit is held, on average.
    pub mean_hold: Option<Duration>,
    /// The waiting line.
    pub queue: QueueFigures,
    /// Requests turned away, by reason.
    pub shed: Vec<(&'static str, u64)>,
}

/// The waiting line of an in-flight pool.
#[derive(Debug, Clone, Default)]
pub struct QueueFigures {
    /// Requests in it.
    pub depth: u64,
    /// Requests it holds; zero without a queue.
    pub size: u64,
    /// How long the first of them has waited.
    pub oldest_wait: Option<Duration>,
    /// How long those that got through had waited.
    pub wait: HistogramSnapshot,
    /// Requests in it that wait for a permit of their own key.
    pub held_back: u64,
    /// The next in line.
    pub next: Vec<Waiting>,
}

/// One kind of job.
#[derive(Debug, Clone)]
pub struct JobFigures {
    /// Its name.
    pub name: Arc<str>,
    /// Jobs at work.
    pub active: u64,
    /// Jobs that are over, by how they ended.
    pub ended: Vec<(&'static str, u64)>,
    /// Answers that did not say what they should, by what was asked.
    pub unrecognised: [(&'static str, u64); 2],
    /// Jobs for which there was no room.
    pub overflowed: u64,
    /// Times that the state file could not be written.
    pub failed_saves: u64,
}

/// One upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFigures {
    /// Its name.
    pub name: Arc<str>,
    /// Attempts by what they ended with: a status, `error`, `cancelled`.
    pub requests: Vec<(Cow<'static, str>, u64)>,
    /// From the request to the first byte of its response.
    pub duration: HistogramSnapshot,
    /// Attempts that were repeated.
    pub retries: u64,
    /// Its servers.
    pub servers: Vec<ServerFigures>,
}

/// One server of an upstream.
#[derive(Debug, Clone, Default)]
pub struct ServerFigures {
    /// Host and port.
    pub server: String,
    /// In words.
    pub state: &'static str,
    /// Whether requests are sent to it.
    pub is_healthy: bool,
    /// Whether the next request may reach it.
    pub may_be_asked: bool,
    /// How often its breaker changed, by what it became.
    pub breaker: [(&'static str, u64); 3],
    /// Health checks, by how they ended.
    pub checks: [(&'static str, u64); 2],
    /// Look-ups of its name, by how they ended.
    pub look_ups: [(&'static str, u64); 2],
    /// Connections, idle ones included.
    pub open: u64,
    /// Connections that wait for a request.
    pub idle: u64,
    /// Connections there may be; `None` without a cap.
    pub max: Option<u64>,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Requests that waited for a connection in vain.
    pub timeouts: u64,
    /// Connections made.
    pub created: u64,
    /// Connections closed for their age.
    pub recycled: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Mean time to connect.
    pub mean_connect: Option<Duration>,
    /// Mean time to the first byte of a response.
    pub mean_first_byte: Option<Duration>,
}

/// Reloads since the start.
#[derive(Debug, Clone, Copy)]
pub struct ReloadFigures {
    /// Those that took effect.
    pub succeeded: u64,
    /// Those that changed nothing, because of an error.
    pub failed: u64,
    /// Whether the last one took effect; true before the first.
    pub last_succeeded: bool,
}
