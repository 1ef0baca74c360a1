//! Answers to requests for a part of a resource (RFC 9110 14).
//!
//! A stored response answers them. Where it is stale it is validated as a whole, together with whoever else asks, and if
//! another whole comes instead, its part is cut from the stream. What is not stored is fetched alone, as the client asked
//! for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http::{Method, Response, header, response};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Body;
use crate::cache::{self, Forwarded, Precondition, Selected, Wanted, range};
use crate::collapse::{Broken, Reader};
use crate::policy::Sharing;

/// An answer from a stored response: what the client wants of it. The conditions go first (RFC 9110 13.2.2).
pub(super) fn answer_from(
    selected: &Selected,
    mut parts: Parts,
    forwarded: Option<Forwarded>,
) -> Response<Body> {
    let wanted = match selected.evaluate(&parts.headers) {
        Precondition::Full if parts.method == Method::GET => selected.wanted(&parts.headers),
        Precondition::Full | Precondition::NotModified => Wanted::Whole,
    };
    if wanted == Wanted::Whole {
        return super::answer_from(selected, parts, forwarded);
    }
    let recycled = std::mem::take(&mut parts.headers);
    let (status, headers, cut) = selected.answer_part(&wanted, forwarded, recycled);
    let mut response = Response::new(Body::cut(cut));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A whole response that streams to several, cut to the one part that this client wants.
pub(super) fn of_live(mut head: response::Parts, reader: Reader<Sharing>, asked: &Parts) -> Response<Body> {
    // The conditions go first here, too.
    let is_asked = asked.method == Method::GET
        && asked.headers.contains_key(header::RANGE)
        && cache::evaluate(&asked.headers, &head.headers) == Precondition::Full;
    let span =
        is_asked.then(|| range::cut_live(&asked.headers, &mut head.status, &mut head.headers)).flatten();
    let body = match span {
        Some(span) => Body::window(Box::new(Window { reader, skip: span.first, left: span.length() })),
        None => Body::flight(reader),
    };
    Response::from_parts(head, body)
}

/// Some bytes of a body that passes by.
#[derive(Debug)]
pub(super) struct Window {
    reader: Reader<Sharing>,
    skip: u64,
    left: u64,
}

impl Window {
    fn trim(&mut self, data: &mut Bytes) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        data.advance(skipped);
        self.skip -= skipped as u64;
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
    }
}

impl HttpBody for Window {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while self.left > 0 {
            let Some(frame) = ready!(Pin::new(&mut self.reader).poll_frame(cx)?) else { break };
            let Ok(mut data) = frame.into_data() else { continue };
            self.trim(&mut data);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
