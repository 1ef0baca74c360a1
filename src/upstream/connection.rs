//! One HTTP/1.1 connection to a server, driven by whoever uses it.
//!
//! There is no task behind a connection: the exchange, and then the response's body, poll the protocol machine
//! themselves. That saves two wake-ups a request, and a dropped exchange closes its connection by being dropped.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;

use super::addresses::Route;
use super::connect::Io;
use super::dial::Line;
use super::metered::{Meter, Metered, metered, unmetered, written};
use super::relay::Relay;
use super::sending::Sending;
use super::{Error, Patience};
use crate::clock::Clock;
use crate::clock::deadline::Deadline;
use crate::http::body::{RequestBody, UploadOutcome};
use crate::http::fields::{self, Present, TransferCoding};

/// The largest response head that is read.
pub(super) const MAX_RESPONSE_HEAD: usize = 128 * 1024;

/// The protocol machine.
type Driver = http1::Connection<Metered<Box<dyn Io>>, RequestBody>;

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Gone once it has ended under a request: only then does the request come back from it.
    driver: Option<Driver>,
    meter: Meter,
    relay: Relay,
    has_ended: bool,
    timer: Deadline,
    clock: Clock,
    /// Where it leads.
    pub(super) route: Route,
    /// When it was opened; a little earlier or later, so that those opened together do not end together.
    pub(super) born: Instant,
    /// Since when nobody uses it.
    pub(super) idle_since: Instant,
    /// What the server said it keeps an unused connection for, less a second.
    pub(super) keep_alive: Option<Duration>,
    /// Whether an exchange has been through it.
    pub(super) is_used: bool,
}

