//! One flight: what its fetch has brought so far, who waits for it, and who reads it.
//!
//! All is under one lock. The fetch holds the [`Producer`]; each participant holds a [`Seat`] until the head is there, and
//! then a [`Reader`](super::Reader) of the same place.

mod blocks;
mod producer;
mod seat;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use slab::Slab;

use self::blocks::{Blocks, Position};
pub use self::producer::{Abandoned, Producer};
pub use self::seat::{Outcome, Seat};
use super::Cargo;
use super::reader::Broken;
use super::sync::{Mutex, MutexGuard};
use crate::clock::Clock;

/// How far the slowest reader may stay behind once a body is no longer kept whole.
pub(super) const WINDOW: u64 = 256 * 1024;
/// The same of one reader alone, who holds nobody up: less than one large read. With much less than that, memory is asked for
/// and given back in more places, and more of it stays resident.
const WINDOW_OF_ONE: u64 = 96 * 1024;

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
    /// Whether the upstream has been asked.
    has_departed: bool,
    /// Waiting for the head, or reading.
    pub(super) seats: Slab<Place>,
    /// How many of them are not cut.
    active: usize,
    blocks: Blocks,
    /// Whether every byte since the first is kept, so that one more may join.
    is_whole: bool,
    /// How many read the first block still; counted only once the body is no longer kept whole.
    laggards: usize,
    pub(super) end: Option<Result<Option<HeaderMap>, Broken>>,
    /// The fetch, where it waits for room in the window, and where it waits for everybody to leave.
    wants_room: Option<Waker>,
    awaits_desertion: Option<Waker>,
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

/// Where a participant is.
#[derive(Debug, Default)]
pub(super) struct Place {
    position: Position,
    pub(super) waker: Option<Waker>,
    /// It read too slowly and must not hold the others up.
    pub(super) is_cut: bool,
    /// It came after the one who began the flight.
    has_joined: bool,
}

/// What comes of asking for a seat.
#[derive(Debug)]
pub(super) enum Boarding<C: Cargo> {
    Seat(Seat<C>),
    /// As many take part as may.
    Full,
    /// The flight can no longer be joined.
    Closed,
}

impl<C: Cargo> Flight<C> {
    pub(super) fn new(mark: C::Mark, retained: Arc<AtomicU64>, budget: Arc<AtomicU64>) -> Self {
        let state = State {
            phase: Phase::Fetching,
            has_departed: false,
            seats: Slab::new(),
            active: 0,
            blocks: Blocks::default(),
            is_whole: true,
            laggards: 0,
            end: None,
            wants_room: None,
            awaits_desertion: None,
        };
        Self { mark, state: Mutex::new(state), retained, budget }
    }

    /// What was known of the fetch when it began.
    pub fn mark(&self) -> &C::Mark {
        &self.mark
    }

    /// Whether the upstream has been asked: what it answers may be older than a request that comes now.
    pub fn has_departed(&self) -> bool {
        self.state.lock().has_departed
    }

    /// The two ends of a new flight.
    pub(super) fn board(flight: &Arc<Self>, clock: Clock) -> (Producer<C>, Seat<C>) {
        let number = flight.state.lock().seat(false);
        (Producer::new(Arc::clone(flight), clock), Seat::new(Arc::clone(flight), number, true))
    }

    /// A place for one more, from the first byte on.
    pub(super) fn take_seat(self: &Arc<Self>, most: usize) -> Boarding<C> {
        let mut state = self.state.lock();
        let is_open = state.is_whole
            && state.end.is_none()
            && matches!(state.phase, Phase::Fetching | Phase::Shared(_));
        if !is_open {
            return Boarding::Closed;
        }
        if state.seats.len() >= most {
            return Boarding::Full;
        }
        Boarding::Seat(Seat::new(Arc::clone(self), state.seat(true), false))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock()
    }

    /// What a participant reads next, where it is there already.
    pub(super) fn read_next(&self, state: &mut State<C>, number: usize) -> Option<Bytes> {
        let place = state.seats.get_mut(number)?;
        let before = place.position.block;
        let piece = state.blocks.read(&mut place.position);
        if place.position.block != before {
            self.one_less_at(state, before);
        }
        piece
    }

    /// A participant leaves.
    pub(super) fn leave(&self, number: usize) {
        let mut state = self.state.lock();
        if let Some(place) = state.seats.try_remove(number)
            && !place.is_cut
        {
            state.active -= 1;
            self.one_less_at(&mut state, place.position.block);
        }
        state.tell_the_fetch();
    }

    /// A participant reads this block no longer.
    fn one_less_at(&self, state: &mut State<C>, block: u64) {
        if state.is_whole || block != state.blocks.first() {
            return;
        }
        state.laggards = state.laggards.saturating_sub(1);
        if state.laggards == 0 {
            self.slide(state);
        }
    }

    /// Moves the window on to where the slowest reader is; the fetch may go on then.
    fn slide(&self, state: &mut State<C>) {
        let slowest = state.active().map(|place| place.position.block).min().unwrap_or(u64::MAX);
        self.retained.fetch_sub(state.blocks.drop_before(slowest), Ordering::Relaxed);
        let first = state.blocks.first();
        state.laggards = state.active().filter(|place| place.position.block == first).count();
        state.tell_the_fetch();
    }
}

impl<C: Cargo> Drop for Flight<C> {
    fn drop(&mut self) {
        self.retained.fetch_sub(self.state.get_mut().blocks.length(), Ordering::Relaxed);
    }
}

impl<C: Cargo> State<C> {
    /// One more takes part, from the first byte on.
    fn seat(&mut self, has_joined: bool) -> usize {
        self.active += 1;
        self.seats.insert(Place { has_joined, ..Place::default() })
    }

    /// Those who take part; who was cut does not.
    fn active(&self) -> impl Iterator<Item = &Place> {
        self.seats.iter().map(|(_, place)| place).filter(|place| !place.is_cut)
    }

    fn is_deserted(&self) -> bool {
        self.active == 0
    }

    fn has_room(&self) -> bool {
        let window = if self.active > 1 { WINDOW } else { WINDOW_OF_ONE };
        self.is_whole || self.blocks.length() < window
    }

    /// Whether the fetch may go on; not for nobody, unless all of it is kept.
    fn room(&self) -> Poll<Result<(), Abandoned>> {
        match () {
            () if self.is_whole => Poll::Ready(Ok(())),
            () if self.is_deserted() => Poll::Ready(Err(Abandoned)),
            () if self.has_room() => Poll::Ready(Ok(())),
            () => Poll::Pending,
        }
    }

    /// Whether a participant has read all that came so far.
    pub(super) fn has_read_all(&self, number: usize) -> bool {
        self.seats.get(number).is_some_and(|place| self.blocks.are_read(place.position))
    }

    /// Whether somebody has read all that came so far and waits for more.
    fn is_waited_for(&self) -> bool {
        self.active().any(|place| self.blocks.are_read(place.position))
    }

    fn tell_the_fetch(&mut self) {
        let is_deserted = self.is_deserted();
        if (is_deserted || self.has_room())
            && let Some(fetch) = self.wants_room.take()
        {
            fetch.wake();
        }
        if is_deserted && let Some(fetch) = self.awaits_desertion.take() {
            fetch.wake();
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
