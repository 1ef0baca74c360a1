//! Who waits, and whose turn it is.
//!
//! A waiter counts among the most important when its time has come: at once with the highest priority, a step later for
//! each priority less. Before that, the one whose time comes first goes first; among those whose time has come, clients
//! take turns. Nothing is ever moved as it ages: the first of each priority are compared when a permit is free.
//!
//! Whoever is held back by the cap of its key stands aside, in a line of the key's own, so that nobody has to look past
//! it again; when a permit of the key comes back, one of them returns. So lining up, going, leaving and giving way each
//! cost the same among ten waiters and ten thousand.

mod crowd;
mod line;
mod row;

use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::crowd::Crowd;
use self::line::Line;
use super::permit::Permit;
use super::{Asking, HIGHEST_PRIORITY};
use crate::client::PartitionKey;
use crate::digest::BuildDigestHasher;

/// The waiting line of a pool.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Waiters,
    crowd: Crowd,
    /// Those that may go when there is a permit.
    ready: Line,
    /// The keys that somebody waits for.
    keys: HashMap<PartitionKey, Key, BuildDigestHasher>,
    /// How many stand aside.
    aside: usize,
    /// Numbers waiters and turns.
    next: u64,
}

type Waiters = Slab<Waiter>;

#[derive(Debug)]
pub(super) struct Waiter {
    /// Less came earlier.
    id: u64,
    pub(super) asking: Asking,
    pub(super) since: Instant,
    pub(super) grant: oneshot::Sender<Permit>,
    /// Whether it stands aside.
    is_aside: bool,
    /// The slots of its client's waiters of the same priority that came just before and after it.
    before: Option<usize>,
    after: Option<usize>,
}

/// A place in the queue: good for as long as its waiter is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    slot: usize,
    id: u64,
}

/// What waits for the permits of one key.
#[derive(Debug, Default)]
struct Key {
    /// How many are among those that may go.
    ready: usize,
    aside: Line,
}

/// How waiters rise with time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ageing {
    pub(super) now: Instant,
    /// How long one waits for a priority more.
    pub(super) step: Duration,
}

impl Ageing {
    /// When the waiter's time comes; now, where it has come.
    fn due(self, waiter: &Waiter) -> Instant {
        self.due_at(waiter.asking.priority, waiter.since)
    }

    fn due_at(self, priority: u8, since: Instant) -> Instant {
        let steps = HIGHEST_PRIORITY.saturating_sub(priority);
        (since + self.step * u32::from(steps)).max(self.now)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Since when the longest waits.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        let oldest = |priority| {
            let ticket = self.crowd.oldest(priority, &self.waiters)?;
            self.waiters.get(ticket.slot).map(|waiter| waiter.since)
        };
        (0..=HIGHEST_PRIORITY).filter_map(oldest).min()
    }

    /// How many of those that may go do so before a newcomer, as far as can be foreseen: those that come later and are
    /// more important are not counted.
    pub(super) fn before(&self, newcomer: &Asking) -> usize {
        let before = self.crowd.before(newcomer.priority.min(HIGHEST_PRIORITY), newcomer.client);
        before.min(self.len() - self.aside)
    }

    /// The first `most` of those that may go, in the order in which they would.
    pub(super) fn outlook(&self, most: usize, ageing: Ageing) -> impl Iterator<Item = &Waiter> {
        let order = self.ready.outlook(most, ageing, &self.waiters);
        order.into_iter().filter_map(|ticket| self.waiters.get(ticket.slot))
    }

    /// How many the caps of their keys hold back.
    pub(super) fn held_back(&self) -> usize {
        self.aside
    }

    /// Lines up; one whose `key_is_full` stands aside.
    pub(super) fn push(
        &mut self,
        mut asking: Asking,
        since: Instant,
        grant: oneshot::Sender<Permit>,
        key_is_full: bool,
    ) -> Ticket {
        asking.priority = asking.priority.min(HIGHEST_PRIORITY);
        self.next += 1;
        let id = self.next;
        let waiter = Waiter { id, asking, since, grant, is_aside: false, before: None, after: None };
        let ticket = Ticket { slot: self.waiters.insert(waiter), id };
        if let Some(before) = self.crowd.join(ticket, asking.priority, asking.client) {
            self.link(Some(before), Some(ticket.slot));
        }
        match asking.per_key {
            Some(key) if key_is_full => self.stand_aside(ticket, &asking, key),
            per_key => {
                self.ready.join(ticket, asking.priority, asking.client, id);
                if let Some(key) = per_key {
                    self.keys.entry(key).or_default().ready += 1;
                }
            }
        }
        ticket
    }

    /// Takes out the waiter whose turn it is; those whose key `is_full` stand aside.
    pub(super) fn next(&mut self, ageing: Ageing, is_full: impl Fn(&PartitionKey) -> bool) -> Option<Waiter> {
        loop {
            let (priority, ticket) = self.ready.first(ageing, &self.waiters)?;
            self.next += 1;
            self.ready.pop_first(priority, self.next);
            let asking = self.waiters.get(ticket.slot)?.asking;
            let Some(full) = asking.per_key.filter(&is_full) else {
                return self.take(ticket.slot);
            };
            self.unready(full);
            self.stand_aside(ticket, &asking, full);
        }
    }

