//! A pool of permits and its waiting line, under one lock.
//!
//! A grant is decided under the lock and sent outside of it: a permit that nobody reads any more comes back by its
//! drop, which takes the lock. Permits that come back go to the next waiter in the same critical section, so nobody
//! overtakes the queue.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::Change;
use super::permit::Permit;
use super::queue::Ticket;
use super::state::State;
use super::sync::{Mutex, MutexGuard, timeout_at};
use super::{Asking, Sample, Shed, ShedReason, Spec};
use crate::client::PartitionKey;
use crate::clock::Clock;
use crate::metrics::{Counter, Histogram};

/// A pool of permits.
#[derive(Debug)]
pub struct Pool {
    clock: Clock,
    state: Mutex<State>,
    /// When a change of the cap was last logged.
    told: Mutex<Option<Instant>>,
    /// How long those waited that went into the queue, with or without success.
    pub wait: Histogram,
    shed: [Counter; ShedReason::ALL.len()],
}

/// A pool at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStats {
    /// Permits that are held; more than `max` after it was lowered, or in observe mode.
    pub in_flight: usize,
    /// Permits that there are.
    pub max: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Those of them that only the cap of their key holds back.
    pub held_back: usize,
    /// How many may wait.
    pub queue_size: usize,
    /// How long the longest has been waiting.
    pub oldest_wait: Option<Duration>,
    /// For how long a permit is held, on average; the last few count most.
    pub mean_hold: Option<Duration>,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Whose request it is.
    pub client: PartitionKey,
    /// 0 (last) to 9 (first), as the route has it.
    pub priority: u8,
    /// For how long already.
    pub waited: Duration,
    /// For how much longer, at the measured pace; none before anything was measured.
    pub expected: Option<Duration>,
}