impl Connection {
    /// A connection over an open line.
    pub(super) async fn over(line: Line, clock: Clock) -> Result<Box<Self>, Error> {
        let mut builder = http1::Builder::new();
        // The buffer also bounds a chunk, and what a reader that stalls holds.
        builder.max_header_size(MAX_RESPONSE_HEAD).max_buf_size(MAX_RESPONSE_HEAD);
        let meter = Meter::default();
        let io = metered(line.io, meter.clone());
        let (sender, driver) = builder.handshake(io).await.map_err(|_| Error::ConnectionRefused)?;
        let now = clock.now();
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            meter,
            relay: Relay::default(),
            has_ended: false,
            timer: Deadline::default(),
            clock,
            route: line.route,
            born: now,
            idle_since: now,
            keep_alive: None,
            is_used: false,
        }))
    }

    /// Sends a request and drives the connection until the response's head is there, whose status it tells, or patience ends.
    pub(super) async fn exchange(
        &mut self,
        sending: &mut Sending<'_>,
        patience: Option<Patience>,
    ) -> Result<StatusCode, Error> {
        let upload = sending.upload();
        let mut watch = patience.map(|patience| Watch::new(upload, sending.now, patience));
        let is_kept = std::mem::replace(&mut self.is_used, true);
        // The server may just be closing a kept connection, and then the request may be sent once more.
        self.meter.start(is_kept && sending.may_be_sent_twice());
        let mut response = pin!(match sending.take() {
            // Handing it over wakes the protocol machine for nothing: it is polled next.
            Some(request) => self.relay.unattended(|_| self.sender.try_send_request(request)),
            None => return Err(Error::ConnectionTerminated),
        });
        let (head, mut failure, mut again) = (&mut sending.head, None, None);
        std::future::poll_fn(|cx| {
            let (driver, has_ended) = (&mut self.driver, &mut self.has_ended);
            let answer = self.relay.poll(cx, |cx| {
                *has_ended = *has_ended || poll_driver(driver, cx).is_ready();
                let mut poll = || {
                    response.as_mut().poll(cx).map(|answer| match answer {
                        Ok(response) => *head = Some(response),
                        Err(refused) => failure = Some(given_back(refused)),
                    })
                };
                let answer = poll();
                if *has_ended && answer.is_pending() {
                    // The server has closed the connection, perhaps before it saw a byte of the request.
                    again = driver.take().and_then(written_by);
                    return poll();
                }
                answer
            });
            if answer.is_ready() {
                return Poll::Ready(());
            }
            self.timer.set(watch.as_mut().map(|watch| watch.deadline(self.clock)));
            self.poll_timer()
        })
        .await;
        self.timer.set(None);
        sending.now = self.clock.now();
        if let Some((error, unsent)) = failure {
            let error = self.cause(&error);
            let again = again.or_else(|| self.driver.take().and_then(written_by));
            sending.failed(error, unsent, again.map(Box::new));
            return Err(error);
        }
        sending.head.as_mut().map_or(Err(Error::ResponseTimeout), |response| self.accept(response))
    }

    /// Why no head came.
    fn cause(&self, error: &hyper::Error) -> Error {
        if error.is_timeout() {
            Error::ResponseTimeout
        } else if error.is_parse_too_large() {
            Error::HeadTooLarge
        } else if error.is_parse() || error.is_parse_status() || self.meter.is_exceeded() {
            Error::InvalidResponse
        } else if self.meter.has_begun() {
            Error::Incomplete
        } else {
            Error::ConnectionTerminated
        }
    }

    /// Takes note of what a head says of the connection.
    fn accept(&mut self, response: &mut Response<Incoming>) -> Result<StatusCode, Error> {
        let present = Present::of(response.headers());
        self.keep_alive = if present.has_keep_alive() { keep_alive(response.headers()) } else { None };
        admit(response, present)
    }

    /// Reads on until `body`, which this connection feeds, has something.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let (driver, has_ended) = (&mut self.driver, &mut self.has_ended);
        self.relay.poll(cx, |cx| {
            let next = Pin::new(&mut *body).poll_frame(cx);
            if next.is_ready() {
                return next;
            }
            // The first poll has told the connection that a chunk is wanted; now it may read one.
            *has_ended = *has_ended || poll_driver(driver, cx).is_ready();
            Pin::new(&mut *body).poll_frame(cx)
        })
    }

    /// Ready when nothing has come for `limit`; to be asked while waiting for a chunk.
    pub(super) fn poll_stalled(&mut self, limit: Duration) -> Poll<()> {
        if !self.timer.is_set() {
            self.timer.set(Some(self.clock.now() + limit));
        }
        self.poll_timer()
    }

    /// The timer calls the relay, and need not be told of each user. To be asked by one who waits for news of the connection already.
    fn poll_timer(&mut self) -> Poll<()> {
        self.timer.poll_passed(&mut Context::from_waker(self.relay.waker()))
    }

    /// A chunk came: the wait begins anew.
    pub(super) fn progressed(&mut self) {
        self.timer.set(None);
    }

    /// Whether it can take another request now.
    pub(super) fn is_ready(&self) -> bool {
        !self.has_ended && self.sender.is_ready()
    }

    /// Whether the server has closed it meanwhile, or sent what nobody asked for.
    pub(super) fn is_closed(&mut self) -> bool {
        let (driver, has_ended) = (&mut self.driver, &mut self.has_ended);
        // One step of the protocol, for which nobody waits.
        self.relay.unattended(|cx| *has_ended = *has_ended || poll_driver(driver, cx).is_ready());
        self.has_ended || self.sender.is_closed()
    }

    /// The bare stream after a 101, and what was read beyond it.
    pub(super) async fn into_stream(mut self: Box<Self>) -> Option<(Box<dyn Io>, Bytes)> {
        std::future::poll_fn(|cx| {
            let (driver, has_ended) = (&mut self.driver, &mut self.has_ended);
            self.relay.poll(cx, |cx| if *has_ended { Poll::Ready(()) } else { poll_driver(driver, cx) })
        })
        .await;
        let parts = self.driver?.into_parts();
        Some((unmetered(parts.io), parts.read_buf))
    }
}

/// Why it was not answered, and the request itself where not a byte of it was sent.
fn given_back(
    mut refused: TrySendError<Request<RequestBody>>,
) -> (hyper::Error, Option<Box<Request<RequestBody>>>) {
    let unsent = refused.take_message().map(Box::new);
    (refused.into_error(), unsent)
}

