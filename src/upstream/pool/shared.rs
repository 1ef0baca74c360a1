//! HTTP/2 in a pool: a few connections that all share, of which each exchange takes a stream.
//!
//! One connection is opened at a time, and another one only when all that are there are full: a burst of requests is what
//! a connection with many streams is for. One that is too old, or whose server has said goodbye, gives no more streams and
//! ends with its last one; from then on it no longer counts. A new connection on which the server allows nothing is followed
//! by no other at once: who waits, waits for what it allows later, or for the next connection [`REST`] later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::limits::Limits;
use super::{Lease, Pool, State};
use crate::upstream::Scheme;
use crate::upstream::channel::Channel;
use crate::upstream::multiplexed::Multiplexed;

/// How long no connection is opened after one that was of no use.
const REST: Duration = Duration::from_secs(1);

/// What a server speaks, as far as is known: with TLS it is known with the first connection.
#[derive(Debug)]
pub(super) struct Dialect(AtomicU8);

const UNKNOWN: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

impl Dialect {
    pub(super) fn of(scheme: Scheme) -> Self {
        Self(AtomicU8::new(match scheme {
            Scheme::Http => HTTP_1,
            Scheme::Https => UNKNOWN,
            Scheme::H2c => HTTP_2,
        }))
    }

    pub(super) fn learn(&self, is_http_2: bool) {
        self.0.store(if is_http_2 { HTTP_2 } else { HTTP_1 }, Ordering::Relaxed);
    }

    /// How many connections may be opened at a time for so many that wait.
    pub(super) fn dials(&self, waiting: usize) -> usize {
        if self.0.load(Ordering::Relaxed) == HTTP_1 { waiting } else { waiting.min(1) }
    }

    pub(super) fn is_http_1(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HTTP_1
    }
}

impl Pool {
    /// A stream of the least busy connection that has room.
    pub(super) fn take_stream(
        self: &Arc<Self>,
        state: &mut State,
        limits: &Limits,
        now: Instant,
    ) -> Option<Lease> {
        self.retire(state, limits, now);
        let with_room = state.shared.iter().filter(|connection| connection.has_room());
        let connection = with_room.min_by_key(|connection| connection.streams())?;
        self.busy.inc();
        Some(Lease::new(Channel::Stream(Box::new(connection.stream())), Arc::clone(self)))
    }

    /// Lets go of connections that are of no more use.
    pub(super) fn retire(&self, state: &mut State, limits: &Limits, now: Instant) {
        let before = state.shared.len();
        state.shared.retain(|connection| {
            let is_young = now.saturating_duration_since(connection.born) < limits.max_age;
            let idle = connection.idle_since().map(|since| now.saturating_duration_since(since));
            // A new one is there for those who wait, however short the time for unused ones is.
            let longest =
                if connection.is_used() { limits.idle_timeout } else { limits.idle_timeout.max(REST) };
            is_young
                && !connection.is_closed()
                && idle.is_none_or(|idle| idle < longest)
                && self.dialer.addresses.are_of(&mut connection.route.lock())
        });
        let retired = before - state.shared.len();
        state.open -= retired;
        self.recycled.add(retired as u64);
    }

    /// A connection was opened: everybody who waits gets a stream, as far as they go.
    pub(super) fn welcome(self: &Arc<Self>, connection: Multiplexed) {
        let mut state = self.state.lock();
        let is_of_use = connection.has_room() && !connection.is_closed();
        state.rests_until = (!is_of_use).then(|| self.clock.now() + REST);
        state.shared.push(Arc::new(connection));
        drop(state);
        self.share_streams();
    }

    /// Gives streams to those who wait, while there are any.
    pub(super) fn share_streams(self: &Arc<Self>) {
        let limits = self.limits.load();
        loop {
            let mut state = self.state.lock();
            if !state.does_anybody_wait() {
                return;
            }
            state.line.forget_who_left();
            if state.line.is_empty() {
                break;
            }
            let Some(lease) = self.take_stream(&mut state, &limits, self.clock.now()) else { break };
            let waiting = state.line.pop();
            // A lease that is dropped takes the lock itself.
            drop(state);
            // One who has left in this moment drops the stream, and the next one gets it.
            if let Some(waiting) = waiting {
                let _ = waiting.send(Ok(lease));
            }
        }
        self.serve_waiting();
    }
}