impl Pool {
    /// A pool with all permits free.
    pub fn new(spec: Spec, clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State::new(spec, clock.now())),
            told: Mutex::default(),
            wait: Histogram::default(),
            shed: Default::default(),
        }
    }

    /// Gets a permit: at once, or after a wait in the queue. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// There is none, or none in time.
    pub async fn admit(self: &Arc<Self>, asking: Asking) -> Result<Permit, Shed> {
        let (place, granted, deadline) = match self.enter_or_line_up(asking) {
            Entry::Admitted(permit) => return Ok(permit),
            Entry::Refused(shed) => return Err(shed),
            Entry::Waiting { place, granted, deadline } => (place, granted, deadline),
        };
        let answer = timeout_at(deadline, granted).await;
        match answer {
            Ok(Ok(permit)) => {
                self.wait.observe(permit.waited());
                place.served();
                Ok(permit)
            }
            // Evicted: its end of the channel was dropped.
            Ok(Err(_)) => Err(self.given_up(place, ShedReason::QueueFull)),
            Err(_) => Err(self.given_up(place, ShedReason::Timeout)),
        }
    }

    /// A permit for work that goes on already, whoever let it begin (a job that ran before this process did). It never
    /// waits and is never refused: it counts as every other, and may so hold more than `max` until enough came back.
    pub fn adopt(self: &Arc<Self>) -> Permit {
        let now = self.clock.now();
        self.state.lock().enter(None, self.clock.since_start(now));
        let mut permit = Permit::new(Arc::clone(self), None, now, Duration::ZERO);
        permit.pass_to_job();
        permit
    }

    /// Takes on other numbers; permits and waiters stay. With more permits the next waiters go at once, with fewer
    /// nobody does until enough came back.
    pub fn reconfigure(self: &Arc<Self>, spec: Spec) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.reconfigure(spec, now);
        self.serve(state, now);
    }

    /// Hears how the upstream took a request. A cap that the pool finds by itself moves by it.
    pub fn learn(self: &Arc<Self>, sample: Sample) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let Some(change) = state.learn(sample, now) else { return };
        let name = Arc::clone(&state.spec.name);
        self.serve(state, now);
        self.tell(&name, change, now);
    }

    /// One line a second at most; the metrics have every value.
    fn tell(&self, pool: &str, Change { from, to, why }: Change, now: Instant) {
        let mut told = self.told.lock();
        if told.is_none_or(|told| now.saturating_duration_since(told) >= Duration::from_secs(1)) {
            *told = Some(now);
            tracing::info!(pool, from, to, why, "the in-flight cap moves");
        }
    }

    /// What it is made of now.
    pub fn spec(&self) -> Spec {
        self.state.lock().spec.clone()
    }

    /// How many were turned away for this reason.
    pub fn shed_by(&self, reason: ShedReason) -> u64 {
        self.shed_counter(reason).value()
    }

    /// The figures of this moment.
    pub fn stats(&self) -> PoolStats {
        let now = self.clock.now();
        let mut state = self.state.lock();
        PoolStats {
            in_flight: state.in_flight,
            max: state.cap(),
            queued: state.queue.len(),
            held_back: state.queue.held_back(),
            queue_size: state.spec.queue.map_or(0, |queue| queue.size),
            oldest_wait: state.queue.oldest().map(|since| now.saturating_duration_since(since)),
            mean_hold: state.pace.mean_hold,
        }
    }

    /// The first `most` that wait for nothing but a permit, in the order in which they would go if nobody came or left.
    pub fn line(&self, most: usize) -> Vec<Waiting> {
        let now = self.clock.now();
        let state = self.state.lock();
        let line = state.queue.outlook(most, state.ageing(now)).enumerate();
        let waiting = line.map(|(before, waiter)| Waiting {
            client: waiter.asking.client,
            priority: waiter.asking.priority,
            waited: now.saturating_duration_since(waiter.since),
            expected: state.pace.expected_wait(before, state.cap()),
        });
        waiting.collect()
    }

    /// A permit goes over to a job.
    pub(super) fn count_job(&self) {
        self.state.lock().jobs += 1;
    }

    /// A dropped permit comes back.
    pub(super) fn take_back(self: &Arc<Self>, permit: &Permit) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.leave(permit.per_key(), self.clock.since_start(permit.since()), now);
        state.jobs -= usize::from(permit.is_of_job());
        state.pace.learn(now.saturating_duration_since(permit.since()));
        self.serve(state, now);
    }

    fn enter_or_line_up(self: &Arc<Self>, asking: Asking) -> Entry {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let obstacle = state.obstacle(&asking);
        if obstacle.is_some() && state.spec.observe {
            self.shed_counter(would_be(&state)).inc();
        }
        let Some(reason) = obstacle.filter(|_| !state.spec.observe) else {
            return Entry::Admitted(self.grant(&mut state, &asking, now, now));
        };
        let Some(queue) = state.spec.queue.filter(|queue| queue.size > 0) else {
            return Entry::Refused(self.shed(&state, reason, now));
        };
        // The caps of keys make the line move faster for the others than the pace says.
        let before = if reason == ShedReason::Full { state.queue.before(&asking) } else { 0 };
        if state.pace.is_hopeless(before, state.cap(), queue.timeout) {
            return Entry::Refused(self.shed(&state, ShedReason::TooLong, now));
        }
        if state.queue.len() >= queue.size && !state.evict_for(&asking, now) {
            return Entry::Refused(self.shed(&state, ShedReason::QueueFull, now));
        }
        let (grant, granted) = oneshot::channel();
        let ticket = state.push(asking, now, grant);
        let place = Place { pool: Arc::clone(self), ticket: Some(ticket), since: now };
        Entry::Waiting { place, granted, deadline: now + queue.longest_wait() }
    }

    /// Gives what is free to those whose turn it is.
    fn serve<'s>(self: &'s Arc<Self>, mut state: MutexGuard<'s, State>, now: Instant) {
        while let Some(waiter) = state.next_waiter(now) {
            let permit = self.grant(&mut state, &waiter.asking, waiter.since, now);
            let is_more = state.may_serve();
            drop(state);
            let unread = waiter.grant.send(permit).err();
            if unread.is_none() && !is_more {
                return;
            }
            state = self.state.lock();
            // Not by the permit's own drop, which would come back here: a long row of waiters that have all left would
            // go as deep.
            if let Some(permit) = unread {
                state.leave(permit.per_key(), self.clock.since_start(permit.since()), now);
                permit.disarm();
            }
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, asking: &Asking, since: Instant, now: Instant) -> Permit {
        state.enter(asking.per_key, self.clock.since_start(now));
        Permit::new(Arc::clone(self), asking.per_key, now, now.saturating_duration_since(since))
    }

    /// A wait has ended without a permit.
    fn given_up(&self, place: Place, reason: ShedReason) -> Shed {
        let now = self.clock.now();
        self.wait.observe(now.saturating_duration_since(place.since));
        drop(place);
        self.shed(&self.state.lock(), reason, now)
    }

    fn shed(&self, state: &State, reason: ShedReason, now: Instant) -> Shed {
        self.shed_counter(reason).inc();
        let before = match reason {
            ShedReason::QueueFull | ShedReason::TooLong | ShedReason::Timeout => state.queue.len(),
            ShedReason::Full | ShedReason::PerKey | ShedReason::WouldQueue | ShedReason::WouldRefuse => 0,
        };
        let now = self.clock.since_start(now);
        let status = match reason {
            ShedReason::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            _ => state.spec.status,
        };
        Shed {
            pool: Arc::clone(&state.spec.name),
            reason,
            retry_after: state.pace.retry_after(before, state.cap(), state.in_flight, now),
            status,
        }
    }

    fn shed_counter(&self, reason: ShedReason) -> &Counter {
        let [full, per_key, queue_full, too_long, timeout, would_queue, would_refuse] = &self.shed;
        match reason {
            ShedReason::Full => full,
            ShedReason::PerKey => per_key,
            ShedReason::QueueFull => queue_full,
            ShedReason::TooLong => too_long,
            ShedReason::Timeout => timeout,
            ShedReason::WouldQueue => would_queue,
            ShedReason::WouldRefuse => would_refuse,
        }
    }
}

/// What would become of a request beyond the cap, if the pool did not only observe: those beyond it would stand in the
/// queue.
fn would_be(state: &State) -> ShedReason {
    let size = state.spec.queue.map_or(0, |queue| queue.size);
    let is_room = state.in_flight.saturating_sub(state.cap()) < size;
    if is_room { ShedReason::WouldQueue } else { ShedReason::WouldRefuse }
}

/// What became of a request at the door.
enum Entry {
    Admitted(Permit),
    Refused(Shed),
    Waiting { place: Place, granted: oneshot::Receiver<Permit>, deadline: Instant },
}

/// A place in the queue; dropped, it is given up.
struct Place {
    pool: Arc<Pool>,
    /// None once its waiter was served.
    ticket: Option<Ticket>,
    since: Instant,
}

impl Place {
    fn served(mut self) {
        self.ticket = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let now = self.pool.clock.now();
            self.pool.state.lock().remove(ticket, now);
        }
    }
}
