//! The fetch's end of a flight: it says who may have the response, and hands on the body as it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::{Chunk, Flight, Phase, WINDOW};
use crate::collapse::Cargo;
use crate::collapse::reader::Broken;

/// A chunk shorter than this is copied out of the read buffer that it would otherwise pin.
const COPY_BELOW: usize = 4096;

/// The fetch's end of a flight. Dropped before it is done, it breaks the flight off for everybody.
#[derive(Debug)]
pub struct Producer<C: Cargo> {
    flight: Arc<Flight<C>>,
    is_done: bool,
}

impl<C: Cargo> Producer<C> {
    pub(super) fn new(flight: Arc<Flight<C>>) -> Self {
        Self { flight, is_done: false }
    }

    pub(in crate::collapse) fn flight(&self) -> &Arc<Flight<C>> {
        &self.flight
    }

    /// What was known of the fetch when it began.
    pub fn mark(&self) -> &C::Mark {
        self.flight.mark()
    }

    /// The head may be shared: everybody gets it now, the body as it comes.
    pub fn share(&self, head: C::Head) {
        let mut state = self.flight.state.lock();
        state.phase = Phase::Shared(Arc::new(head));
        state.wake_all();
    }

    /// The response may not be shared: it goes to the one who began, all others are sent on their own.
    pub fn release(mut self, response: C::Response) {
        self.is_done = true;
        let mut state = self.flight.state.lock();
        // Where the one who began has left, the response has no owner and is dropped with the flight.
        state.phase = Phase::Released(Some(response));
        state.wake_all();
    }

    /// The one who began is turned away for reasons that are its own: all others are sent on their own.
    pub fn refuse(mut self, error: C::Error) {
        self.is_done = true;
        let mut state = self.flight.state.lock();
        state.phase = Phase::Refused(Some(error));
        state.wake_all();
    }

    /// There is no response.
    pub fn fail(mut self, error: C::Error) {
        self.is_done = true;
        let mut state = self.flight.state.lock();
        state.phase = Phase::Failed(error);
        state.wake_all();
    }

    /// Adds a chunk; waits while the slowest reader is too far behind, but for `patience` only: then it is cut.
    ///
    /// # Errors
    /// [`Abandoned`] when nobody reads and the body is not kept whole either.
    pub async fn push(&self, chunk: Bytes, retain: u64, patience: Duration) -> Result<(), Abandoned> {
        self.append(chunk, retain);
        let room = std::future::poll_fn(|cx| self.poll_room(cx));
        match tokio::time::timeout(patience, room).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.cut_the_slowest();
                Ok(())
            }
        }
    }

    fn append(&self, chunk: Bytes, retain: u64) {
        let chunk = if chunk.len() < COPY_BELOW { Bytes::copy_from_slice(&chunk) } else { chunk };
        let length = chunk.len() as u64;
        let flight = &*self.flight;
        let all = flight.retained.fetch_add(length, Ordering::Relaxed) + length;
        let mut state = flight.state.lock();
        state.kept += length;
        let unread = state.seats.iter().filter(|(_, place)| !place.is_cut).count();
        state.chunks.push_back(Chunk { bytes: chunk, unread });
        if state.is_whole && (state.kept > retain || all > flight.budget.load(Ordering::Relaxed)) {
            state.open_window();
        }
        state.wake_all();
        flight.reclaim(&mut state);
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Abandoned>> {
        let mut state = self.flight.state.lock();
        if state.is_whole || state.kept < WINDOW {
            return Poll::Ready(if !state.is_whole && state.is_deserted() { Err(Abandoned) } else { Ok(()) });
        }
        if state.is_deserted() {
            return Poll::Ready(Err(Abandoned));
        }
        state.producer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn cut_the_slowest(&self) {
        let mut state = self.flight.state.lock();
        let first = state.first;
        let mut cut = 0;
        for (_, place) in &mut state.seats {
            if place.next <= first && !place.is_cut {
                place.is_cut = true;
                cut += 1;
                if let Some(waker) = place.waker.take() {
                    waker.wake();
                }
            }
        }
        (0..cut).for_each(|_| state.unwant_from(first));
        self.flight.reclaim(&mut state);
    }

    /// Whether nobody takes part any more; until the flight has landed, somebody may yet join.
    pub(in crate::collapse) fn is_abandoned(&self) -> bool {
        self.flight.state.lock().is_deserted()
    }

    /// Waits until nobody takes part any more.
    pub async fn abandoned(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.flight.state.lock();
            if state.is_deserted() {
                return Poll::Ready(());
            }
            state.producer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Every chunk so far, where all of them are still kept.
    pub fn whole(&self) -> Option<Vec<Bytes>> {
        let state = self.flight.state.lock();
        state.is_whole.then(|| state.chunks.iter().map(|chunk| chunk.bytes.clone()).collect())
    }

    /// The body is complete.
    pub fn finish(mut self, trailers: Option<HeaderMap>) {
        self.is_done = true;
        self.end(Ok(trailers));
    }

    fn end(&self, end: Result<Option<HeaderMap>, Broken>) {
        let mut state = self.flight.state.lock();
        state.end = Some(end);
        state.wake_all();
    }
}

impl<C: Cargo> Drop for Producer<C> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut state = self.flight.state.lock();
        if matches!(state.phase, Phase::Fetching) {
            state.phase = Phase::Released(None);
        }
        state.end = Some(Err(Broken));
        state.wake_all();
    }
}

/// Everybody has left: nobody wants the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;
