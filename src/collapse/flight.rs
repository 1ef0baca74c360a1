//! One flight: what its fetch has brought so far, who waits for it, and who reads it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use slab::Slab;

use super::Cargo;
use super::reader::{Broken, Reader};

/// How far the slowest reader may stay behind once a body is no longer kept whole.
const WINDOW: u64 = 256 * 1024;
/// A chunk shorter than this is copied out of the read buffer that it would otherwise pin.
const COPY_BELOW: usize = 4096;

/// One fetch and its participants.
#[derive(Debug)]
pub struct Flight<C: Cargo> {
    mark: C::Mark,
    state: Mutex<State<C>>,
    retained: Arc<AtomicU64>,
    budget: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) struct State<C: Cargo> {
    phase: Phase<C>,
    /// Waiting for the head, or reading.
    pub(super) seats: Slab<Place>,
    chunks: VecDeque<Chunk>,
    /// The number of the first chunk that is still kept.
    first: u64,
    /// Bytes in `chunks`.
    kept: u64,
    /// Whether every chunk since the first byte is kept, so that one more may join.
    is_whole: bool,
    pub(super) end: Option<Result<Option<HeaderMap>, Broken>>,
    producer: Option<Waker>,
}

#[derive(Debug)]
enum Phase<C: Cargo> {
    Fetching,
    Shared(Arc<C::Head>),
    /// Not to be shared; the response is there until the one who began the flight takes it.
    Released(Option<C::Response>),
    Failed(C::Error),
    /// None for the one who began, for reasons of its own, until it takes the error.
    Refused(Option<C::Error>),
}

/// A part of the body.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    /// How many have yet to read it; counted only once the body is no longer kept whole.
    unread: usize,
}

/// Where a participant is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The number of the chunk that it reads next.
    next: u64,
    pub(super) waker: Option<Waker>,
    /// It read too slowly and must not hold the others up.
    pub(super) is_cut: bool,
}

/// What a participant gets.
#[derive(Debug)]
pub enum Outcome<C: Cargo> {
    /// A head and a body that several may have.
    Shared(Arc<C::Head>, Reader<C>),
    /// The response itself: it is for the one who began the flight.
    Yours(C::Response),
    /// It could not be shared: fetch alone.
    Alone,
    /// There is none.
    Failed(C::Error),
}

/// Everybody has left: nobody wants the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

impl<C: Cargo> Flight<C> {
    pub(super) fn new(mark: C::Mark, retained: Arc<AtomicU64>, budget: Arc<AtomicU64>) -> Self {
        let state = State {
            phase: Phase::Fetching,
            seats: Slab::new(),
            chunks: VecDeque::new(),
            first: 0,
            kept: 0,
            is_whole: true,
            end: None,
            producer: None,
        };
        Self { mark, state: Mutex::new(state), retained, budget }
    }

    /// What was known of the fetch when it began.
    pub(super) fn mark(&self) -> &C::Mark {
        &self.mark
    }

    /// The two ends of a new flight.
    pub(super) fn board(flight: &Arc<Self>) -> (Producer<C>, Seat<C>) {
        let number = flight.state.lock().seats.insert(Place::default());
        let seat = Seat { flight: Arc::clone(flight), number, is_first: true, has_left: false };
        (Producer { flight: Arc::clone(flight), is_done: false }, seat)
    }

    /// `None` where the flight can no longer be joined, `Some(None)` where too many have.
    pub(super) fn take_seat(self: &Arc<Self>, most: usize) -> Option<Option<Seat<C>>> {
        let mut state = self.state.lock();
        let is_open = state.is_whole
            && state.end.is_none()
            && matches!(state.phase, Phase::Fetching | Phase::Shared(_));
        if !is_open {
            return None;
        }
        if state.seats.len() >= most {
            return Some(None);
        }
        let number = state.seats.insert(Place::default());
        Some(Some(Seat { flight: Arc::clone(self), number, is_first: false, has_left: false }))
    }

