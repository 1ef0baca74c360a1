//! Getting a connection: a kept one, a stream of one that many share, or a new one, for which there is a line.

use std::sync::Arc;

use tokio::time::Instant;

use super::limits::Limits;
use super::queue::{Need, Offer, Waiting};
use super::{Lease, Pool, State};
use crate::upstream::sending::Sending;
use crate::upstream::{Error, Scheme};

/// One more that is busy with this server, until dropped.
struct Busy<'p>(&'p Pool);

impl<'p> Busy<'p> {
    fn new(pool: &'p Pool) -> Self {
        pool.busy.inc();
        Self(pool)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.dec();
    }
}

impl Pool {
    /// What the next try of a request needs.
    pub(super) fn need_of(&self, sending: &mut Sending<'_>) -> Need {
        let may_choose = self.server.scheme() == Scheme::Https && !self.dialect.is_http_1();
        let offer = if may_choose && sending.asks_for_an_upgrade() { Offer::Http1 } else { Offer::All };
        // Where a server has closed one kept connection it may have closed them all: what is sent again gets a new one.
        Need { offer, must_be_new: std::mem::take(&mut sending.crossed_a_close) }
    }

    /// A kept connection, where there is one that is still good.
    pub(super) fn take_kept(self: &Arc<Self>, need: Need, limits: &Limits, now: Instant) -> Option<Lease> {
        if need.must_be_new { None } else { self.pop(&mut self.state.lock(), need, limits, now) }
    }

    /// A stream, or an idle connection. Who must have a new one has the longest unused make room for it.
    fn pop(self: &Arc<Self>, state: &mut State, need: Need, limits: &Limits, now: Instant) -> Option<Lease> {
        if need.offer == Offer::All
            && !state.shared.is_empty()
            && let Some(lease) = self.take_stream(state, limits, now)
        {
            return Some(lease);
        }
        if need.must_be_new {
            if !state.idle.is_empty() {
                drop(state.idle.remove(0));
                state.open -= 1;
                self.recycled.inc();
            }
            return None;
        }
        while let Some(mut connection) = state.idle.pop() {
            if self.may_be_kept(&mut connection, limits, now) && limits.is_fresh(&connection, now) {
                return Some(self.lease(connection));
            }
            state.open -= 1;
            self.recycled.inc();
        }
        None
    }

    /// A new connection, or the next that is given back. Who waits counts as busy: a server that cannot be reached must
    /// not look like the idlest of all.
    pub(super) async fn wait_for_one(self: &Arc<Self>, limits: &Limits, need: Need) -> Result<Lease, Error> {
        let (waiting, turn) = Waiting::new(need.must_be_new);
        {
            let mut state = self.state.lock();
            // Looked for and lined up under one lock: what comes back in between finds the one who waits.
            if let Some(lease) = self.pop(&mut state, need, limits, self.clock.now()) {
                return Ok(lease);
            }
            state.queue(need.offer).join(waiting)?;
        }
        let _busy = Busy::new(self);
        self.serve_waiting();
        match tokio::time::timeout(limits.acquire_timeout, turn).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::ConnectionRefused),
            Err(_) => Err(Error::AcquireTimeout),
        }
    }
}
