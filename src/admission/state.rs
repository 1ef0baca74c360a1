//! The books of a pool: who holds, who waits, and for how long a permit is usually held.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::queue::{Queue, Waiter};
use super::{Asking, QueueSpec, ShedReason, Spec};
use crate::client::PartitionKey;

/// What the lock of a pool protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) spec: Spec,
    pub(super) in_flight: usize,
    /// Permits by key, where there are any.
    per_key: HashMap<PartitionKey, usize>,
    pub(super) queue: Queue,
    pub(super) mean_hold: Option<Duration>,
    /// The sum of the times, since the clock's start, at which the held permits were given out.
    starts: Duration,
}

impl State {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            in_flight: 0,
            per_key: HashMap::new(),
            queue: Queue::default(),
            mean_hold: None,
            starts: Duration::ZERO,
        }
    }

    /// What stands between a request and a permit.
    pub(super) fn obstacle(&self, asking: &Asking) -> Option<ShedReason> {
        if self.in_flight >= self.spec.max {
            Some(ShedReason::Full)
        } else if !key_has_room(&self.spec, &self.per_key, asking) {
            Some(ShedReason::PerKey)
        } else {
            None
        }
    }

    /// Takes the one whose turn it is out of the queue, if there is a permit for it.
    pub(super) fn next_waiter(&mut self, now: Instant) -> Option<Waiter> {
        if self.queue.len() == 0 || (self.in_flight >= self.spec.max && !self.spec.observe) {
            return None;
        }
        let step = self.spec.queue.map_or(Duration::ZERO, QueueSpec::ageing_step);
        let Self { spec, queue, per_key, .. } = self;
        queue.next(now, step, |asking| spec.observe || key_has_room(spec, per_key, asking))
    }

    pub(super) fn enter(&mut self, per_key: Option<PartitionKey>, now: Duration) {
        self.in_flight += 1;
        self.starts += now;
        if let Some(key) = per_key {
            *self.per_key.entry(key).or_default() += 1;
        }
    }

    pub(super) fn leave(&mut self, per_key: Option<PartitionKey>, since: Duration) {
        self.in_flight -= 1;
        self.starts = self.starts.saturating_sub(since);
        let Some(key) = per_key else { return };
        if let Some(held) = self.per_key.get_mut(&key) {
            *held -= 1;
            if *held == 0 {
                self.per_key.remove(&key);
            }
        }
    }

    pub(super) fn learn(&mut self, held: Duration) {
        let mean = self.mean_hold.map_or(held, |mean| (mean * 7 + held) / 8);
        self.mean_hold = Some(mean);
    }

    /// The mean hold; before the first permit came back, the mean age of those that are held.
    pub(super) fn expected_hold(&self, now: Duration) -> Duration {
        self.mean_hold.unwrap_or_else(|| {
            let held = u32::try_from(self.in_flight).unwrap_or(u32::MAX);
            self.starts.checked_div(held).map_or(Duration::ZERO, |mean_start| now.saturating_sub(mean_start))
        })
    }
}

fn key_has_room(spec: &Spec, per_key: &HashMap<PartitionKey, usize>, asking: &Asking) -> bool {
    let (Some(key), Some((_, max))) = (&asking.per_key, &spec.per) else { return true };
    per_key.get(key).is_none_or(|held| held < max)
}