    pub(super) fn state(&self) -> parking_lot::MutexGuard<'_, State<C>> {
        self.state.lock()
    }

    /// A participant leaves.
    pub(super) fn leave(&self, number: usize) {
        let mut state = self.state.lock();
        if let Some(place) = state.seats.try_remove(number)
            && !place.is_cut
        {
            state.unwant_from(place.next);
        }
        self.reclaim(&mut state);
    }

    /// What nobody needs any more goes, and the producer may go on.
    pub(super) fn reclaim(&self, state: &mut State<C>) {
        if !state.is_whole {
            while let Some(chunk) = state.chunks.pop_front_if(|chunk| chunk.unread == 0) {
                let length = chunk.bytes.len() as u64;
                state.first += 1;
                state.kept -= length;
                self.retained.fetch_sub(length, Ordering::Relaxed);
            }
        }
        if (state.kept < WINDOW || state.is_deserted())
            && let Some(producer) = state.producer.take()
        {
            producer.wake();
        }
    }
}

impl<C: Cargo> Drop for Flight<C> {
    fn drop(&mut self) {
        self.retained.fetch_sub(self.state.get_mut().kept, Ordering::Relaxed);
    }
}

impl<C: Cargo> State<C> {
    /// Whether nobody takes part any more; who was cut does not.
    fn is_deserted(&self) -> bool {
        self.seats.iter().all(|(_, place)| place.is_cut)
    }

    /// The chunk that a participant reads next, and whether one was there.
    pub(super) fn read_next(&mut self, number: usize) -> Option<Bytes> {
        let place = self.seats.get_mut(number)?;
        let at = usize::try_from(place.next.checked_sub(self.first)?).ok()?;
        let chunk = self.chunks.get_mut(at)?;
        place.next += 1;
        chunk.unread = chunk.unread.saturating_sub(1);
        Some(chunk.bytes.clone())
    }

    /// Whether a participant has read all that came so far.
    pub(super) fn has_read_all(&self, number: usize) -> bool {
        self.seats.get(number).is_some_and(|place| place.next >= self.first + self.chunks.len() as u64)
    }

    /// One participant less will read the chunks from this number on.
    fn unwant_from(&mut self, next: u64) {
        let skip = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for chunk in self.chunks.iter_mut().skip(skip) {
            chunk.unread = chunk.unread.saturating_sub(1);
        }
    }

    /// From here on only what somebody has yet to read is kept, and nobody may join any more.
    fn open_window(&mut self) {
        self.is_whole = false;
        for (number, chunk) in (self.first..).zip(&mut self.chunks) {
            chunk.unread = self.seats.iter().filter(|(_, place)| place.next <= number).count();
        }
    }

    fn wake_all(&mut self) {
        for (_, place) in &mut self.seats {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A participant that waits for the head.
#[derive(Debug)]
pub struct Seat<C: Cargo> {
    flight: Arc<Flight<C>>,
    number: usize,
    is_first: bool,
    has_left: bool,
}

impl<C: Cargo> Seat<C> {
    /// Waits until the fetch has decided what its result is and who may have it.
    pub async fn outcome(mut self) -> Outcome<C> {
        std::future::poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<C>> {
        let mut state = self.flight.state.lock();
        let outcome = match &mut state.phase {
            Phase::Fetching => {
                if let Some(place) = state.seats.get_mut(self.number) {
                    place.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
            Phase::Shared(head) => {
                let head = Arc::clone(head);
                drop(state);
                self.has_left = true;
                return Poll::Ready(Outcome::Shared(
                    head,
                    Reader::new(Arc::clone(&self.flight), self.number),
                ));
            }
            Phase::Released(response) if self.is_first => {
                response.take().map_or(Outcome::Alone, Outcome::Yours)
            }
            Phase::Refused(error) if self.is_first => error.take().map_or(Outcome::Alone, Outcome::Failed),
            Phase::Released(_) | Phase::Refused(_) => Outcome::Alone,
            Phase::Failed(error) => Outcome::Failed(error.clone()),
        };
        Poll::Ready(outcome)
    }
}

impl<C: Cargo> Drop for Seat<C> {
    fn drop(&mut self) {
        if !self.has_left {
            self.flight.leave(self.number);
        }
    }
}

/// The fetch's end of a flight. Dropped before it is done, it breaks the flight off for everybody.
#[derive(Debug)]
pub struct Producer<C: Cargo> {
    flight: Arc<Flight<C>>,
    is_done: bool,
}

impl<C: Cargo> Producer<C> {
    pub(super) fn is_of(&self, flight: &Arc<Flight<C>>) -> bool {
        Arc::ptr_eq(&self.flight, flight)
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
