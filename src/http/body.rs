//! The body of a request on its way to an upstream: bounded in size and in patience, and honest about what ended it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Instant;

use super::fields;
use crate::clock::Clock;
use crate::clock::deadline::Deadline;

/// What a client did wrong while its body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[repr(u8)]
pub enum UploadFault {
    /// More bytes than the listener allows (413).
    #[error("the request body is too large")]
    TooLarge = 1,
    /// Broken framing, or a client that went away (400, seen only by those who half-close).
    #[error("the request body ended early or was badly framed")]
    Broken = 2,
    /// Nothing came for longer than the body timeout, or too little for too long (408).
    #[error("the request body stalled, or came too slowly")]
    Stalled = 3,
}

/// Where the one who waits for a response learns how the upload fares.
#[derive(Debug, Clone, Default)]
pub struct UploadOutcome(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fault: AtomicU8,
    chunks: AtomicU32,
    has_ended: AtomicBool,
    has_trailers: AtomicBool,
    /// When the last of it came, where it had to be waited for.
    ended: OnceLock<Instant>,
}

impl UploadOutcome {
    /// The client's fault, if there was one so far.
    pub fn fault(&self) -> Option<UploadFault> {
        match self.0.fault.load(Ordering::Acquire) {
            1 => Some(UploadFault::TooLarge),
            2 => Some(UploadFault::Broken),
            3 => Some(UploadFault::Stalled),
            _ => None,
        }
    }

    /// How many chunks were taken so far; `None` once the whole body was.
    pub fn progress(&self) -> Option<u32> {
        (!self.0.has_ended.load(Ordering::Acquire)).then(|| self.0.chunks.load(Ordering::Relaxed))
    }

    /// Whether more may have been taken for the end of it than was. The HTTP library reads the trailers of a chunked body up to
    /// an empty line with CR and LF, of which it looks at what comes before the first empty line of any kind.
    pub fn is_end_in_doubt(&self) -> bool {
        self.0.has_trailers.load(Ordering::Acquire)
    }

    /// Since when the upstream can have all of a request that was `sent` then; `None` while its client owes some of it.
    pub fn handed_over(&self, sent: Instant) -> Option<Instant> {
        self.progress().is_none().then(|| self.0.ended.get().copied().unwrap_or(sent))
    }

    fn set(&self, fault: UploadFault) -> UploadFault {
        self.0.fault.store(fault as u8, Ordering::Release);
        fault
    }
}

/// A request body as it is sent upstream.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// None.
    #[default]
    Empty,
    /// A client's that was read already. In a box, as few requests have one, and each is copied at the size of the largest.
    Whole(Box<Bytes>),
    /// A client's, while it arrives.
    Upload(Box<Upload>),
}

/// How long a body may be waited for before its average rate counts.
const GRACE: Duration = Duration::from_secs(20);

/// What a client's body is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadBounds {
    /// Its size, in bytes.
    pub most: u64,
    /// Between two chunks.
    pub patience: Duration,
    /// Bytes for each second that it is waited for, beyond `GRACE`; 0: any number.
    pub min_rate: u64,
    /// Whether it is framed by HTTP/2, which leaves no doubt where it ends.
    pub is_http2: bool,
}

/// A client's body with its bounds.
#[derive(Debug)]
pub struct Upload {
    incoming: Incoming,
    bounds: UploadBounds,
    received: u64,
    stall: Deadline,
    /// Since when a chunk is waited for, and how long earlier ones were. What the upstream does not take is not waited for.
    waits_since: Option<Instant>,
    waited: Duration,
    /// Whether it was ever waited for.
    is_late: bool,
    clock: Clock,
    outcome: UploadOutcome,
}

