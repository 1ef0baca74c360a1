//! The way out: from a name to addresses, and from an address to a stream.
//!
//! Both are type-erased services, called once for each new connection at most. They are also the seam at which tests put
//! an origin, or a name server, that lives in memory.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;

use crate::http::io::{Calling, Joined};

/// A byte stream to a server.
pub trait Io: Read + Write + Send + Unpin + 'static {}
impl<T: Read + Write + Send + Unpin + 'static> Io for T {}

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Over the network.
    Tcp(SocketAddr),
    /// To a program of the same machine.
    Unix(Arc<Path>),
}

/// What a name server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The host.
    pub host: Arc<str>,
    /// The port of the addresses.
    pub port: u16,
}

/// Opens a stream to an address.
pub type Connector = BoxCloneSyncService<Address, Box<dyn Io>, io::Error>;
/// Finds the addresses behind a name.
pub type Resolver = BoxCloneSyncService<Name, Vec<SocketAddr>, io::Error>;

/// The way out of this process.
#[derive(Debug, Clone)]
pub struct Network {
    /// Finds addresses.
    pub resolver: Resolver,
    /// Opens streams.
    pub connector: Connector,
}

/// The system's look-up cannot be called off: so many may be under way, and a name server that does not answer takes no
/// more threads.
const MAX_LOOKUPS: usize = 16;
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Network {
    /// That of production: the system's resolver, and sockets.
    pub fn of_the_system() -> Self {
        let places = Arc::new(Semaphore::new(MAX_LOOKUPS));
        let resolver = tower::service_fn(move |name| look_up(name, Arc::clone(&places)));
        Self {
            resolver: BoxCloneSyncService::new(resolver),
            connector: BoxCloneSyncService::new(tower::service_fn(open)),
        }
    }

    /// Through `connector` alone: every name has one address.
    #[cfg(test)]
    pub(crate) fn in_memory(connector: Connector) -> Self {
        let one = |name: Name| async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], name.port))]) };
        Self { resolver: BoxCloneSyncService::new(tower::service_fn(one)), connector }
    }
}

async fn look_up(name: Name, places: Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    let place = places.acquire_owned().await.map_err(io::Error::other)?;
    let looked_up = tokio::task::spawn_blocking(move || {
        let _until_the_system_answers = place;
        (&*name.host, name.port).to_socket_addrs().map(Iterator::collect)
    });
    looked_up.await.map_err(io::Error::other)?
}

async fn open(address: Address) -> io::Result<Box<dyn Io>> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            Ok(Box::new(Calling::new(Joined(TokioIo::new(stream)))))
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            Ok(Box::new(Calling::new(Joined(TokioIo::new(stream)))))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
