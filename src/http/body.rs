//! The body of a request on its way to an upstream: bounded in size and in patience, and honest about what ended it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
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
    /// Nothing came for longer than the body timeout (408).
    #[error("the request body stalled")]
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
    /// A client's that was read already.
    Whole(Bytes),
    /// A client's, while it arrives.
    Upload(Box<Upload>),
}

/// A client's body with its bounds.
#[derive(Debug)]
pub struct Upload {
    incoming: Incoming,
    left: u64,
    patience: Duration,
    stall: Deadline,
    /// Whether it was ever waited for.
    is_late: bool,
    clock: Clock,
    outcome: UploadOutcome,
}

impl RequestBody {
    /// Wraps a client's body: at most `limit` bytes, at most `patience` between two chunks.
    pub fn upload(incoming: Incoming, limit: u64, patience: Duration, clock: Clock) -> (Self, UploadOutcome) {
        let outcome = UploadOutcome::default();
        if incoming.is_end_stream() {
            return (Self::Empty, outcome);
        }
        let upload = Upload {
            incoming,
            left: limit,
            patience,
            stall: Deadline::default(),
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
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
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

impl Upload {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Poll::Ready(next) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            // Armed on the first wait only: a body that came with its head costs no timer.
            if !self.stall.is_set() {
                self.stall.set(Some(self.clock.now() + self.patience));
                self.is_late = true;
            }
            ready!(self.stall.poll_passed(cx));
            return Poll::Ready(Some(Err(self.outcome.set(UploadFault::Stalled))));
        };
        self.stall.set(None);
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
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return Err(self.outcome.set(UploadFault::TooLarge)),
        }
        if self.incoming.is_end_stream() {
            self.has_ended();
        }
        Ok(clean(frame))
    }

    fn has_ended(&self) {
        if self.is_late {
            self.outcome.0.ended.get_or_init(|| self.clock.now());
        }
        self.outcome.0.has_ended.store(true, Ordering::Release);
    }
}

/// A frame of any body, its trailers without what must not come after the body.
pub fn clean(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            fields::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}