/// The request that a connection which is of no use any more has written last, if it may be sent once more.
fn written_by(driver: Driver) -> Option<Request<RequestBody>> {
    written(driver.into_parts().io)
}

/// One step of the protocol machine; ready once it has ended.
fn poll_driver(driver: &mut Option<Driver>, cx: &mut Context<'_>) -> Poll<()> {
    driver.as_mut().map_or(Poll::Ready(()), |driver| driver.poll_without_shutdown(cx).map(drop))
}

/// By when the server has to do what comes next.
pub(super) struct Watch {
    upload: Option<UploadOutcome>,
    seen: Option<u32>,
    since: Instant,
    patience: Patience,
}

impl Watch {
    pub(super) fn new(upload: Option<UploadOutcome>, since: Instant, patience: Patience) -> Self {
        let seen = upload.as_ref().and_then(UploadOutcome::progress);
        Self { upload, seen, since, patience }
    }

    pub(super) fn deadline(&mut self, clock: Clock) -> Instant {
        let progress = self.upload.as_ref().and_then(UploadOutcome::progress);
        if progress != self.seen {
            (self.seen, self.since) = (progress, clock.now());
        }
        self.since + self.patience.after(progress)
    }
}

/// Refuses a head that is no answer or whose body could be read in two ways, and takes away what concerned this connection
/// only; of a 101 that is the word of the new protocol. Returns its status.
pub(super) fn admit<B>(response: &mut Response<B>, present: Present) -> Result<StatusCode, Error> {
    // Statuses end at 599 (RFC 9110 section 15).
    if response.status().as_u16() > 599 {
        return Err(Error::InvalidResponse);
    }
    if !is_framed_once(response.headers(), present, response.version()) {
        return Err(Error::InvalidResponse);
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        fields::remove_hop_by_hop_of(response.headers_mut(), present);
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(response.status())
}

/// Whether a head has one known coding, or one length that is a number, or neither. The protocol library reads a body of
/// unknown coding up to the end of the connection and leaves the coding on: handed on without its `Transfer-Encoding`, it
/// would be another body. It also overlooks a second length (RFC 9112 section 6.3), and every length where there is no body.
fn is_framed_once(headers: &HeaderMap, present: Present, version: Version) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (length, second) = (lengths.next(), lengths.next());
    match fields::transfer_coding(headers, present) {
        TransferCoding::Absent => {
            second.is_none() && length.is_none_or(|length| fields::plain_number(length).is_some())
        }
        TransferCoding::Chunked => version == Version::HTTP_11 && length.is_none(),
        TransferCoding::Other => false,
    }
}

/// How long the server says that it keeps an unused connection, less a second.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(HeaderName::from_static("keep-alive"))?.to_str().ok()?;
    let seconds =
        value.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.parse::<u64>().ok())?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("born", &self.born)
            .field("is_used", &self.is_used)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_that_there_is() {
        for (status, is_admitted) in [(200, true), (599, true), (600, false), (999, false)] {
            let mut response = Response::builder().status(status).body(()).unwrap();
            let present = Present::of(response.headers());
            assert_eq!(admit(&mut response, present).is_ok(), is_admitted, "{status}");
        }
    }

    #[test]
    fn an_answer_is_framed_in_one_way() {
        let framed = |lines: &[(&str, &str)]| {
            let fields = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let headers = fields.collect();
            is_framed_once(&headers, Present::of(&headers), Version::HTTP_11)
        };
        let (length, coding) = ("content-length", ("transfer-encoding", "chunked"));
        assert!(framed(&[]) && framed(&[(length, "3")]) && framed(&[coding]));
        assert!(!framed(&[(length, "3"), coding]));
        assert!(!framed(&[(length, "3"), (length, "3")]));
        for text in ["3, 3", "+3", "-3", "0x3", "", "three"] {
            assert!(!framed(&[(length, text)]), "{text:?}");
        }
    }
}
