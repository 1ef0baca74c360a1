//! The use of a channel of a pool: it comes back, is closed, or leaves as a tunnel, and the books are right each time.

use std::sync::Arc;

use tokio::time::Instant;

use super::Pool;
use crate::upstream::channel::Channel;
use crate::upstream::connection::Connection;

/// The use of a channel; given back when its response was read to the end, closed when dropped before that.
#[derive(Debug)]
pub(in crate::upstream) struct Lease {
    channel: Option<Channel>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn new(channel: Channel, pool: Arc<Pool>) -> Self {
        Self { channel: Some(channel), pool }
    }

    #[expect(clippy::expect_used, reason = "the channel is there until the lease is consumed")]
    pub(in crate::upstream) fn channel(&mut self) -> &mut Channel {
        self.channel.as_mut().expect("a lease holds its channel")
    }

    /// The response was read to the end, just now.
    pub(in crate::upstream) fn give_back(self) {
        self.was_done(None);
    }

    /// It was read to the end, and the connection counts as unused since `end`.
    pub(in crate::upstream) fn was_done_at(self, end: Instant) {
        self.was_done(Some(end));
    }

    fn was_done(mut self, end: Option<Instant>) {
        match self.channel.take() {
            Some(Channel::Own(connection)) => {
                let end = end.unwrap_or_else(|| self.pool.clock.now());
                self.pool.put_back(connection, end);
            }
            // A stream is over when its response is.
            stream => self.channel = stream,
        }
    }

    /// Nobody took it.
    pub(super) fn take_back(mut self) -> Option<Box<Connection>> {
        match self.channel.take() {
            Some(Channel::Own(connection)) => {
                self.pool.busy.dec();
                Some(connection)
            }
            stream => {
                self.channel = stream;
                None
            }
        }
    }

    /// The connection leaves the pool for good, as a tunnel; it counts until its place is dropped.
    pub(in crate::upstream) fn detach(mut self) -> Option<(Box<Connection>, TunnelPlace)> {
        match self.channel.take() {
            Some(Channel::Own(connection)) => Some((connection, TunnelPlace(Arc::clone(&self.pool)))),
            stream => {
                self.channel = stream;
                None
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.channel.take() {
            None => {}
            Some(Channel::Own(_)) => {
                self.pool.busy.dec();
                self.pool.state.lock().open -= 1;
                self.pool.serve_waiting();
            }
            Some(Channel::Stream(stream)) => {
                drop(stream);
                self.pool.busy.dec();
                self.pool.share_streams();
            }
        }
    }
}

/// The place of a tunnel among the server's connections, until it is dropped.
#[derive(Debug)]
pub struct TunnelPlace(Arc<Pool>);

impl Drop for TunnelPlace {
    fn drop(&mut self) {
        self.0.busy.dec();
        self.0.state.lock().open -= 1;
        self.0.serve_waiting();
    }
}
