//! A request on its way, from server to server until one takes it.

use http::Request;
use http_body::Body as _;
use tokio::time::Instant;

use super::{Commitment, Error, Server};
use crate::http::body::RequestBody;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending<'c> {
    /// Here until it begins to be sent; back here when not a byte of it was.
    pub(super) request: Option<Request<RequestBody>>,
    /// A copy of one that may be sent twice, made when a kept connection is about to be tried.
    spare: Option<Request<RequestBody>>,
    /// Whether not a byte of it was sent so far, or when it last failed.
    pub(super) is_unsent: bool,
    /// Made when it begins to be sent.
    pub(super) commitment: Option<&'c Commitment>,
    /// When the clock was last read for it.
    pub(super) now: Instant,
}

impl<'c> Sending<'c> {
    pub(super) fn new(
        request: Request<RequestBody>,
        commitment: Option<&'c Commitment>,
        now: Instant,
    ) -> Self {
        Self { request: Some(request), spare: None, is_unsent: true, commitment, now }
    }

    pub(super) fn name_host(&mut self, server: &Server) {
        if let Some(request) = &mut self.request {
            server.name_host(request);
        }
    }

    /// The request, to be sent now. On a kept connection the server may just be closing, so that a copy is worth its
    /// price; a new connection gets none.
    pub(super) fn take(&mut self, is_kept: bool) -> Option<Request<RequestBody>> {
        if let Some(commitment) = self.commitment {
            commitment.make();
        }
        let request = self.request.take()?;
        self.is_unsent = false;
        self.spare = if is_kept { copy(&request) } else { None };
        Some(request)
    }

    /// It failed, not a byte of it sent where it is given back. A kept connection that turns out to be closed allows a
    /// second sending (RFC 9110 section 9.2.2); nothing else does.
    pub(super) fn failed(&mut self, error: Error, unsent: Option<Request<RequestBody>>) {
        self.is_unsent = unsent.is_some();
        let again = self.spare.take().filter(|_| error == Error::ConnectionTerminated);
        self.request = unsent.or(again);
    }

    pub(super) fn can_be_sent_again(&self) -> bool {
        self.request.is_some()
    }
}

/// A copy for a second sending, where a second sending is allowed: an idempotent method, and no body.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn sending(method: &str) -> Sending<'static> {
        let request = Request::builder().method(method).body(RequestBody::Empty).unwrap();
        Sending::new(request, None, Clock::start().now())
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
    fn what_was_not_sent_may_be_sent_whatever_it_is() {
        let mut sending = sending("POST");
        let request = sending.take(true);
        sending.failed(Error::ConnectionTerminated, request);
        assert!(sending.can_be_sent_again());
    }
}
