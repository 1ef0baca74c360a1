//! Opening a connection to one server: its addresses in turn, each within its share of the time.

use std::io;
use std::time::Duration;

use tower::ServiceExt as _;

use super::addresses::{Addresses, Route};
use super::connect::{Connector, Io, Network};
use super::pool::Offer;
use super::server::Place;
use super::tls::TlsSpec;
use super::{Error, Scheme, Server};
use crate::clock::Clock;

/// What opens the connections to one server.
#[derive(Debug)]
pub(super) struct Dialer {
    server: Server,
    connector: Connector,
    pub(super) addresses: Addresses,
    clock: Clock,
}

/// A stream to a server, and where it leads.
pub(super) struct Line {
    pub(super) io: Box<dyn Io>,
    pub(super) route: Route,
    /// Whether HTTP/2 is spoken on it.
    pub(super) is_http_2: bool,
}

impl Dialer {
    pub(super) fn new(server: &Server, network: Network, dns_refresh: Duration, clock: Clock) -> Self {
        let addresses = Addresses::new(server, network.resolver, dns_refresh);
        Self { server: server.clone(), connector: network.connector, addresses, clock }
    }

    /// What opens its streams.
    #[cfg(test)]
    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// A stream to the first address that can be reached; all of it takes `limit` at most.
    pub(super) async fn dial(
        &self,
        limit: Duration,
        tls: Option<&TlsSpec>,
        offer: Offer,
    ) -> Result<Line, Error> {
        let deadline = self.clock.now() + limit;
        let found = tokio::time::timeout_at(deadline, self.addresses.to_try(self.clock.now())).await;
        let routes = found.map_err(|_| Error::Dns)??;
        let mut failure = Error::ConnectTimeout;
        for (left, route) in (1..=routes.len()).rev().zip(routes) {
            let now = self.clock.now();
            let share = deadline.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
            match tokio::time::timeout(share, self.open(&route, tls, offer)).await {
                Ok(Ok((io, is_http_2))) => return Ok(Line { io, route, is_http_2 }),
                // No address is to blame, and the next one would fare no better.
                Ok(Err(Error::NoDescriptors)) => return Err(Error::NoDescriptors),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = Error::ConnectTimeout,
            }
        }
        self.addresses.doubt();
        Err(failure)
    }

    /// A stream to one address, and whether HTTP/2 is spoken on it.
    async fn open(
        &self,
        route: &Route,
        tls: Option<&TlsSpec>,
        offer: Offer,
    ) -> Result<(Box<dyn Io>, bool), Error> {
        let opened = self.connector.clone().oneshot(route.address().clone()).await;
        let io = opened.map_err(|error| cause(&error))?;
        match (self.server.scheme(), self.server.place(), tls) {
            (Scheme::Https, Place::Network { host, .. }, Some(tls)) => tls.secure(host, io, offer).await,
            // Never in the clear by mistake.
            (Scheme::Https, ..) => Err(Error::TlsProtocol),
            (scheme, ..) => Ok((io, scheme == Scheme::H2c)),
        }
    }
}

/// Why a stream could not be opened.
fn cause(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::ConnectTimeout,
        _ => Error::ConnectionRefused.unless_none_are_left(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hyper_util::rt::TokioIo;
    use tower::util::BoxCloneSyncService;

    use super::*;
    use crate::upstream::connect::{Address, Name};

    /// A dialer for a name with these addresses, of which the first hangs, the second refuses, the third is reached, and for the
    /// fourth there is no descriptor.
    fn dialer(addresses: &'static [&'static str]) -> Dialer {
        let found = move |_: Name| async move {
            Ok(addresses.iter().map(|text| text.parse::<SocketAddr>().unwrap()).collect())
        };
        let open = |address: Address| async move {
            match address.to_string().as_str() {
                "10.0.0.1:1" => std::future::pending().await,
                "10.0.0.2:1" => Err(io::ErrorKind::ConnectionRefused.into()),
                "10.0.0.4:1" => Err(io::Error::from_raw_os_error(24)),
                _ => Ok(Box::new(TokioIo::new(tokio::io::duplex(8).0)) as Box<dyn Io>),
            }
        };
        let network = Network {
            resolver: BoxCloneSyncService::new(tower::service_fn(found)),
            connector: BoxCloneSyncService::new(tower::service_fn(open)),
        };
        Dialer::new(&"http://scan".parse().unwrap(), network, Duration::from_secs(30), Clock::start())
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_is_tried_within_the_time_for_all() {
        let dialer = dialer(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        for _ in 0..3 {
            let line = dialer.dial(Duration::from_secs(3), None, Offer::All).await.unwrap();
            assert_eq!(line.route.address().to_string(), "10.0.0.3:1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_last_address_said_is_the_reason_unless_it_is_our_own_want() {
        for (addresses, expected) in [
            (["10.0.0.4:1", "10.0.0.2:1"], Error::NoDescriptors),
            (["10.0.0.1:1", "10.0.0.2:1"], Error::ConnectionRefused),
            (["10.0.0.2:1", "10.0.0.1:1"], Error::ConnectTimeout),
        ] {
            let (dialer, limit) = (dialer(Box::leak(Box::new(addresses))), Duration::from_secs(2));
            let began = dialer.clock.now();
            assert_eq!(dialer.dial(limit, None, Offer::All).await.err(), Some(expected));
            assert!(dialer.clock.now() - began <= limit);
        }
    }
}
