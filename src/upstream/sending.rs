//! A request on its way, from server to server until one takes it, and what comes back for it.

use http::header::UPGRADE;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::body::ResponseBody;
use super::{Commitment, Error, Server};
use crate::http::body::{RequestBody, UploadOutcome};
use crate::metrics::Counter;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending<'c> {
    /// Here until it begins to be sent; back here when not a byte of it was.
    pub(super) request: Option<Box<Request<RequestBody>>>,
    /// Whether nothing of it is to be sent twice, whatever RFC 9110 allows.
    pub(super) is_only_once: bool,
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

    /// Whether it may be sent twice: it is idempotent, and has no body that would be gone (RFC 9110 section 9.2.2). To be asked before
    /// it is taken.
    pub(super) fn may_be_sent_twice(&self) -> bool {
        let is_repeatable = |request: &Request<RequestBody>| {
            request.method().is_idempotent() && request.body().is_end_stream()
        };
        !self.is_only_once && self.request.as_ref().is_some_and(|request| is_repeatable(request))
    }

    /// A copy of one that may be sent twice.
    pub(super) fn copy(&self) -> Option<Box<Request<RequestBody>>> {
        let request = self.request.as_ref().filter(|_| self.may_be_sent_twice())?;
        let mut copy = Box::new(Request::new(RequestBody::Empty));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }

    /// The request, to be sent now.
    pub(super) fn take(&mut self) -> Option<Request<RequestBody>> {
        if let Some(commitment) = self.commitment {
            commitment.make();
        }
        let request = self.request.take()?;
        self.is_unsent = false;
        self.head = None;
        Some(*request)
    }

    /// It failed; `unsent` is the request where not a byte of it was sent. Else a connection that ended without an answer allows a
    /// second sending, of `again`; nothing else does.
    pub(super) fn failed(
        &mut self,
        error: Error,
        unsent: Option<Box<Request<RequestBody>>>,
        again: Option<Box<Request<RequestBody>>>,
    ) {
        self.is_unsent = unsent.is_some();
        self.request = unsent.or(again.filter(|_| error == Error::ConnectionTerminated));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn sending(method: &str) -> Sending<'static> {
        let request = Request::builder().method(method).body(RequestBody::Empty).unwrap();
        Sending::new(Box::new(request), None, Clock::start().now())
    }

    #[test]
    fn only_idempotent_requests_are_sent_twice_and_only_after_a_connection_was_lost() {
        for (method, is_idempotent) in [
            ("GET", true),
            ("HEAD", true),
            ("DELETE", true),
            ("PUT", true),
            ("POST", false),
            ("PATCH", false),
            ("SCAN", false),
        ] {
            for (error, allows) in [
                (Error::ConnectionTerminated, true),
                (Error::ResponseTimeout, false),
                (Error::InvalidResponse, false),
            ] {
                let mut sending = sending(method);
                assert_eq!(sending.may_be_sent_twice(), is_idempotent, "{method}");
                let copy = sending.copy();
                assert_eq!(copy.is_some(), is_idempotent, "{method}");
                assert!(sending.take().is_some());
                sending.failed(error, None, copy);
                assert_eq!(sending.can_be_sent_again(), is_idempotent && allows, "{method} {error:?}");
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
            let request = if is_sent { sending.take() } else { None };
            if fails {
                sending.failed(Error::ConnectionTerminated, request.map(Box::new), None);
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
        let request = sending.take();
        sending.failed(Error::ConnectionTerminated, request.map(Box::new), None);
        assert!(sending.can_be_sent_again());
    }
}
