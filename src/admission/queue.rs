//! Who waits, and whose turn it is.
//!
//! The next is found by looking at every waiter: a queue in front of a slow backend is short, priorities change as
//! waiters age, and who is held back by the cap of its key changes with every permit.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::permit::Permit;
use super::{Asking, HIGHEST_PRIORITY};
use crate::client::PartitionKey;

/// The waiting line of a pool.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// In no order.
    waiters: Vec<Waiter>,
    /// The clients that wait.
    clients: HashMap<PartitionKey, Client>,
    /// Numbers waiters and turns.
    next: u64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    /// Less came earlier.
    id: u64,
    pub(super) asking: Asking,
    pub(super) since: Instant,
    pub(super) grant: oneshot::Sender<Permit>,
}

#[derive(Debug)]
struct Client {
    waiting: usize,
    /// The one with the least is next; whoever is served or comes anew goes to the end.
    turn: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Since when the longest waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiters.iter().map(|waiter| waiter.since).min()
    }

    /// Lines up; the number is for [`Self::remove`].
    pub(super) fn push(&mut self, asking: Asking, since: Instant, grant: oneshot::Sender<Permit>) -> u64 {
        self.next += 1;
        let id = self.next;
        self.waiters.push(Waiter { id, asking, since, grant });
        self.clients.entry(asking.client).or_insert(Client { waiting: 0, turn: id }).waiting += 1;
        id
    }

    /// Takes out the waiter whose turn it is, among those that `may` go. One rises by a priority every `step`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        step: Duration,
        may: impl Fn(&Asking) -> bool,
    ) -> Option<Waiter> {
        let candidates = self.waiters.iter().enumerate().filter(|(_, waiter)| may(&waiter.asking));
        let (at, _) = candidates.min_by_key(|(_, waiter)| {
            let turn = self.clients.get(&waiter.asking.client).map(|client| client.turn);
            (Reverse(waiter.urgency(now, step)), turn, waiter.id)
        })?;
        let waiter = self.take(at);
        self.next += 1;
        if let Some(client) = self.clients.get_mut(&waiter.asking.client) {
            client.turn = self.next;
        }
        Some(waiter)
    }

    /// Forgets a waiter that has left; nothing if it was served or evicted already.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(at) = self.waiters.iter().position(|waiter| waiter.id == id) {
            self.take(at);
        }
    }

    /// Makes room in a full queue for `newcomer`: the least urgent gives way to a more urgent one, and among equals the
    /// client with the most waiters to one that would still have fewer; in both cases the last that came.
    pub(super) fn evict_for(&mut self, newcomer: &Asking, now: Instant, step: Duration) -> bool {
        let waiting = |client| self.clients.get(client).map_or(0, |client: &Client| client.waiting);
        let last = self.waiters.iter().enumerate().min_by_key(|(_, waiter)| {
            (waiter.urgency(now, step), Reverse(waiting(&waiter.asking.client)), Reverse(waiter.id))
        });
        let Some((at, last)) = last else { return false };
        let urgency = last.urgency(now, step);
        let is_greedy = || waiting(&last.asking.client) > waiting(&newcomer.client) + 1;
        let priority = newcomer.priority.min(HIGHEST_PRIORITY);
        let gives_way = urgency < priority || (urgency == priority && is_greedy());
        if gives_way {
            // Dropping its sender tells it.
            self.take(at);
        }
        gives_way
    }

    fn take(&mut self, at: usize) -> Waiter {
        let waiter = self.waiters.swap_remove(at);
        if let Some(client) = self.clients.get_mut(&waiter.asking.client) {
            client.waiting -= 1;
            if client.waiting == 0 {
                self.clients.remove(&waiter.asking.client);
            }
        }
        waiter
    }
}

impl Waiter {
    /// The priority with what it has gained by waiting.
    fn urgency(&self, now: Instant, step: Duration) -> u8 {
        let waited = now.saturating_duration_since(self.since);
        let risen = waited.as_nanos().checked_div(step.as_nanos()).unwrap_or(0);
        let risen = u8::try_from(risen).unwrap_or(HIGHEST_PRIORITY);
        self.asking.priority.saturating_add(risen).min(HIGHEST_PRIORITY)
    }
}
