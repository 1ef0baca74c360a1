//! The fetch's end of a flight: it says who may have the response, and hands on the body as it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::super::Cargo;
use super::super::reader::Broken;
use super::super::sync::timeout;
use super::{Flight, Phase, State, WINDOW};
use crate::clock::Clock;

/// For how long slow readers may hold up those who wait for more, in each half of a window. One that takes less than this
/// in half a window's time is cut, so that the others never get less than 64 KiB a second because of it.
const GRACE: Duration = Duration::from_secs(2);
const HALF: u64 = WINDOW / 2;

/// The fetch's end of a flight. Dropped before it is done, it breaks the flight off for everybody.
#[derive(Debug)]
pub struct Producer<C: Cargo> {
    flight: Arc<Flight<C>>,
    clock: Clock,
    is_done: bool,
    /// For how long the others were held up since this half of a window began, and how long it is by now.
    held_up: Duration,
    half: u64,
}

impl<C: Cargo> Producer<C> {
    pub(super) fn new(flight: Arc<Flight<C>>, clock: Clock) -> Self {
        Self { flight, clock, is_done: false, held_up: Duration::ZERO, half: 0 }
    }

    pub(in crate::collapse) fn flight(&self) -> &Arc<Flight<C>> {
        &self.flight
    }

    /// What was known of the fetch when it began.
    pub fn mark(&self) -> &C::Mark {
        self.flight.mark()
    }

    /// The upstream is asked now: who insists on an answer to a later question than this must not join any more.
    pub fn depart(&self) {
        self.flight.state.lock().has_departed = true;
    }

    /// Whether somebody takes part besides the one who began.
    pub fn has_followers(&self) -> bool {
        self.flight.state.lock().active().any(|place| place.has_joined)
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

    /// Adds a chunk. Once the body is not kept whole any more it waits while the window is full, but not for ever: who
    /// holds others up for longer than a moment is cut, and so is who reads nothing at all for `patience`.
    ///
    /// # Errors
    /// [`Abandoned`] when nobody reads and the body is not kept whole either.
    pub async fn push(&mut self, chunk: Bytes, retain: u64, patience: Duration) -> Result<(), Abandoned> {
        self.half += chunk.len() as u64;
        if self.half >= HALF {
            (self.half, self.held_up) = (0, Duration::ZERO);
        }
        match self.append(chunk, retain) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => self.wait_for_room(patience).await,
        }
    }

    fn append(&self, chunk: Bytes, retain: u64) -> Poll<Result<(), Abandoned>> {
        let length = chunk.len() as u64;
        let flight = &*self.flight;
        let all = flight.retained.fetch_add(length, Ordering::Relaxed) + length;
        let mut state = flight.state.lock();
        state.blocks.append(chunk);
        if state.is_whole && (state.blocks.length() > retain || all > flight.budget.load(Ordering::Relaxed)) {
            // From here on only what somebody has yet to read is kept, and nobody may join any more.
            state.is_whole = false;
            flight.slide(&mut state);
        }
        state.wake_all();
        state.room()
    }

    async fn wait_for_room(&mut self, patience: Duration) -> Result<(), Abandoned> {
        let mut untouched = Duration::ZERO;
        loop {
            let (began, most) = (self.clock.now(), (GRACE - self.held_up).min(patience - untouched));
            let room = timeout(most, std::future::poll_fn(|cx| self.poll_room(cx))).await;
            let waited =
                if room.is_ok() { self.clock.now().saturating_duration_since(began).min(most) } else { most };
            // Where nobody waits for more, all are equally slow, and nobody is held up.
            let is_waited_for = self.flight.state.lock().is_waited_for();
            self.held_up = if is_waited_for { self.held_up + waited } else { Duration::ZERO };
            untouched += waited;
            if let Ok(outcome) = room {
                return outcome;
            }
            if self.held_up >= GRACE || untouched >= patience {
                self.cut_the_slow();
                (self.held_up, untouched) = (Duration::ZERO, Duration::ZERO);
            }
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Abandoned>> {
        let mut state = self.flight.state.lock();
        let room = state.room();
        if room.is_pending() {
            state.wants_room = Some(cx.waker().clone());
        }
        room
    }

    /// Cuts everybody who is in the older half of the window.
    fn cut_the_slow(&self) {
        let mut state = self.flight.state.lock();
        let middle = state.blocks.last_behind(HALF);
        let State { seats, active, .. } = &mut *state;
        for (_, place) in seats {
            if place.position.block <= middle && !place.is_cut {
                place.is_cut = true;
                *active -= 1;
                if let Some(waker) = place.waker.take() {
                    waker.wake();
                }
            }
        }
        self.flight.slide(&mut state);
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
            state.awaits_desertion = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
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
