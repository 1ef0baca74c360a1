//! One HTTP/2 connection to a server, shared by many exchanges, each on a stream of its own.
//!
//! A task drives it, for no single exchange may: it ends when the pool and all streams have let go of it. A stream that
//! nobody reads holds its own window and no other's: the connection has room for all of them.

mod driver;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{self, PathAndQuery};
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::driver::{Driver, Executor};
use super::addresses::Route;
use super::connection::{MAX_RESPONSE_HEAD, Watch, admit};
use super::dial::Line;
use super::sending::Sending;
use super::{Error, Patience};
use crate::clock::Clock;
use crate::clock::deadline::Deadline;
use crate::http::body::RequestBody;
use crate::http::fields::Present;

/// Streams at the same time on one connection, where the server allows more.
const MAX_STREAMS: usize = 100;
/// Stands for what the server allows until it has said so; nobody would choose it.
const UNTOLD: usize = 61_803;
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// What a stream that nobody reads may hold, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// A connection on which nothing comes is asked whether it lives, and given up without an answer.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that many share.
#[derive(Debug)]
pub(super) struct Multiplexed {
    sender: SendRequest<RequestBody>,
    driver: Arc<Driver>,
    scheme: uri::Scheme,
    streams: AtomicUsize,
    is_used: AtomicBool,
    /// Whether a request came back from it unsent.
    is_spent: AtomicBool,
    clock: Clock,
    pub(super) born: Instant,
    pub(super) route: Mutex<Route>,
    idle_since: Mutex<Instant>,
}

/// A stream of such a connection; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    connection: Arc<Multiplexed>,
    /// Whether the connection had been used before.
    pub(super) is_kept: bool,
    timer: Deadline,
}

impl Multiplexed {
    /// A connection over an open line, once the server has said how many streams it allows: what goes beyond would be
    /// refused.
    pub(super) async fn over(
        line: Line,
        is_secure: bool,
        born: Instant,
        clock: Clock,
    ) -> Result<Self, Error> {
        let executor = Executor::default();
        let mut builder = http2::Builder::new(executor.clone());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_max_send_streams(UNTOLD)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAM_WINDOW * u32::try_from(MAX_STREAMS).unwrap_or(1))
            .max_header_list_size(u32::try_from(MAX_RESPONSE_HEAD).unwrap_or(u32::MAX));
        let begun = Driver::begin(&builder, &executor, line.io).await;
        let (sender, driver, mut driving) = begun.map_err(|_| Error::ConnectionRefused)?;
        // The library wakes nobody when the settings come.
        let mut pause = Duration::from_millis(1);
        while driver.ask() == UNTOLD {
            tokio::select! {
                () = &mut driving => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        // Nothing was sent yet: what has ended by now has lost its line.
        if sender.is_closed() {
            return Err(Error::ConnectionRefused);
        }
        tokio::spawn(driving);
        Ok(Self {
            sender,
            driver,
            scheme: if is_secure { uri::Scheme::HTTPS } else { uri::Scheme::HTTP },
            streams: AtomicUsize::new(0),
            is_used: AtomicBool::new(false),
            is_spent: AtomicBool::new(false),
            clock,
            born,
            route: Mutex::new(line.route),
            idle_since: Mutex::new(clock.now()),
        })
    }

    /// Streams under way.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    /// Whether there is room for another one.
    pub(super) fn has_room(&self) -> bool {
        let streams = self.streams();
        streams < MAX_STREAMS && (streams < self.driver.allowed() || streams < self.driver.ask())
    }

    /// Whether it ever had a stream.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Whether the server has said goodbye, or is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.is_spent.load(Ordering::Relaxed)
    }

    /// Since when nobody uses it, if nobody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams() == 0).then(|| *self.idle_since.lock())
    }

    /// A stream on it; where there is room is for the caller to know.
    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        self.streams.fetch_add(1, Ordering::AcqRel);
        let is_kept = self.is_used.swap(true, Ordering::Relaxed);
        Stream { connection: Arc::clone(self), is_kept, timer: Deadline::default() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        if connection.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            *connection.idle_since.lock() = connection.clock.now();
        }
    }
}

