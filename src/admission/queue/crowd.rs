//! Who waits with how many: what decides who gives way when the queue is full.
//!
//! Promises: the youngest waiter of a priority, and the youngest of the client with the most in it, are found without
//! a search, wherever in the queue they stand.

use std::collections::{BTreeSet, HashMap};

use super::row::Row;
use super::{Ticket, Waiters, is_waiting};
use crate::admission::HIGHEST_PRIORITY;
use crate::client::PartitionKey;
use crate::digest::BuildDigestHasher;

/// Everybody who waits, by priority and client.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    levels: [Level; HIGHEST_PRIORITY as usize + 1],
}

/// Those of one priority.
#[derive(Debug, Default)]
struct Level {
    arrivals: Row<Ticket>,
    clients: HashMap<PartitionKey, Own, BuildDigestHasher>,
    /// Clients with two or more, by their number: one with a single request gives way to nobody modest.
    greedy: BTreeSet<(usize, PartitionKey)>,
}

/// What a client has in one priority: a list through its waiters, from the last to the first.
#[derive(Debug)]
struct Own {
    waiting: usize,
    last: usize,
}

impl Crowd {
    /// A waiter is there, at its `ticket`; gives the slot of the client's one before it.
    pub(super) fn join(&mut self, ticket: Ticket, priority: u8, client: PartitionKey) -> Option<usize> {
        let level = self.levels.get_mut(usize::from(priority))?;
        level.arrivals.join(ticket);
        let Some(own) = level.clients.get_mut(&client) else {
            level.clients.insert(client, Own { waiting: 1, last: ticket.slot });
            return None;
        };
        level.greedy.remove(&(own.waiting, client));
        own.waiting += 1;
        level.greedy.insert((own.waiting, client));
        Some(std::mem::replace(&mut own.last, ticket.slot))
    }

    /// A waiter is not among the `waiters` any more; `new_last` is the slot of the one before it, if it was its client's
    /// last.
    pub(super) fn leave(
        &mut self,
        priority: u8,
        client: PartitionKey,
        new_last: Option<usize>,
        waiters: &Waiters,
    ) {
        let Some(level) = self.levels.get_mut(usize::from(priority)) else { return };
        level.arrivals.leave(|ticket| is_waiting(waiters, ticket));
        let Some(own) = level.clients.get_mut(&client) else { return };
        level.greedy.remove(&(own.waiting, client));
        own.waiting -= 1;
        own.last = new_last.unwrap_or(own.last);
        match own.waiting {
            0 => drop(level.clients.remove(&client)),
            1 => {}
            several => drop(level.greedy.insert((several, client))),
        }
    }

    /// How many of those that wait would go before a newcomer that goes to the end.
    pub(super) fn before(&self, priority: u8, client: PartitionKey) -> usize {
        let above = self.levels.iter().skip(usize::from(priority) + 1).map(|level| level.arrivals.len());
        let Some(level) = self.levels.get(usize::from(priority)) else { return 0 };
        let own = level.clients.get(&client).map_or(0, |own| own.waiting);
        let turns = level.clients.len().saturating_mul(own + 1);
        above.sum::<usize>() + level.arrivals.len().min(turns)
    }

    /// The one who came last with this priority.
    pub(super) fn youngest(&mut self, priority: u8, waiters: &Waiters) -> Option<Ticket> {
        let level = self.levels.get_mut(usize::from(priority))?;
        level.arrivals.last(|ticket| is_waiting(waiters, ticket))
    }

    /// The one who came first with this priority.
    pub(super) fn oldest(&mut self, priority: u8, waiters: &Waiters) -> Option<Ticket> {
        let level = self.levels.get_mut(usize::from(priority))?;
        level.arrivals.first(|ticket| is_waiting(waiters, ticket))
    }

    /// The last of the client with the most waiters of this priority, if it has more than `modest`, and two at least.
    pub(super) fn of_the_greediest(&self, priority: u8, modest: usize) -> Option<usize> {
        let level = self.levels.get(usize::from(priority))?;
        let (waiting, client) = level.greedy.last()?;
        level.clients.get(client).filter(|_| *waiting > modest).map(|own| own.last)
    }

    /// How many waiters of this priority the client has.
    pub(super) fn waiting(&self, priority: u8, client: PartitionKey) -> usize {
        let level = self.levels.get(usize::from(priority));
        level.and_then(|level| level.clients.get(&client)).map_or(0, |own| own.waiting)
    }
}
