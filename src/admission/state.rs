//! The books of a pool: who holds, who waits, and for how long a permit is usually held.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::{Adaptive, Change};
use super::pace::Pace;
use super::permit::Permit;
use super::queue::{Ageing, Queue, Ticket, Waiter};
use super::{Asking, QueueSpec, Sample, ShedReason, Spec};
use crate::client::PartitionKey;
use crate::digest::BuildDigestHasher;

/// What the lock of a pool protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) spec: Spec,
    pub(super) in_flight: usize,
    /// Permits by key, where there are any.
    per_key: HashMap<PartitionKey, usize, BuildDigestHasher>,
    pub(super) queue: Queue,
    pub(super) pace: Pace,
    /// Permits that jobs hold.
    pub(super) jobs: usize,
    /// Where the cap is found by trial.
    pub(super) adaptive: Option<Adaptive>,
}

impl State {
    pub(super) fn new(spec: Spec, now: Instant) -> Self {
        Self {
            adaptive: spec.auto.map(|bounds| Adaptive::new(spec.max, bounds, now)),
            spec,
            in_flight: 0,
            per_key: HashMap::default(),
            queue: Queue::default(),
            pace: Pace::default(),
            jobs: 0,
        }
    }

    /// How many permits there are.
    pub(super) fn cap(&self) -> usize {
        self.adaptive.as_ref().map_or(self.spec.max, Adaptive::limit)
    }

    /// Takes on other settings; a cap that was found stays, within the new bounds.
    pub(super) fn reconfigure(&mut self, spec: Spec, now: Instant) {
        match (&mut self.adaptive, spec.auto) {
            (Some(adaptive), Some(bounds)) => adaptive.rebound(bounds),
            (adaptive, auto) => *adaptive = auto.map(|bounds| Adaptive::new(spec.max, bounds, now)),
        }
        self.spec = spec;
        self.queue.readmit_all(self.ageing(now));
    }

    /// Hears how the upstream took a request; a change of the cap.
    pub(super) fn learn(&mut self, sample: Sample, now: Instant) -> Option<Change> {
        let (adaptive, bounds) = (self.adaptive.as_mut()?, self.spec.auto?);
        adaptive.learn(sample, self.in_flight, self.jobs, bounds, now)
    }

    /// What stands between a request and a permit.
    pub(super) fn obstacle(&self, asking: &Asking) -> Option<ShedReason> {
        if self.in_flight >= self.cap() {
            Some(ShedReason::Full)
        } else if asking.per_key.is_some_and(|key| room(&self.spec, &self.per_key, &key) == 0) {
            Some(ShedReason::PerKey)
        } else {
            None
        }
    }

    /// Whether somebody waits and there is a permit.
    pub(super) fn may_serve(&self) -> bool {
        !self.queue.is_empty() && (self.in_flight < self.cap() || self.spec.observe)
    }

    /// Takes the one whose turn it is out of the queue, if there is a permit for it.
    pub(super) fn next_waiter(&mut self, now: Instant) -> Option<Waiter> {
        if !self.may_serve() {
            return None;
        }
        let ageing = self.ageing(now);
        let Self { spec, queue, per_key, .. } = self;
        queue.next(ageing, |key| !spec.observe && room(spec, per_key, key) == 0)
    }

    pub(super) fn enter(&mut self, per_key: Option<PartitionKey>, now: Duration) {
        self.in_flight += 1;
        self.pace.begin(now);
        if let Some(key) = per_key {
            *self.per_key.entry(key).or_default() += 1;
        }
    }

    /// A permit comes back at `now`, given out at `since`.
    pub(super) fn leave(&mut self, per_key: Option<PartitionKey>, since: Duration, now: Instant) {
        self.in_flight -= 1;
        self.pace.end(since);
        let Some(key) = per_key else { return };
        if let Some(held) = self.per_key.get_mut(&key) {
            *held -= 1;
            if *held == 0 {
                self.per_key.remove(&key);
            }
        }
        self.readmit(key, now);
    }

    /// Lines up.
    pub(super) fn push(&mut self, asking: Asking, now: Instant, grant: oneshot::Sender<Permit>) -> Ticket {
        let key_is_full = asking.per_key.is_some_and(|key| room(&self.spec, &self.per_key, &key) == 0);
        self.queue.push(asking, now, grant, key_is_full)
    }

    /// A waiter has left.
    pub(super) fn remove(&mut self, ticket: Ticket, now: Instant) {
        if let Some(Asking { per_key: Some(key), .. }) = self.queue.remove(ticket) {
            self.readmit(key, now);
        }
    }

    /// Makes room in a full queue, if somebody in it gives way.
    pub(super) fn evict_for(&mut self, newcomer: &Asking, now: Instant) -> bool {
        let evicted = self.queue.evict_for(newcomer, self.ageing(now));
        if let Some(Asking { per_key: Some(key), .. }) = evicted {
            self.readmit(key, now);
        }
        evicted.is_some()
    }

    pub(super) fn ageing(&self, now: Instant) -> Ageing {
        Ageing { now, step: self.spec.queue.map_or(Duration::ZERO, QueueSpec::ageing_step) }
    }

    fn readmit(&mut self, key: PartitionKey, now: Instant) {
        if !self.queue.is_empty() {
            let room = room(&self.spec, &self.per_key, &key);
            self.queue.readmit(key, room, self.ageing(now));
        }
    }
}

/// How many more permits the key may have.
fn room(spec: &Spec, per_key: &HashMap<PartitionKey, usize, BuildDigestHasher>, key: &PartitionKey) -> usize {
    let held = || per_key.get(key).copied().unwrap_or(0);
    spec.per.as_ref().map_or(usize::MAX, |(_, max)| max.saturating_sub(held()))
}
