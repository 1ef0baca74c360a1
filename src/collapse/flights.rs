//! The flights under way, by what they fetch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::flight::{Boarding, Flight, Producer, Seat};
use super::sync::Mutex;
use super::{Cargo, FlightKey};
use crate::clock::Clock;
use crate::digest::BuildDigestHasher;

/// How long a key whose answer could not be shared is not collapsed again.
const REMEMBERED: Duration = Duration::from_secs(120);
/// How many such keys are remembered.
const MAX_REMEMBERED: u64 = 100_000;
/// The most that may take part in one flight.
pub(super) const MAX_SEATS: usize = 100_000;
const SHARDS: usize = 64;

/// The flights under way.
#[derive(Debug)]
pub struct Flights<C: Cargo> {
    shards: Box<[Shard<C>; SHARDS]>,
    unshareable: Cache<u128, ()>,
    clock: Clock,
    retained: Arc<AtomicU64>,
    budget: Arc<AtomicU64>,
}

type Shard<C> = Mutex<HashMap<u128, Arc<Flight<C>>, BuildDigestHasher>>;

/// What became of a request that wants to share a fetch.
#[derive(Debug)]
pub enum Joined<C: Cargo> {
    /// Nobody was fetching: the caller runs the fetch with the producer.
    Leader(Producer<C>, Seat<C>),
    /// Somebody was.
    Follower(Seat<C>),
    /// Lately an answer for this key could not be shared: fetch alone.
    Alone,
    /// More have joined than may.
    Full,
}

impl<C: Cargo> Flights<C> {
    /// No flights; together they may keep `budget` bytes of bodies for those who join late.
    pub fn new(budget: u64, clock: Clock) -> Self {
        Self::with_memory(budget, clock, REMEMBERED)
    }

    pub(super) fn with_memory(budget: u64, clock: Clock, remembered: Duration) -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            unshareable: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(remembered).build(),
            clock,
            retained: Arc::default(),
            budget: Arc::new(AtomicU64::new(budget)),
        }
    }

    /// Joins the flight for `key` where there is one that `may_join` accepts, else begins one with a mark of its own; an
    /// older flight goes on for those who are in it.
    pub fn join(
        &self,
        key: FlightKey,
        may_join: impl FnOnce(&Flight<C>) -> bool,
        mark: impl FnOnce() -> C::Mark,
    ) -> Joined<C> {
        if self.unshareable.contains_key(&key.0) {
            return Joined::Alone;
        }
        let mut shard = self.shard(key).lock();
        if let Some(flight) = shard.get(&key.0)
            && may_join(flight)
        {
            match flight.take_seat(MAX_SEATS) {
                Boarding::Seat(seat) => return Joined::Follower(seat),
                Boarding::Full => return Joined::Full,
                Boarding::Closed => {}
            }
        }
        let flight = self.begin(mark());
        let (producer, seat) = Flight::board(&flight, self.clock);
        shard.insert(key.0, flight);
        Joined::Leader(producer, seat)
    }

    /// Begins a flight that nobody can join: a fetch that is worth storing but not collapsed.
    pub fn solo(&self, mark: C::Mark) -> (Producer<C>, Seat<C>) {
        Flight::board(&self.begin(mark), self.clock)
    }

    fn begin(&self, mark: C::Mark) -> Arc<Flight<C>> {
        Arc::new(Flight::new(mark, Arc::clone(&self.retained), Arc::clone(&self.budget)))
    }

    /// The flight is over: later requests begin a new one.
    pub fn land(&self, key: FlightKey, producer: &Producer<C>) {
        self.remove(key, producer.flight());
    }

    /// Lands the flight at the latest when it is dropped: hold it while the fetch runs, which may panic.
    #[must_use]
    pub fn landing(&self, key: FlightKey, producer: &Producer<C>) -> Landing<'_, C> {
        Landing { flights: self, key, flight: Arc::clone(producer.flight()) }
    }

    fn remove(&self, key: FlightKey, flight: &Arc<Flight<C>>) {
        let mut shard = self.shard(key).lock();
        if shard.get(&key.0).is_some_and(|under_way| Arc::ptr_eq(under_way, flight)) {
            shard.remove(&key.0);
        }
    }

    /// Lands a flight that everybody has left. False where somebody joined in the meantime: the fetch must go on.
    pub fn give_up(&self, key: FlightKey, producer: &Producer<C>) -> bool {
        // In this order: after the landing nobody can join.
        self.land(key, producer);
        producer.is_abandoned()
    }

    /// An answer for this key could not be shared: for a while nobody waits behind another for it.
    pub fn remember_unshareable(&self, key: FlightKey) {
        self.unshareable.insert(key.0, ());
    }

    /// An answer for this key can be shared after all.
    pub fn forget_unshareable(&self, key: FlightKey) {
        self.unshareable.invalidate(&key.0);
    }

    /// How many flights are under way.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// How many bytes of bodies they keep.
    pub fn retained(&self) -> u64 {
        self.retained.load(Ordering::Relaxed)
    }

    /// Changes what all flights together may keep.
    pub fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    fn shard(&self, key: FlightKey) -> &Shard<C> {
        let shards: &[_; SHARDS] = &self.shards;
        // The number is of six bits: there is such a shard.
        shards.get((key.0 >> 122) as usize).unwrap_or(&shards[0])
    }
}

/// See [`Flights::landing`].
#[derive(Debug)]
pub struct Landing<'f, C: Cargo> {
    flights: &'f Flights<C>,
    key: FlightKey,
    flight: Arc<Flight<C>>,
}

impl<C: Cargo> Drop for Landing<'_, C> {
    fn drop(&mut self) {
        self.flights.remove(self.key, &self.flight);
    }
}
