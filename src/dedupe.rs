//! Starting the same thing once: who sends a start that is under way, or was just answered, gets that one's answer.
//!
//! The rules are those of draft-ietf-httpapi-idempotency-key-header: the same key with another request is refused, a
//! request that is still being answered is waited for, one that was answered is not made again. What the key is, and
//! whose, the caller knows.
//!
//! Promises: of equal starts one is under way at a time; nobody's leaving ends it for the others; one that was never made
//! leaves nothing behind, and the next makes a new attempt; one that may have been made is made by nobody else before it
//! has come to its end, whatever becomes of the task that made it; what is kept is bounded in number, size and time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::digest::BuildDigestHasher;

/// How many starts of one route are remembered at a time.
const MAX_STARTS: usize = 10_000;
/// How much memory their answers may take.
const MAX_BYTES: usize = 32 << 20;
/// How much memory the bodies of one route may take that are compared and not sent yet.
const MAX_COMPARED: usize = 64 << 20;
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
pub struct Starts<E> {
    table: Mutex<Table<E>>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Table<E> {
    entries: HashMap<u128, Entry<E>, BuildDigestHasher>,
    /// The keys of those that are kept, by the time until then and their number.
    kept: BTreeMap<(Instant, u64), u128>,
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
    is_kept: bool,
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

/// Memory for a body that is compared; clones are the same.
#[derive(Debug, Clone)]
pub struct Room {
    _held: Arc<OwnedSemaphorePermit>,
}

impl<E> Starts<E> {
    /// Room for a body of so many bytes; none where those of others take it all.
    pub fn room(&self, bytes: u64) -> Option<Room> {
        let held = Arc::clone(&self.room).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Room { _held: Arc::new(held) })
    }

    /// Has somebody started this before? Two starts are the same by their `key`; their `fingerprint` tells whether they
    /// ought to be.
    pub fn enter(self: &Arc<Self>, key: u128, fingerprint: u128, now: Instant) -> Entered<E> {
        let mut table = self.table.lock();
        table.forget_until(now);
        if let Some(entry) = table.entries.get(&key) {
            let is_same = entry.fingerprint == fingerprint;
            return if is_same { Entered::Same(Waiting(entry.news.subscribe())) } else { Entered::Other };
        }
        if table.entries.len() >= MAX_STARTS && !table.forget_one() {
            return Entered::Full;
        }
        let (sender, receiver) = watch::channel(None);
        let news = Arc::new(sender);
        table.next += 1;
        let number = table.next;
        let entry = Entry { number, fingerprint, news: Arc::clone(&news), bytes: 0, is_kept: false };
        table.entries.insert(key, entry);
        let duty = Duty { starts: Arc::clone(self), key, number, news, if_lost: OnceLock::new() };
        Entered::First(Ticket(Arc::new(duty)), Waiting(receiver))
    }
}

impl<E> Table<E> {
    fn forget_until(&mut self, now: Instant) {
        while self.kept.first_key_value().is_some_and(|((until, _), _)| *until <= now) {
            self.forget_one();
        }
    }

    /// Forgets the one whose time is over first; false where none is kept.
    fn forget_one(&mut self) -> bool {
        let Some(((_, number), key)) = self.kept.pop_first() else { return false };
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
        let (entries, kept) = (HashMap::default(), BTreeMap::new());
        let table = Mutex::new(Table { entries, kept, bytes: 0, next: 0 });
        Self { table, room: Arc::new(Semaphore::new(MAX_COMPARED)) }
    }
}

/// The duty to tell what became of a start. Clones are the same one: whoever has a part in the start holds one, and until
/// the last is dropped no equal start is made.
#[derive(Debug, Clone)]
pub struct Ticket<E>(Arc<Duty<E>>);

#[derive(Debug)]
struct Duty<E> {
    starts: Arc<Starts<E>>,
    key: u128,
    number: u64,
    news: News<E>,
    /// What is told where nobody tells anything.
    if_lost: OnceLock<E>,
}

impl<E> Drop for Duty<E> {
    fn drop(&mut self) {
        if let Some(error) = self.if_lost.take() {
            self.news.send_if_modified(|news| {
                let is_untold = news.is_none();
                if is_untold {
                    *news = Some(Outcome::Failed(error));
                }
                is_untold
            });
        }
        let mut table = self.starts.table.lock();
        if table.entries.get(&self.key).is_some_and(|entry| !entry.is_kept) {
            table.remove(self.key, self.number);
        }
    }
}

impl<E> Ticket<E> {
    /// From now on the start may have been made. Where it comes to no end those who wait are told `if_lost`, and do not
    /// make it a second time.
    pub fn begun(&self, if_lost: E) {
        let _ = self.0.if_lost.set(if_lost);
    }

    /// Tells those who wait; those who come until then, too.
    pub fn keep(&self, outcome: Outcome<E>, until: Instant) {
        let Duty { starts, key, number, news, .. } = &*self.0;
        let bytes = match &outcome {
            Outcome::Answered(answer) => answer.body.len() + HEAD_BYTES,
            Outcome::Failed(_) | Outcome::Alone => HEAD_BYTES,
        };
        news.send_replace(Some(outcome));
        let mut table = starts.table.lock();
        if let Some(entry) = table.entries.get_mut(key).filter(|entry| entry.number == *number) {
            (entry.bytes, entry.is_kept) = (bytes, true);
            table.bytes += bytes;
            table.kept.insert((until, *number), *key);
        }
        while table.bytes > MAX_BYTES && table.forget_one() {}
    }

    /// Tells those who wait, and those who come while the start is under way.
    pub fn tell(&self, outcome: Outcome<E>) {
        self.0.news.send_replace(Some(outcome));
    }

    /// Waits until nobody waits any more, nor can.
    pub async fn abandoned(&self) {
        let Duty { starts, key, number, news, .. } = &*self.0;
        loop {
            news.closed().await;
            let mut table = starts.table.lock();
            if news.receiver_count() == 0 {
                table.remove(*key, *number);
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
