//! A stream of events, which ends when the process does: whole, so that the client asks again and elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http_body::{Body as _, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::BrokenOff;
use crate::http::fields;
use crate::upstream::ResponseBody;

/// A body that its server does not end.
#[derive(Debug)]
pub(super) struct Events {
    body: ResponseBody,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Whether a head announces events that go on until somebody ends them.
pub(super) fn are_endless(headers: &HeaderMap) -> bool {
    fields::is_event_stream(headers) && !headers.contains_key(header::CONTENT_LENGTH)
}

impl Events {
    pub(super) fn new(body: ResponseBody, end: CancellationToken) -> Self {
        Self { body, end: Box::pin(end.cancelled_owned()) }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => self.end.as_mut().poll(cx).map(|()| None),
            Poll::Ready(next) => Poll::Ready(next.map(|next| next.map_err(|_| BrokenOff))),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
