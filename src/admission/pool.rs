//! A pool of permits and its waiting line, under one lock.
//!
//! A grant is decided under the lock and sent outside of it: a permit that nobody reads any more comes back by its
//! drop, which takes the lock. Permits that come back go to the next waiter in the same critical section, so nobody
//! overtakes the queue.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::permit::Permit;
use super::state::State;
use super::{Asking, Shed, ShedReason, Spec};
use crate::clock::Clock;
use crate::metrics::{Counter, Histogram};

/// The least that a client is told to wait.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// No queue makes anybody wait longer; keeps a deadline within what the clock can express.
const LONGEST_WAIT: Duration = Duration::from_hours(24 * 366);

/// A pool of permits.
#[derive(Debug)]
pub struct Pool {
    clock: Clock,
    state: Mutex<State>,
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
    /// How many may wait.
    pub queue_size: usize,
    /// How long the longest has been waiting.
    pub oldest_wait: Option<Duration>,
    /// For how long a permit is held, on average; the last few count most.
    pub mean_hold: Option<Duration>,
}

impl Pool {
    /// A pool with all permits free.
    pub fn new(spec: Spec, clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State::new(spec)),
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
        self.wait.observe(place.waited());
        match answer {
            Ok(Ok(permit)) => Ok(permit),
            // Evicted: its end of the channel was dropped.
            Ok(Err(_)) => Err(self.shed(&self.state.lock(), ShedReason::QueueFull)),
            Err(_) => {
                drop(place);
                Err(self.shed(&self.state.lock(), ShedReason::Timeout))
            }
        }
    }

    /// A permit for work that goes on already, whoever let it begin (a job that ran before this process did). It never
    /// waits and is never refused: it counts as every other, and may so hold more than `max` until enough came back.
    pub fn adopt(self: &Arc<Self>) -> Permit {
        let now = self.clock.now();
        self.state.lock().enter(None, self.clock.since_start(now));
        Permit::new(Arc::clone(self), None, now, Duration::ZERO)
    }

    /// Takes on other numbers; permits and waiters stay. With more permits the next waiters go at once, with fewer
    /// nobody does until enough came back.
    pub fn reconfigure(self: &Arc<Self>, spec: Spec) {
        self.state.lock().spec = spec;
        self.serve(None);
    }

    /// Changes the number of permits alone.
    pub fn resize(self: &Arc<Self>, max: usize) {
        self.state.lock().spec.max = max;
        self.serve(None);
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
        let state = self.state.lock();
        PoolStats {
            in_flight: state.in_flight,
            max: state.spec.max,
            queued: state.queue.len(),
            queue_size: state.spec.queue.map_or(0, |queue| queue.size),
            oldest_wait: state.queue.oldest().map(|since| now.saturating_duration_since(since)),
            mean_hold: state.mean_hold,
        }
    }

    /// A dropped permit comes back.
    pub(super) fn take_back(self: &Arc<Self>, permit: &Permit) {
        self.serve(Some(permit));
    }

    fn enter_or_line_up(self: &Arc<Self>, asking: Asking) -> Entry {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let obstacle = state.obstacle(&asking);
        if obstacle.is_some() && state.spec.observe {
            self.shed_counter(ShedReason::WouldRefuse).inc();
        }
        let Some(reason) = obstacle.filter(|_| !state.spec.observe) else {
            return Entry::Admitted(self.grant(&mut state, &asking, now, now));
        };
        let Some(queue) = state.spec.queue.filter(|queue| queue.size > 0) else {
            return Entry::Refused(self.shed(&state, reason));
        };
        let is_full = state.queue.len() >= queue.size;
        if is_full && !state.queue.evict_for(&asking, now, queue.ageing_step()) {
            return Entry::Refused(self.shed(&state, ShedReason::QueueFull));
        }
        let (grant, granted) = oneshot::channel();
        let id = state.queue.push(asking, now, grant);
        let place = Place { pool: Arc::clone(self), id, since: now };
        Entry::Waiting { place, granted, deadline: now + queue.timeout.min(LONGEST_WAIT) }
    }

    /// Gives what is free to those whose turn it is, after `returned` came back.
    fn serve(self: &Arc<Self>, returned: Option<&Permit>) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if let Some(permit) = returned {
            state.leave(permit.per_key(), self.clock.since_start(permit.since()));
            state.learn(now.saturating_duration_since(permit.since()));
        }
        loop {
            let Some(waiter) = state.next_waiter(now) else { return };
            let permit = self.grant(&mut state, &waiter.asking, waiter.since, now);
            drop(state);
            let unread = waiter.grant.send(permit).err();
            state = self.state.lock();
            // Not by the permit's own drop, which would come back here: a long row of waiters that have all left would
            // go as deep.
            if let Some(permit) = unread {
                state.leave(permit.per_key(), self.clock.since_start(permit.since()));
                permit.disarm();
            }
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, asking: &Asking, since: Instant, now: Instant) -> Permit {
        state.enter(asking.per_key, self.clock.since_start(now));
        Permit::new(Arc::clone(self), asking.per_key, now, now.saturating_duration_since(since))
    }

    fn shed(&self, state: &State, reason: ShedReason) -> Shed {
        self.shed_counter(reason).inc();
        let ahead = match reason {
            ShedReason::QueueFull | ShedReason::Timeout => state.queue.len(),
            ShedReason::Full | ShedReason::PerKey | ShedReason::WouldRefuse => 0,
        };
        let rounds = (ahead + 1).div_ceil(state.spec.max.max(1));
        let hold = state.expected_hold(self.clock.since_start(self.clock.now()));
        let retry_after = hold.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)).max(SHORTEST_RETRY);
        let status = match reason {
            ShedReason::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            _ => state.spec.status,
        };
        Shed { pool: Arc::clone(&state.spec.name), reason, retry_after, status }
    }

    fn shed_counter(&self, reason: ShedReason) -> &Counter {
        let [full, per_key, queue_full, timeout, would_refuse] = &self.shed;
        match reason {
            ShedReason::Full => full,
            ShedReason::PerKey => per_key,
            ShedReason::QueueFull => queue_full,
            ShedReason::Timeout => timeout,
            ShedReason::WouldRefuse => would_refuse,
        }
    }
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
    id: u64,
    since: Instant,
}

impl Place {
    fn waited(&self) -> Duration {
        self.pool.clock.now().saturating_duration_since(self.since)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.state.lock().queue.remove(self.id);
    }
}