    /// The key has `room` for so many: as many of those that stand aside come back.
    pub(super) fn readmit(&mut self, key: PartitionKey, room: usize, ageing: Ageing) {
        let Some(Key { ready, aside }) = self.keys.get_mut(&key) else { return };
        while *ready < room {
            let Some((priority, ticket)) = aside.first(ageing, &self.waiters) else { return };
            self.next += 1;
            aside.pop_first(priority, self.next);
            let Some(waiter) = self.waiters.get_mut(ticket.slot) else { return };
            waiter.is_aside = false;
            self.aside -= 1;
            *ready += 1;
            self.ready.join(ticket, priority, waiter.asking.client, self.next);
        }
    }

    /// The caps have changed: nobody stands aside until it is looked at again.
    pub(super) fn readmit_all(&mut self, ageing: Ageing) {
        let keys: Vec<_> = self.keys.keys().copied().collect();
        keys.into_iter().for_each(|key| self.readmit(key, usize::MAX, ageing));
    }

    /// Forgets a waiter that has left; nothing if it was served or evicted already.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Asking> {
        is_waiting(&self.waiters, &ticket).then(|| self.leave(ticket.slot)).flatten()
    }

    /// Makes room in a full queue for `newcomer`: the least urgent gives way to a more urgent one, and among those of
    /// one priority the client with the most waiters to one that would still have fewer; in both cases the last that
    /// came.
    pub(super) fn evict_for(&mut self, newcomer: &Asking, ageing: Ageing) -> Option<Asking> {
        let own = newcomer.priority.min(HIGHEST_PRIORITY);
        let urgency = ageing.due_at(own, ageing.now);
        let modest = self.crowd.waiting(own, newcomer.client) + 1;
        let slot = match self.least_urgent(ageing) {
            Some((due, priority, youngest)) if due > urgency => {
                self.crowd.of_the_greediest(priority, 1).unwrap_or(youngest.slot)
            }
            _ => self.crowd.of_the_greediest(own, modest)?,
        };
        // Dropping its sender tells it.
        self.leave(slot)
    }

    /// The youngest of the priority whose youngest is the least urgent of all.
    fn least_urgent(&mut self, ageing: Ageing) -> Option<(Instant, u8, Ticket)> {
        let youngest = |priority| {
            let ticket = self.crowd.youngest(priority, &self.waiters)?;
            Some((ageing.due(self.waiters.get(ticket.slot)?), priority, ticket))
        };
        (0..=HIGHEST_PRIORITY).rev().filter_map(youngest).max_by_key(|(due, ..)| *due)
    }

    /// Takes a waiter out of the line that it stands in.
    fn leave(&mut self, slot: usize) -> Option<Asking> {
        let Waiter { asking, is_aside, .. } = self.take_from_key(slot)?;
        let line = match asking.per_key.filter(|_| is_aside) {
            Some(key) => self.keys.get_mut(&key).map(|key| &mut key.aside),
            None => Some(&mut self.ready),
        };
        if let Some(line) = line {
            line.leave(asking.priority, asking.client, &self.waiters);
        }
        self.forget_idle(asking.per_key);
        Some(asking)
    }

    /// Takes out a waiter that stands in no line any more.
    fn take(&mut self, slot: usize) -> Option<Waiter> {
        let waiter = self.take_from_key(slot)?;
        self.forget_idle(waiter.asking.per_key);
        Some(waiter)
    }

    fn take_from_key(&mut self, slot: usize) -> Option<Waiter> {
        let waiter = self.waiters.try_remove(slot)?;
        self.link(waiter.before, waiter.after);
        self.aside -= usize::from(waiter.is_aside);
        let new_last = waiter.before.filter(|_| waiter.after.is_none());
        self.crowd.leave(waiter.asking.priority, waiter.asking.client, new_last, &self.waiters);
        if let Some(key) = waiter.asking.per_key.filter(|_| !waiter.is_aside) {
            self.unready(key);
        }
        Some(waiter)
    }

    /// Puts a waiter that stands in no line into that of its key.
    fn stand_aside(&mut self, ticket: Ticket, asking: &Asking, key: PartitionKey) {
        if let Some(waiter) = self.waiters.get_mut(ticket.slot) {
            waiter.is_aside = true;
            self.aside += 1;
        }
        self.keys.entry(key).or_default().aside.join(ticket, asking.priority, asking.client, self.next);
    }

    /// One of those who wait for the key may not go any more.
    fn unready(&mut self, key: PartitionKey) {
        if let Some(key) = self.keys.get_mut(&key) {
            key.ready = key.ready.saturating_sub(1);
        }
    }

    fn forget_idle(&mut self, key: Option<PartitionKey>) {
        if let Some(key) = key
            && self.keys.get(&key).is_some_and(|key| key.ready == 0 && key.aside.is_empty())
        {
            self.keys.remove(&key);
        }
    }

    /// Makes two waiters of a client neighbours.
    fn link(&mut self, before: Option<usize>, after: Option<usize>) {
        if let Some(waiter) = before.and_then(|slot| self.waiters.get_mut(slot)) {
            waiter.after = after;
        }
        if let Some(waiter) = after.and_then(|slot| self.waiters.get_mut(slot)) {
            waiter.before = before;
        }
    }
}

fn is_waiting(waiters: &Waiters, ticket: &Ticket) -> bool {
    waiters.get(ticket.slot).is_some_and(|waiter| waiter.id == ticket.id)
}
