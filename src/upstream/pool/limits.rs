//! What a pool may do, and for how long: the upstream's settings, which a reload may replace.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::jitter::jittered;
use crate::upstream::connection::Connection;
use crate::upstream::standing::BreakerRules;
use crate::upstream::tls::TlsSpec;
use crate::upstream::{Patience, Spec};

#[derive(Debug)]
pub(in crate::upstream) struct Limits {
    pub(super) max_connections: usize,
    pub(super) acquire_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_age: Duration,
    pub(super) patience: Patience,
    pub(super) breaker: Option<BreakerRules>,
    pub(super) tls: Option<TlsSpec>,
}

impl Limits {
    /// Whether it was not idle for too long.
    pub(super) fn is_fresh(&self, connection: &Connection, now: Instant) -> bool {
        let idle = now.saturating_duration_since(connection.idle_since);
        idle < connection.keep_alive.map_or(self.idle_timeout, |said| said.min(self.idle_timeout))
    }

    /// Whether it may be used again.
    pub(super) fn is_young(&self, connection: &Connection, now: Instant) -> bool {
        now.saturating_duration_since(connection.born) < self.max_age
    }
}

impl From<&Spec> for Limits {
    fn from(spec: &Spec) -> Self {
        Self {
            max_connections: spec.max_connections,
            acquire_timeout: spec.acquire_timeout,
            connect_timeout: spec.connect_timeout,
            idle_timeout: spec.idle_timeout,
            max_age: spec.max_age,
            patience: Patience::from(spec),
            breaker: spec.breaker,
            tls: spec.tls.clone(),
        }
    }
}

/// A birth that ends a life of `max_age` up to a tenth earlier or later.
pub(super) fn scattered(born: Instant, max_age: Duration) -> Instant {
    let tenth = max_age / 10;
    let later = born + jittered(max_age).saturating_sub(max_age - tenth);
    later.checked_sub(tenth).unwrap_or(born)
}
