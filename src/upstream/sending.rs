//! A request on its way, from server to server until one takes it, and what comes back for it.

use http::header::{HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, Uri};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::ResponseBody;
use super::{Commitment, Error, Server};
use crate::http::body::{RequestBody, UploadOutcome};
use crate::metrics::Counter;

/// What the fields of a request usually take, in bytes, those of a browser included.
const USUAL_FIELDS: usize = 1024;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending<'c> {
    /// Here until it begins to be sent; back here when not a byte of it was.
    pub(super) request: Option<Box<Request<RequestBody>>>,
    /// Whether nothing of it is to be sent twice, whatever RFC 9110 allows.
    pub(super) is_only_once: bool,
    /// A copy of one that may be sent twice, made when a kept connection is about to be tried.
    spare: Option<Spare>,
    /// Whether not a byte of it was sent so far, or when it last failed.
    pub(super) is_unsent: bool,
    /// Whether it last failed on a kept connection that was closed in that moment.
    pub(super) crossed_a_close: bool,
    /// Whether it last failed because its client broke off its upload.
    pub(super) is_clients_fault: bool,
    /// Made when it begins to be sent.
    pub(super) commitment: Option<&'c Commitment>,
    /// Counts it where it is dropped under way; gone once it is known how the attempt has ended.
    pub(super) cancelled: Option<&'c Counter>,
    /// When the clock was last read for it.
    pub(super) now: Instant,
    /// The head that has come back. It lands here, and so does the answer: handed on from call to call they would be copied at
    /// each.
    pub(super) head: Option<Response<Incoming>>,
    /// The same, tied to what its body comes through.
    answer: Option<Response<ResponseBody>>,
}

impl<'c> Sending<'c> {
    pub(super) fn new(
        request: Box<Request<RequestBody>>,
        commitment: Option<&'c Commitment>,
        now: Instant,
    ) -> Self {
        Self {
            request: Some(request),
            is_only_once: false,
            spare: None,
            is_unsent: true,
            crossed_a_close: false,
            is_clients_fault: false,
            commitment,
            cancelled: None,
            now,
            head: None,
            answer: None,
        }
    }

    /// Whether it may try a server of which nobody knows whether it is back: asking again does no harm.
    pub(super) fn may_try(&self) -> bool {
        let is_repeatable =
            |request: &Request<RequestBody>| request.method().is_safe() && request.body().is_end_stream();
        self.request.as_ref().is_some_and(|request| is_repeatable(request))
    }

    /// Whether it asks for another protocol on its connection.
    pub(super) fn asks_for_an_upgrade(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.headers().contains_key(UPGRADE))
    }

    pub(super) fn name_host(&mut self, server: &Server) {
        if let Some(request) = &mut self.request {
            server.name_host(request);
        }
    }

    /// How the upload fares, where there is one.
    pub(super) fn upload(&self) -> Option<UploadOutcome> {
        self.request.as_ref()?.body().outcome()
    }

    /// The request, to be sent now. On a kept connection the server may just be closing, so that a copy is worth its
    /// price; a new connection gets none.
    pub(super) fn take(&mut self, is_kept: bool) -> Option<Request<RequestBody>> {
        if let Some(commitment) = self.commitment {
            commitment.make();
        }
        let request = self.request.take()?;
        self.is_unsent = false;
        self.head = None;
        self.spare = if is_kept && !self.is_only_once { Spare::of(&request) } else { None };
        Some(*request)
    }

    /// It failed, not a byte of it sent where it is given back. A kept connection that turns out to be closed allows a
    /// second sending (RFC 9110 section 9.2.2); nothing else does.
    pub(super) fn failed(&mut self, error: Error, unsent: Option<Box<Request<RequestBody>>>) {
        self.is_unsent = unsent.is_some();
        let spare = self.spare.take().filter(|_| error == Error::ConnectionTerminated);
        self.request = unsent.or_else(|| spare.and_then(Spare::into_request).map(Box::new));
    }

    pub(super) fn can_be_sent_again(&self) -> bool {
        self.request.is_some()
    }

    /// The head that has come back is tied to what its body comes through.
    pub(super) fn answered(&mut self, tie: impl FnOnce(Response<Incoming>) -> Response<ResponseBody>) {
        self.answer = self.head.take().map(tie);
    }

    /// What has come back, once an exchange has ended well.
    #[expect(clippy::expect_used, reason = "an exchange that ends well has brought a head")]
    pub(super) fn into_answer(mut self) -> Response<ResponseBody> {
        self.answer.take().expect("there is an answer after an exchange")
    }
}

