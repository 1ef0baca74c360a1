//! The public listener: accepts connections, bounds them, and hands each request to the proxy.
//!
//! Promises: at most `max_connections` are served at once, the rest wait in the backlog; an address that has its share
//! open gets no more; a connection between two requests has no buffers; no connection can be held open
//! by a client that sends its head slowly, nothing at all, or reads nothing; without free descriptors the listener backs
//! off instead of spinning; a drain closes idle connections at once and lets the others finish.

mod connection;
mod connections;
mod http1;
mod http2;
mod listener;
mod seats;
mod tls;
mod watch;
mod watched;

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use hyper::body::{Bytes, Incoming};

pub use connection::Stream;
pub use connections::Connections;
pub use listener::{Remote, Server, Socket};
pub use tls::{Certificate, Tls};
pub use watch::Watch;

use crate::boxed;
use crate::client::{ClientAddress, TrustedProxies};
use crate::http::scheme::Scheme;

/// What the server needs to know of the proxy.
pub trait Handler: Send + Sync + 'static {
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send>
        + Send
        + Unpin
        + 'static;

    /// Answers one request.
    fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: &Arc<Peer>) -> Answering<Self::Body>;

    /// The bounds in force now.
    fn bounds(&self) -> Bounds;

    /// What new connections over TCP are protected by; `None`: they are in the clear.
    fn tls(&self) -> Option<Tls>;

    /// How many connections `address` may have open; `None`: any number.
    fn seats(&self, address: IpAddr) -> Option<usize>;
}

/// An answer that is there, or on its way. What needs no waiting needs no memory of its own, and little is moved.
pub enum Answering<B> {
    /// There, until it is taken.
    Now(Option<Response<B>>),
    /// On its way.
    Later(Pin<Box<dyn Future<Output = Response<B>> + Send>>),
}

impl<B> Answering<B> {
    /// It is there.
    pub fn now(response: Response<B>) -> Self {
        Self::Now(Some(response))
    }

    /// It will be.
    pub fn later<F>(answer: impl FnOnce() -> F) -> Self
    where
        F: Future<Output = Response<B>> + Send + 'static,
    {
        Self::Later(Box::into_pin(boxed::in_place(answer)))
    }
}

impl<B> Unpin for Answering<B> {}

impl<B> Future for Answering<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Self::Later(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}

/// The bounds on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once.
    pub max_connections: usize,
    /// For a request's whole head.
    pub header_timeout: Duration,
    /// Between two requests, and for a write that does not move.
    pub idle_timeout: Duration,
    /// Of a request's head, in bytes.
    pub max_header_bytes: usize,
}

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address, IPv4-mapped ones unwrapped.
    pub address: IpAddr,
    /// The address as `X-Forwarded-For` has it.
    pub forwarded_for: HeaderValue,
    /// The scheme under which it asks.
    pub scheme: Scheme,
    /// Whether it came in over a Unix socket; its address stands for this machine then.
    pub is_unix: bool,
    /// What its connection is doing.
    pub watch: Arc<Watch>,
}

impl Peer {
    /// A request of its is being answered; until the guard is dropped, its connection is in use.
    pub fn begin_exchange(self: &Arc<Self>) -> InUse {
        self.watch.begin_exchange();
        InUse(Arc::clone(self))
    }

    /// Forebay itself, on no connection.
    pub fn own(scheme: Scheme) -> Self {
        Self::new(IpAddr::from([127, 0, 0, 1]).into(), scheme, Arc::new(Watch::new(Arc::default(), false)))
    }

    fn new(remote: Remote, scheme: Scheme, watch: Arc<Watch>) -> Self {
        let (address, is_unix) = match remote {
            Remote::Ip(address) => (address.to_canonical(), false),
            Remote::Unix => (IpAddr::from([127, 0, 0, 1]), true),
        };
        let forwarded_for = HeaderValue::from_str(&address.to_string());
        let forwarded_for = forwarded_for.unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { address, forwarded_for, scheme, is_unix, watch }
    }

    /// The client behind it.
    pub fn resolve(&self, trusted: &TrustedProxies, headers: &HeaderMap) -> ClientAddress {
        if self.is_unix { trusted.resolve_unix(headers) } else { trusted.resolve(self.address, headers) }
    }
}

/// A peer while a request of its is being answered; a clone is for one more request.
#[derive(Debug)]
pub struct InUse(Arc<Peer>);

impl Clone for InUse {
    fn clone(&self) -> Self {
        self.0.begin_exchange()
    }
}

impl Deref for InUse {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.watch.end_exchange();
    }
}
