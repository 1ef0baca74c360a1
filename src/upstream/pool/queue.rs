//! Those who wait for a connection of one kind, first come first served.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Lease;
use crate::upstream::Error;

/// The most that may wait for a connection; beyond it they are turned away at once.
const MAX_WAITING: usize = 20_000;

/// What is offered to a server that may choose what is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Offer {
    /// Whatever forebay speaks.
    All,
    /// HTTP/1.1 alone: in HTTP/2 there are no upgrades.
    Http1,
}

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) offer: Offer,
    /// Whether a kept connection is of no use to it.
    pub(super) must_be_new: bool,
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Connections that are being opened for them.
    pub(super) dialing: usize,
    /// How long it may get before it is looked through for those who have left.
    tidy_at: usize,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    sender: oneshot::Sender<Result<Lease, Error>>,
    must_be_new: bool,
}

impl Queue {
    /// Takes its place at the end.
    ///
    /// # Errors
    /// [`Error::AcquireTimeout`] where too many wait.
    pub(super) fn join(&mut self, waiting: Waiting) -> Result<(), Error> {
        // They may be half of it: a walk over it that pays for itself.
        if self.waiting.len() >= self.tidy_at.max(64) {
            self.forget_who_left();
            self.tidy_at = self.waiting.len() * 2;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(Error::AcquireTimeout);
        }
        self.waiting.push_back(waiting);
        Ok(())
    }

    pub(super) fn forget_who_left(&mut self) {
        self.waiting.retain(|waiting| !waiting.has_left());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait, with those who have left and are not forgotten yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many wait.
    pub(super) fn present(&self) -> usize {
        self.waiting.iter().filter(|waiting| !waiting.has_left()).count()
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Whether the first one must have a new connection and none is being opened: it would wait for ever where all that
    /// come back go to those behind it.
    pub(super) fn insists_on_a_new_one(&mut self) -> bool {
        while self.waiting.front().is_some_and(Waiting::has_left) {
            self.waiting.pop_front();
        }
        self.dialing == 0 && self.waiting.front().is_some_and(|first| first.must_be_new)
    }

    /// The first to whom a connection is of use.
    pub(super) fn pop_for(&mut self, is_used: bool) -> Option<Waiting> {
        let is_of_use = |waiting: &Waiting| !(waiting.must_be_new && is_used);
        self.waiting.iter().position(is_of_use).and_then(|at| self.waiting.remove(at))
    }
}

impl Waiting {
    /// One who waits, and where it hears of its turn.
    pub(super) fn new(must_be_new: bool) -> (Self, oneshot::Receiver<Result<Lease, Error>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, must_be_new }, receiver)
    }

    fn has_left(&self) -> bool {
        self.sender.is_closed()
    }

    /// It is its turn; what was for it comes back when it has left.
    pub(super) fn send(self, outcome: Result<Lease, Error>) -> Result<(), Result<Lease, Error>> {
        self.sender.send(outcome)
    }
}
