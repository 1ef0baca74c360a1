//! What an operator sees of a server's pool.

use std::time::Duration;

use super::Pool;
use crate::metrics::TimeTotal;
use crate::upstream::ServerState;

/// What `/api/pool/stats` shows of a server.
#[derive(Debug, Clone)]
pub struct ServerStats {
    /// `host:port`.
    pub server: String,
    /// Whether it gets requests.
    pub state: ServerState,
    /// How often its breaker opened.
    pub opened: u64,
    /// How often a request tried whether it is back.
    pub half_opened: u64,
    /// How often that brought it back.
    pub closed: u64,
    /// Health checks that it passed.
    pub checks_passed: u64,
    /// Health checks that it failed.
    pub checks_failed: u64,
    /// Look-ups of its name that found addresses.
    pub names_found: u64,
    /// Look-ups that found none.
    pub names_failed: u64,
    /// Connections that are open, used or not.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// The cap; 0: none.
    pub max: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Requests that waited for a connection in vain.
    pub timeouts: u64,
    /// Connections opened so far.
    pub created: u64,
    /// Connections closed because they were too old or idle for too long.
    pub recycled: u64,
    /// Exchanges begun so far: each had a connection, or could not open one.
    pub requests: u64,
    /// Exchanges that ended without a response.
    pub failures: u64,
    /// Mean time to open a connection.
    pub mean_connect: Duration,
    /// Mean time to a response's head.
    pub mean_first_byte: Duration,
}

impl Pool {
    /// The pool as it is now.
    pub(in crate::upstream) fn stats(&self) -> ServerStats {
        let figures = &self.standing.figures;
        let standing = self.standing.state(self.clock.now());
        let state = self.state.lock();
        ServerStats {
            server: self.server.to_string(),
            state: standing,
            opened: figures.opened.value(),
            half_opened: figures.half_opened.value(),
            closed: figures.closed.value(),
            checks_passed: figures.checks_passed.value(),
            checks_failed: figures.checks_failed.value(),
            names_found: self.dialer.addresses.found.value(),
            names_failed: self.dialer.addresses.failed.value(),
            open: state.open.saturating_sub(state.line.dialing + state.upgrades.dialing),
            idle: state.idle.len()
                + state.shared.iter().filter(|connection| connection.streams() == 0).count(),
            max: self.limits.load().max_connections,
            waiting: state.line.present() + state.upgrades.present(),
            timeouts: self.timeouts.value(),
            created: self.created.value(),
            recycled: self.recycled.value(),
            requests: self.requests.value(),
            failures: self.failures.value(),
            mean_connect: mean(&self.connect_time, self.created.value()),
            mean_first_byte: mean(
                &self.first_byte,
                self.requests.value().saturating_sub(self.failures.value()),
            ),
        }
    }
}

fn mean(total: &TimeTotal, count: u64) -> Duration {
    total.value() / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}
