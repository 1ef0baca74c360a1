//! Starting the same thing once: who sends a start that is under way, or was just answered, gets that one's answer.
//!
//! The rules are those of draft-ietf-httpapi-idempotency-key-header: the same key with another request is refused, a
//! request that is still being answered is waited for, one that was answered is not made again. What the key is, and
//! whose, the caller knows.
//!
//! Promises: of equal starts one is under way at a time; nobody's leaving ends it for the others; one that comes to no
//! end leaves nothing behind, and the next makes a new attempt; what is kept is bounded in number, size and time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::digest::BuildDigestHasher;

/// How many starts of one route are remembered at a time.
const MAX_STARTS: usize = 10_000;
/// How much memory their answers may take.
const MAX_BYTES: usize = 32 << 20;
/// What the fields of an answer are taken for.
const HEAD_BYTES: usize = 1 << 10;

/// What makes two starts of one identity the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Equal bodies.
    Body,
    /// The same value of this field.
    Header(HeaderName),
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What became of a start.
#[derive(Debug)]
pub enum Outcome<E> {
    /// It was answered.
    Answered(Arc<Answer>),
    /// It failed.
    Failed(E),
    /// Its answer is for nobody else.
    Alone,
}

impl<E: Clone> Clone for Outcome<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Answered(answer) => Self::Answered(Arc::clone(answer)),
            Self::Failed(error) => Self::Failed(error.clone()),
            Self::Alone => Self::Alone,
        }
    }
}

/// The starts of one route.
#[derive(Debug)]
pub struct Starts<E>(Mutex<Table<E>>);

#[derive(Debug)]
struct Table<E> {
    entries: HashMap<u128, Entry<E>, BuildDigestHasher>,
    /// Those that have ended, in the order in which they did, until when they are kept.
    ended: VecDeque<(Instant, u128, u64)>,
    bytes: usize,
    /// Numbers the entries.
    next: u64,
}

#[derive(Debug)]
struct Entry<E> {
    number: u64,
    fingerprint: u128,
    news: News<E>,
    bytes: usize,
}

type News<E> = Arc<watch::Sender<Option<Outcome<E>>>>;

/// What to do with a start.
#[derive(Debug)]
pub enum Entered<E> {
    /// It is the first: make it, and tell by the ticket what became of it.
    First(Ticket<E>, Waiting<E>),
    /// It is under way, or was answered.
    Same(Waiting<E>),
    /// The key was used for another request.
    Other,
    /// More starts are under way than can be remembered.
    Full,
}

impl<E> Starts<E> {
    /// Has somebody started this before? Two starts are the same by their `key`; their `fingerprint` tells whether they
    /// ought to be.
    pub fn enter(self: &Arc<Self>, key: u128, fingerprint: u128, now: Instant) -> Entered<E> {
        let mut table = self.0.lock();
        table.forget_until(now);
        if let Some(entry) = table.entries.get(&key) {
            let is_same = entry.fingerprint == fingerprint;
            return if is_same { Entered::Same(Waiting(entry.news.subscribe())) } else { Entered::Other };
        }
        if table.entries.len() >= MAX_STARTS && !table.forget_oldest() {
            return Entered::Full;
        }
        let (sender, receiver) = watch::channel(None);
        let news = Arc::new(sender);
        table.next += 1;
        let number = table.next;
        table.entries.insert(key, Entry { number, fingerprint, news: Arc::clone(&news), bytes: 0 });
        let ticket = Ticket { starts: Arc::clone(self), key, number, news, is_kept: false };
        Entered::First(ticket, Waiting(receiver))
    }
}

impl<E> Table<E> {
    fn forget_until(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(until, ..)| *until <= now) {
            self.forget_oldest();
        }
    }

    /// Forgets the one that ended first; false where none has.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key, number)) = self.ended.pop_front() else { return false };
        self.remove(key, number);
        true
    }

    fn remove(&mut self, key: u128, number: u64) {
        if self.entries.get(&key).is_some_and(|entry| entry.number == number)
            && let Some(entry) = self.entries.remove(&key)
        {
            self.bytes -= entry.bytes;
        }
    }
}

impl<E> Default for Starts<E> {
    fn default() -> Self {
        let (entries, ended) = (HashMap::default(), VecDeque::new());
        Self(Mutex::new(Table { entries, ended, bytes: 0, next: 0 }))
    }
}

/// The duty to tell what became of a start. Dropped, it has come to no end.
#[derive(Debug)]
pub struct Ticket<E> {
    starts: Arc<Starts<E>>,
    key: u128,
    number: u64,
    news: News<E>,
    is_kept: bool,
}

impl<E> Drop for Ticket<E> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.starts.0.lock().remove(self.key, self.number);
        }
    }
}

impl<E> Ticket<E> {
    /// Tells those who wait; those who come until then, too.
    pub fn keep(mut self, outcome: Outcome<E>, until: Instant) {
        let bytes = match &outcome {
            Outcome::Answered(answer) => answer.body.len() + HEAD_BYTES,
            Outcome::Failed(_) | Outcome::Alone => HEAD_BYTES,
        };
        self.news.send_replace(Some(outcome));
        let mut table = self.starts.0.lock();
        if let Some(entry) = table.entries.get_mut(&self.key).filter(|entry| entry.number == self.number) {
            entry.bytes = bytes;
            table.bytes += bytes;
            table.ended.push_back((until, self.key, self.number));
        }
        while table.bytes > MAX_BYTES && table.forget_oldest() {}
        drop(table);
        self.is_kept = true;
    }

    /// Tells those who wait, and nobody else.
    pub fn tell(self, outcome: Outcome<E>) {
        self.news.send_replace(Some(outcome));
    }

    /// Waits until nobody waits any more, nor can.
    pub async fn abandoned(&self) {
        loop {
            self.news.closed().await;
            let mut table = self.starts.0.lock();
            if self.news.receiver_count() == 0 {
                table.remove(self.key, self.number);
                return;
            }
        }
    }
}

/// Somebody who waits for what becomes of a start.
#[derive(Debug)]
pub struct Waiting<E>(watch::Receiver<Option<Outcome<E>>>);

impl<E: Clone> Waiting<E> {
    /// None where it has come to no end: make a new attempt.
    pub async fn outcome(mut self) -> Option<Outcome<E>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Whether it has ended already.
    pub fn has_ended(&self) -> bool {
        self.0.borrow().is_some()
    }
}

#[cfg(test)]
mod tests;
