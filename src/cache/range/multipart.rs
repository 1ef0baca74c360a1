//! Several parts of one stored body as `multipart/byteranges` (RFC 9110 14.6).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderValue;
use http_body::{Body, Frame, SizeHint};

use super::Span;
use crate::cache::body::StoredBody;

/// A body of several parts, each with a few lines in front.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    parts: std::vec::IntoIter<(Bytes, StoredBody)>,
    current: Option<StoredBody>,
    /// The last boundary, until it is sent.
    end: Option<Bytes>,
    left: u64,
}

impl Multipart {
    /// Of `whole` these parts; `kind` is the whole's media type.
    pub(super) fn new(spans: &[Span], whole: &StoredBody, kind: Option<&HeaderValue>) -> Self {
        // Nobody who chooses the content can know it.
        let random = || RandomState::new().hash_one(spans.len());
        let boundary = format!("{:016x}{:016x}", random(), random());
        let part = |span: &Span| {
            (Bytes::from(lines(&boundary, *span, whole.left(), kind)), whole.clone().span(*span))
        };
        let parts: Vec<_> = spans.iter().map(part).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        let content: u64 = parts.iter().map(|(lines, body)| lines.len() as u64 + body.left()).sum();
        let left = content + end.len() as u64;
        Self { boundary, parts: parts.into_iter(), current: None, end: Some(end), left }
    }

    /// What is still to be sent, in bytes.
    pub fn length(&self) -> u64 {
        self.left
    }

    pub(super) fn content_type(&self) -> HeaderValue {
        let value = HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.boundary));
        value.unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges"))
    }

    /// What comes next.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if let Some(data) = self.current.as_mut().and_then(StoredBody::next_chunk) {
            return Some(data);
        }
        match self.parts.next() {
            Some((lines, body)) => {
                self.current = Some(body);
                Some(lines)
            }
            None => {
                self.current = None;
                self.end.take()
            }
        }
    }
}

/// What stands before a part.
fn lines(boundary: &str, span: Span, length: u64, kind: Option<&HeaderValue>) -> String {
    let mut text = format!("\r\n--{boundary}\r\n");
    // Writing to a String cannot fail.
    if let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) {
        let _ = write!(text, "Content-Type: {kind}\r\n");
    }
    let _ = write!(text, "Content-Range: bytes {}-{}/{length}\r\n\r\n", span.first, span.last);
    text
}

impl Body for Multipart {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let next = this.next_piece();
        this.left -= next.as_ref().map_or(0, |data| data.len() as u64);
        Poll::Ready(next.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
