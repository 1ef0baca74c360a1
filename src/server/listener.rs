//! Accepting: one loop a socket, a bound on how many connections are open, and no spinning when descriptors run out.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{self, Stream};
use super::watch::Connections;
use super::{Handler, Peer};

/// How long accepting rests when the process is out of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);
/// More connections than a process can have; what is configured above it changes nothing.
const MOST: usize = 1 << 20;

/// The public listeners with everything that they serve.
#[derive(Debug)]
pub struct Server<H> {
    handler: Arc<H>,
    connections: Arc<Connections>,
    places: Arc<Semaphore>,
}

impl<H: Handler> Server<H> {
    /// A server that hands requests to `handler`.
    pub fn new(handler: Arc<H>, connections: Arc<Connections>) -> Self {
        let places = handler.bounds().max_connections.min(MOST);
        Self { handler, connections, places: Arc::new(Semaphore::new(places)) }
    }

    /// Accepts whatever `poll_accept` gives, until the future is dropped.
    pub async fn accept<I: Stream>(
        &self,
        poll_accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(I, IpAddr)>>,
    ) {
        // The place first: a connection that cannot be served stays in the backlog.
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            match std::future::poll_fn(&poll_accept).await {
                Ok((stream, address)) => {
                    tokio::spawn(self.serve(stream, address, place));
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Ends connections that are overdue, for as long as it is polled.
    pub async fn reap(&self) {
        self.connections.reap(|| self.handler.bounds()).await;
    }

    /// Takes a changed bound on the number of connections.
    pub fn resize(&self, before: usize, after: usize) {
        let (before, after) = (before.min(MOST), after.min(MOST));
        if after > before {
            self.places.add_permits(after - before);
        }
        let places = Arc::clone(&self.places);
        // Those in use are taken out as they become free.
        tokio::spawn(async move {
            for _ in after..before {
                let Ok(place) = places.acquire().await else { return };
                place.forget();
            }
        });
    }

    /// Serves one connection, over whatever it runs.
    pub(crate) fn serve<I: Stream>(
        &self,
        io: I,
        address: IpAddr,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<H, I> {
        let entered = self.connections.enter(Some(place));
        let (handler, bounds) = (Arc::clone(&self.handler), self.handler.bounds());
        let address = address.to_canonical();
        let forwarded_for = HeaderValue::from_str(&address.to_string());
        let forwarded_for = forwarded_for.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let peer = Arc::new(Peer { address, forwarded_for, watch: Arc::clone(&entered.watch) });
        connection::serve(io, entered, peer, handler, bounds)
    }
}

/// A client that left between the handshake and `accept`.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused)
}
