//! The use of one connection of a pool: it comes back, is closed, or leaves as a tunnel, and the books are right each time.

use std::sync::Arc;

use super::Pool;
use crate::upstream::connection::Connection;

/// The use of a connection; given back when its response was read to the end, closed when dropped before that.
#[derive(Debug)]
pub(in crate::upstream) struct Lease {
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(super) fn new(connection: Box<Connection>, pool: Arc<Pool>) -> Self {
        Self { connection: Some(connection), pool }
    }

    #[expect(clippy::expect_used, reason = "the connection is there until the lease is consumed")]
    pub(in crate::upstream) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease holds its connection")
    }

    /// The response was read to the end.
    pub(in crate::upstream) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(connection);
        }
    }

    /// Nobody took it.
    pub(super) fn take_back(mut self) -> Option<Box<Connection>> {
        self.pool.busy.dec();
        self.connection.take()
    }

    /// The connection leaves the pool for good, as a tunnel; it counts until its place is dropped.
    pub(in crate::upstream) fn detach(mut self) -> (Option<Box<Connection>>, TunnelPlace) {
        let connection = self.connection.take();
        (connection, TunnelPlace(Arc::clone(&self.pool)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.connection.take().is_some() {
            self.pool.busy.dec();
            self.pool.state.lock().open -= 1;
            self.pool.serve_waiting();
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
