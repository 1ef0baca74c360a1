//! Accepting: one loop a socket, a bound on how many connections are open, and no spinning when descriptors run out.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::connection::{self, Protocol, Stream};
use super::connections::{Connections, Entered};
use super::tls::Tls;
use super::watch::Call;
use super::{Handler, Peer};
use crate::http::io::Calling;
use crate::http::scheme::Scheme;

/// How long accepting rests when the process is out of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);
/// More connections than a process can have; what is configured above it changes nothing.
const MOST: usize = 1 << 20;

/// An accepted connection.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// The other end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// An address.
    Ip(IpAddr),
    /// A program on this machine, over a Unix socket.
    Unix,
}

impl From<IpAddr> for Remote {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

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
    pub async fn accept(&self, poll_accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(Socket, Remote)>>) {
        let tasks = self.connections.tasks();
        let mut is_short = false;
        // The place first: a connection that cannot be served stays in the backlog.
        while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
            match std::future::poll_fn(&poll_accept).await {
                Ok((socket, remote)) => {
                    is_short = false;
                    match (socket, self.handler.tls()) {
                        (Socket::Tcp(stream), Some(tls)) => {
                            tasks.spawn(self.serve_tls(stream, tls, remote, place));
                        }
                        (Socket::Tcp(stream), None) => {
                            let stream = Either::Left(Either::Left(stream));
                            tasks.spawn(self.serve(over(stream), remote, place));
                        }
                        (Socket::Unix(stream), _) => {
                            let stream = Either::Left(Either::Right(stream));
                            tasks.spawn(self.serve(over(stream), remote, place));
                        }
                    }
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Told once until it is over.
                    if !std::mem::replace(&mut is_short, true) {
                        tracing::warn!(%error, "cannot accept connections; trying again");
                    }
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

    /// Serves one connection in the clear, over whatever it runs.
    pub fn serve<I: Stream>(
        &self,
        io: I,
        remote: Remote,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<H, I> {
        let (handler, bounds) = (Arc::clone(&self.handler), self.handler.bounds());
        let entered = self.enter(&remote, place);
        async move {
            // One that has no seat is closed without a word: what it costs is to be as little as what it cost the peer.
            let Some(entered) = entered else { return };
            let peer = Arc::new(Peer::new(remote, Scheme::Http, Arc::clone(&entered.watch)));
            connection::serve(io, Protocol::Either, entered, peer, handler, bounds).await;
        }
    }

    /// Registers a connection, if its address may have one more.
    fn enter(&self, remote: &Remote, place: OwnedSemaphorePermit) -> Option<Entered> {
        let (address, most) = match remote {
            Remote::Ip(address) => (address.to_canonical(), self.handler.seats(address.to_canonical())),
            Remote::Unix => (IpAddr::from([127, 0, 0, 1]), None),
        };
        self.connections.enter(address, most, place)
    }

    /// Serves one connection over TLS. The handshake and the first head have one deadline between them; a drain does not
    /// wait for a client that has not asked for anything yet.
    fn serve_tls(
        &self,
        stream: TcpStream,
        tls: Tls,
        remote: Remote,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<H> {
        let entered = self.enter(&remote, place);
        let (handler, bounds) = (Arc::clone(&self.handler), self.handler.bounds());
        let connections = Arc::clone(&self.connections);
        async move {
            let Some(entered) = entered else { return };
            let peer = Arc::new(Peer::new(remote, Scheme::Https, Arc::clone(&entered.watch)));
            let shaken = tokio::select! {
                biased;
                call = peer.watch.called() => if call == Call::Drain { return } else { None },
                shaken = Box::pin(tls.shake_hands(stream)) => shaken,
            };
            let Some((stream, protocol)) = shaken else { return connections.failed_handshakes.inc() };
            let stream = over(Either::Right(stream));
            connection::serve(stream, protocol, entered, peer, handler, bounds).await;
        }
    }
}

/// One type for all that is accepted: the protocol machines are there once.
pub(super) type Wire = Either<Either<TcpStream, UnixStream>, Box<TlsStream<TcpStream>>>;

fn over(wire: Wire) -> Calling<TokioIo<Wire>> {
    Calling::new(TokioIo::new(wire))
}

/// A client that left between the handshake and `accept`.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused)
}