impl Drop for Sending<'_> {
    /// Nobody waits for it any more. What was not sent has cost the server nothing.
    fn drop(&mut self) {
        if self.request.is_none()
            && let Some(cancelled) = self.cancelled
        {
            cancelled.inc();
        }
    }
}

/// A copy for a second sending. Nearly none is ever sent, so the fields are kept as text: one piece of memory, and nothing else
/// to be dropped.
#[derive(Debug)]
struct Spare {
    method: Method,
    uri: Uri,
    /// A line for each, `name:value\n`; neither has a line feed in it, nor a name a colon (RFC 9110 section 5).
    fields: Vec<u8>,
}

impl Spare {
    /// Made only where a second sending is allowed: an idempotent method, and no body.
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        if !request.method().is_idempotent() || !request.body().is_end_stream() {
            return None;
        }
        let mut fields = Vec::with_capacity(USUAL_FIELDS);
        for (name, value) in request.headers() {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        Some(Self { method: request.method().clone(), uri: request.uri().clone(), fields })
    }

    /// The request once more; none where a line does not read as it was written.
    fn into_request(self) -> Option<Request<RequestBody>> {
        let mut request = Request::new(RequestBody::Empty);
        for line in self.fields.split_inclusive(|byte| *byte == b'\n') {
            let mut halves = line.strip_suffix(b"\n")?.splitn(2, |byte| *byte == b':');
            let name = HeaderName::from_bytes(halves.next()?).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(halves.next()?).ok()?);
        }
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn sending(method: &str) -> Sending<'static> {
        let request = Request::builder().method(method).body(RequestBody::Empty).unwrap();
        Sending::new(Box::new(request), None, Clock::start().now())
    }

    #[test]
    fn a_second_sending_is_the_same_request() {
        let request = Request::builder()
            .method("GET")
            .uri("/scan/1?a=b:c")
            .header("host", "scan:8000")
            .header("cookie", "a=1; b=\u{fc}")
            .header("accept", "")
            .header("x-list", "one")
            .header("x-bytes", b"\xff\t:\x80".as_slice())
            .header("x-list", "two: 2")
            .header("x-".repeat(100), "\tblanks \t")
            .body(RequestBody::Empty)
            .unwrap();
        let again = Spare::of(&request).unwrap().into_request().unwrap();
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
        assert!(again.headers().iter().eq(request.headers()));
    }

    #[test]
    fn only_idempotent_requests_are_sent_twice_and_only_after_a_kept_connection_was_closed() {
        for (method, is_idempotent) in [
            ("GET", true),
            ("HEAD", true),
            ("DELETE", true),
            ("PUT", true),
            ("POST", false),
            ("PATCH", false),
            ("SCAN", false),
        ] {
            for (is_kept, error, allows) in [
                (true, Error::ConnectionTerminated, true),
                (false, Error::ConnectionTerminated, false),
                (true, Error::ResponseTimeout, false),
                (true, Error::InvalidResponse, false),
            ] {
                let mut sending = sending(method);
                assert!(sending.take(is_kept).is_some());
                sending.failed(error, None);
                assert_eq!(
                    sending.can_be_sent_again(),
                    is_idempotent && allows,
                    "{method} {is_kept} {error:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_dropped_under_way_is_counted_and_what_was_not_sent_or_has_ended_is_not() {
        let cancelled = Counter::default();
        let under_way = |is_sent: bool, has_ended: bool, fails: bool| {
            let before = cancelled.value();
            let mut sending = sending("GET");
            sending.cancelled = Some(&cancelled);
            let request = if is_sent { sending.take(true) } else { None };
            if fails {
                sending.failed(Error::ConnectionTerminated, request.map(Box::new));
            }
            if has_ended {
                sending.cancelled = None;
            }
            drop(sending);
            cancelled.value() - before
        };
        assert_eq!(under_way(true, false, false), 1);
        assert_eq!(under_way(false, false, false), 0, "it waited for a connection");
        assert_eq!(under_way(true, false, true), 0, "it came back unsent");
        assert_eq!(under_way(true, true, false), 0, "it is counted by how it ended");
    }

    #[test]
    fn what_was_not_sent_may_be_sent_whatever_it_is() {
        let mut sending = sending("POST");
        let request = sending.take(true);
        sending.failed(Error::ConnectionTerminated, request.map(Box::new));
        assert!(sending.can_be_sent_again());
    }
}