impl Stream {
    /// Sends a request and waits for the response's head, whose status it tells, or until patience ends.
    pub(super) async fn exchange(
        &mut self,
        sending: &mut Sending<'_>,
        patience: Option<Patience>,
    ) -> Result<StatusCode, Error> {
        if sending.asks_for_an_upgrade() {
            return Err(Error::NoUpgrade);
        }
        let (upload, clock) = (sending.upload(), self.connection.clock);
        let mut watch = patience.map(|patience| Watch::new(upload, sending.now, patience));
        // A stream may be refused, or meet a goodbye, at any time, and its head is written compressed: a copy is worth its price.
        let copy = sending.copy();
        let Some(request) = sending.take() else { return Err(Error::ConnectionTerminated) };
        let request = to_http_2(request, &self.connection.scheme)?;
        let mut sender = self.connection.sender.clone();
        let mut response = std::pin::pin!(sender.try_send_request(request));
        let timer = &mut self.timer;
        let outcome = std::future::poll_fn(|cx| {
            if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            timer.set(watch.as_mut().map(|watch| watch.deadline(clock)));
            timer.poll_passed(cx).map(|()| None)
        })
        .await;
        self.timer.set(None);
        sending.now = clock.now();
        match outcome {
            Some(Ok(mut response)) => {
                let present = Present::of(response.headers());
                let status = admit(&mut response, present)?;
                sending.head = Some(response);
                Ok(status)
            }
            Some(Err(mut refused)) => {
                let unsent = refused.take_message();
                self.connection.is_spent.fetch_or(unsent.is_some(), Ordering::Relaxed);
                let error = cause(&refused.into_error());
                sending.failed(error, unsent.map(to_http_1).map(Box::new), copy);
                Err(error)
            }
            None => Err(Error::ResponseTimeout),
        }
    }

    /// Ready when nothing has come for `limit`; to be asked while waiting for a chunk.
    pub(super) fn poll_stalled(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !self.timer.is_set() {
            self.timer.set(Some(self.connection.clock.now() + limit));
        }
        self.timer.poll_passed(cx)
    }

    /// A chunk came: the wait begins anew.
    pub(super) fn progressed(&mut self) {
        self.timer.set(None);
    }
}

/// The request as HTTP/2 has it: the target whole, no field of the connection (RFC 9113 section 8.2.2 and 8.3.1).
fn to_http_2(request: Request<RequestBody>, scheme: &uri::Scheme) -> Result<Request<RequestBody>, Error> {
    let (mut parts, body) = request.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let host = parts.headers.remove(header::HOST).ok_or(Error::InvalidResponse)?;
    let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let target = Uri::builder().scheme(scheme.clone()).authority(host.as_bytes()).path_and_query(path);
    parts.uri = target.build().map_err(|_| Error::InvalidResponse)?;
    parts.version = http::Version::HTTP_2;
    Ok(Request::from_parts(parts, body))
}

/// As it was before: another connection may speak HTTP/1.1.
fn to_http_1(request: Request<RequestBody>) -> Request<RequestBody> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = authority {
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = parts.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    parts.version = http::Version::HTTP_11;
    Request::from_parts(parts, body)
}

/// What an error of the connection means: the server broke the protocol, or it ended the stream or the connection.
fn cause(error: &hyper::Error) -> Error {
    let inner = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    match inner {
        Some(inner) if inner.is_library() && !inner.is_go_away() => Error::InvalidResponse,
        _ if error.is_timeout() => Error::ResponseTimeout,
        _ => Error::ConnectionTerminated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_same_after_the_way_to_http_2_and_back() {
        let request = Request::builder()
            .method("PUT")
            .uri("/a%20b?c=d")
            .header("host", "scan.example:81")
            .header("te", "trailers")
            .header("x", "y")
            .body(RequestBody::Empty)
            .unwrap();
        let (uri, headers) = (request.uri().clone(), request.headers().clone());
        let there = to_http_2(request, &uri::Scheme::HTTPS).unwrap();
        assert_eq!(there.uri(), "https://scan.example:81/a%20b?c=d");
        assert!(!there.headers().contains_key("host") && there.headers().contains_key("te"));
        let back = to_http_1(there);
        assert_eq!((back.uri(), back.headers()), (&uri, &headers));
    }
}
