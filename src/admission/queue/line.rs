//! A line of waiters by priority, in which the clients of one priority take turns.
//!
//! Each priority has a ring of its clients, each client its row. Whoever is served goes to the end of the ring; who
//! comes anew joins there: a client waits for one turn of each other client, however many requests that one has.

use std::collections::HashMap;

use tokio::time::Instant;

use super::row::Row;
use super::{Ageing, Ticket, Waiters, is_waiting};
use crate::client::PartitionKey;
use crate::digest::BuildDigestHasher;

/// A line.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// One for each priority that was ever seen here; ten at most.
    rings: Vec<Ring>,
}

#[derive(Debug)]
struct Ring {
    priority: u8,
    turns: Row<Turn>,
    lanes: HashMap<PartitionKey, Lane, BuildDigestHasher>,
    /// Whose turn it is, once it was looked for: a grant changes one ring, and compares all.
    head: Option<Head>,
}

/// A client's place in a ring; a number is given out once.
#[derive(Debug, Clone, Copy)]
struct Turn {
    number: u64,
    client: PartitionKey,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    turn: u64,
    ticket: Ticket,
    since: Instant,
}

/// What a client has in a ring: its waiters as they came.
#[derive(Debug)]
struct Lane {
    turn: u64,
    row: Row<Ticket>,
}

/// A waiter that may be next, and how it compares: less goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// When it is, or was, among the first; all that are, are equal in this.
    due: Instant,
    /// Its client's turn.
    turn: u64,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.rings.iter().all(|ring| ring.lanes.is_empty())
    }

    /// Lets a waiter join; `turn` is for its client, unless that has one.
    pub(super) fn join(&mut self, ticket: Ticket, priority: u8, client: PartitionKey, turn: u64) {
        let ring = match self.rings.iter().position(|ring| ring.priority == priority) {
            Some(at) => self.rings.get_mut(at),
            None => {
                let (turns, lanes) = (Row::default(), HashMap::default());
                self.rings.push(Ring { priority, turns, lanes, head: None });
                self.rings.last_mut()
            }
        };
        let Some(Ring { turns, lanes, .. }) = ring else { return };
        let lane = lanes.entry(client).or_insert_with(|| {
            turns.join(Turn { number: turn, client });
            Lane { turn, row: Row::default() }
        });
        lane.row.join(ticket);
    }

    /// A waiter of this client is not among the `waiters` any more.
    pub(super) fn leave(&mut self, priority: u8, client: PartitionKey, waiters: &Waiters) {
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.priority == priority) else { return };
        ring.head = None;
        let Some(lane) = ring.lanes.get_mut(&client) else { return };
        lane.row.leave(|ticket| is_waiting(waiters, ticket));
        if lane.row.is_empty() {
            ring.lanes.remove(&client);
            let lanes = &ring.lanes;
            ring.turns.leave(|turn| has_turn(lanes, turn));
        }
    }

    /// The one whose turn it is, and its priority.
    pub(super) fn first(&mut self, ageing: Ageing, waiters: &Waiters) -> Option<(u8, Ticket)> {
        let first = |ring: &mut Ring| {
            let Head { turn, ticket, since } = ring.first(waiters)?;
            Some((Rank { due: ageing.due_at(ring.priority, since), turn }, ring.priority, ticket))
        };
        let (_, priority, ticket) = self.rings.iter_mut().filter_map(first).min_by_key(|(rank, ..)| *rank)?;
        Some((priority, ticket))
    }

    /// Takes out the one that [`Self::first`] has found; its client's next turn has the number `turn`.
    pub(super) fn pop_first(&mut self, priority: u8, turn: u64) {
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.priority == priority) else { return };
        let Some(Turn { client, .. }) = ring.turns.iter().next().copied() else { return };
        ring.turns.pop_first();
        ring.head = None;
        let Some(lane) = ring.lanes.get_mut(&client) else { return };
        lane.row.pop_first();
        if lane.row.is_empty() {
            ring.lanes.remove(&client);
        } else {
            lane.turn = turn;
            ring.turns.join(Turn { number: turn, client });
        }
    }

    /// The first `most` in the order in which they would go if nothing changed from now on.
    pub(super) fn outlook(&self, most: usize, ageing: Ageing, waiters: &Waiters) -> Vec<Ticket> {
        let mut rows: Vec<_> = self.rings.iter().map(|ring| ring.outlook(most, ageing, waiters)).collect();
        rows.iter_mut().for_each(|row| row.reverse());
        let mut order = Vec::new();
        while order.len() < most {
            let next = rows.iter_mut().filter(|row| !row.is_empty());
            let Some(row) = next.min_by_key(|row| row.last().map(|(rank, _)| *rank)) else { break };
            order.extend(row.pop().map(|(_, ticket)| ticket));
        }
        order
    }
}

impl Ring {
    /// Whose turn it is, and with which waiter.
    fn first(&mut self, waiters: &Waiters) -> Option<Head> {
        if self.head.is_none() {
            let lanes = &self.lanes;
            let Turn { number: turn, client } = self.turns.first(|turn| has_turn(lanes, turn))?;
            let ticket = self.lanes.get_mut(&client)?.row.first(|ticket| is_waiting(waiters, ticket))?;
            self.head = Some(Head { turn, ticket, since: waiters.get(ticket.slot)?.since });
        }
        self.head
    }

    /// Round by round, from each client the next.
    fn outlook(
        &self,
        most: usize,
        ageing: Ageing,
        waiters: &Waiters,
    ) -> Vec<((Instant, usize, u64), Ticket)> {
        let mut order = Vec::new();
        let mut lanes: Vec<_> = self
            .turns
            .iter()
            .filter(|turn| has_turn(&self.lanes, turn))
            .filter_map(|turn| Some((turn.number, self.lanes.get(&turn.client)?)))
            .take(most)
            .map(|(turn, lane)| (turn, lane.row.iter().filter(|ticket| is_waiting(waiters, ticket))))
            .collect();
        for round in 0..most {
            let before = order.len();
            for (turn, lane) in &mut lanes {
                let next =
                    lane.next().and_then(|ticket| Some((ageing.due(waiters.get(ticket.slot)?), ticket)));
                order.extend(next.map(|(due, ticket)| ((due, round, *turn), *ticket)));
            }
            if order.len() == before || order.len() >= most {
                break;
            }
        }
        order
    }
}

fn has_turn(lanes: &HashMap<PartitionKey, Lane, BuildDigestHasher>, turn: &Turn) -> bool {
    lanes.get(&turn.client).is_some_and(|lane| lane.turn == turn.number)
}
