//! One flight: what its fetch has brought so far, who waits for it, and who reads it.
//!
//! All is under one lock. The fetch holds the [`Producer`]; each participant holds a [`Seat`] until the head is there, and
//! then a [`Reader`](super::Reader) of the same place.

mod producer;
mod seat;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use slab::Slab;

pub use self::producer::{Abandoned, Producer};
pub use self::seat::{Outcome, Seat};
use super::Cargo;
use super::reader::Broken;

/// How far the slowest reader may stay behind once a body is no longer kept whole.
const WINDOW: u64 = 256 * 1024;

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
        (Producer::new(Arc::clone(flight)), Seat::new(Arc::clone(flight), number, true))
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
        Some(Some(Seat::new(Arc::clone(self), number, false)))
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

    /// The chunk that a participant reads next, where it is there already.
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
