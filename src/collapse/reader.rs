//! The body of a flight as one participant reads it, from its first byte, at its own pace.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use thiserror::Error;

use super::Cargo;
use super::flight::Flight;

/// The fetch broke off, or this reader was too slow: the body is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the response broke off before its end")]
pub struct Broken;

/// A reader of a flight's body.
#[derive(Debug)]
pub struct Reader<C: Cargo> {
    flight: Arc<Flight<C>>,
    number: usize,
    is_done: bool,
}

impl<C: Cargo> Reader<C> {
    /// Takes over a seat.
    pub(super) fn new(flight: Arc<Flight<C>>, number: usize) -> Self {
        Self { flight, number, is_done: false }
    }
}

impl<C: Cargo> Body for Reader<C> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.is_done {
            return Poll::Ready(None);
        }
        let mut guard = this.flight.state();
        let state = &mut *guard;
        if state.seats.get(this.number).is_none_or(|place| place.is_cut) {
            this.is_done = true;
            return Poll::Ready(Some(Err(Broken)));
        }
        if let Some(chunk) = this.flight.read_next(state, this.number) {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(place) = state.seats.get_mut(this.number) else { return Poll::Ready(None) };
        match &state.end {
            None => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(end) => {
                this.is_done = true;
                Poll::Ready(match end {
                    Ok(trailers) => trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))),
                    Err(broken) => Some(Err(*broken)),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_done || {
            let state = self.flight.state();
            matches!(state.end, Some(Ok(None))) && state.has_read_all(self.number)
        }
    }
}

impl<C: Cargo> Drop for Reader<C> {
    fn drop(&mut self) {
        self.flight.leave(self.number);
    }
}