impl RequestBody {
    /// Wraps a client's body.
    pub fn upload(incoming: Incoming, bounds: UploadBounds, clock: Clock) -> (Self, UploadOutcome) {
        let outcome = UploadOutcome::default();
        if incoming.is_end_stream() {
            return (Self::Empty, outcome);
        }
        let upload = Upload {
            incoming,
            bounds,
            received: 0,
            stall: Deadline::default(),
            waits_since: None,
            waited: Duration::ZERO,
            is_late: false,
            clock,
            outcome: outcome.clone(),
        };
        (Self::Upload(Box::new(upload)), outcome)
    }

    /// How the upload fares; `None` without a body.
    pub fn outcome(&self) -> Option<UploadOutcome> {
        match self {
            Self::Empty | Self::Whole(_) => None,
            Self::Upload(upload) => Some(upload.outcome.clone()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut **bytes))))),
            Self::Upload(upload) => upload.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Upload(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upload(upload) => upload.incoming.size_hint(),
        }
    }
}

impl UploadBounds {
    /// How long the next chunk may take, after `received` bytes were `waited` for.
    fn patience(&self, received: u64, waited: Duration) -> Duration {
        let Some(earned) = received.checked_div(self.min_rate) else { return self.patience };
        let left = (GRACE + Duration::from_secs(earned)).saturating_sub(waited);
        self.patience.min(left)
    }
}

impl Upload {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            // Armed on the first wait only: a body that came with its head costs no timer.
            if !self.stall.is_set() {
                let now = self.clock.now();
                let patience = self.bounds.patience(self.received, self.waited);
                self.stall.set(Some(now + patience));
                self.waits_since = Some(now);
                self.is_late = true;
            }
            ready!(self.stall.poll_passed(cx));
            return Poll::Ready(Some(Err(self.outcome.set(UploadFault::Stalled))));
        };
        self.stall.set(None);
        if let Some(since) = self.waits_since.take() {
            self.waited += self.clock.now().saturating_duration_since(since);
        }
        let Some(frame) = next else {
            self.has_ended();
            return Poll::Ready(None);
        };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(self.outcome.set(UploadFault::Broken)))) };
        Poll::Ready(Some(self.admit(frame)))
    }

    fn admit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, UploadFault> {
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        self.outcome.0.chunks.fetch_add(1, Ordering::Relaxed);
        self.received = self.received.saturating_add(length);
        if self.received > self.bounds.most {
            return Err(self.outcome.set(UploadFault::TooLarge));
        }
        if frame.is_trailers() && !self.bounds.is_http2 {
            self.outcome.0.has_trailers.store(true, Ordering::Release);
            if is_empty(&frame) {
                return Err(self.outcome.set(UploadFault::Broken));
            }
        }
        if self.incoming.is_end_stream() {
            self.has_ended();
        }
        Ok(clean(frame, fields::clean_upload_trailers))
    }

    fn has_ended(&self) {
        if self.is_late {
            self.outcome.0.ended.get_or_init(|| self.clock.now());
        }
        self.outcome.0.has_ended.store(true, Ordering::Release);
    }
}

/// Whether these are trailers without a field: in HTTP/1.1 something else stood in their place.
pub fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.trailers_ref().is_some_and(HeaderMap::is_empty)
}

/// A frame of any body, its trailers without what must not come after the body by this rule.
pub fn clean(frame: Frame<Bytes>, rule: fn(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            rule(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_come_at_an_average_rate_once_its_grace_is_used_up() {
        let seconds = Duration::from_secs;
        let bounds = UploadBounds { most: u64::MAX, patience: seconds(30), min_rate: 100, is_http2: false };
        for (received, waited, patience) in [
            (0, 0, 20),
            (0, 15, 5),
            (500, 20, 5),
            (99, 20, 0),
            (2_000, 60, 0),
            (100_000, 60, 30),
            (u64::MAX, 1_000_000, 30),
        ] {
            let found = bounds.patience(received, seconds(waited));
            assert_eq!(found, seconds(patience), "{received} bytes in {waited} s");
        }
        let any = UploadBounds { min_rate: 0, ..bounds };
        assert_eq!(any.patience(0, seconds(1000)), seconds(30));
    }
}
