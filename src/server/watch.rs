//! What each connection is doing, and a reaper that ends those which have been doing it for too long.
//!
//! A connection stamps what it does with the number of the current tick: a few stores to its own cache line, no clock
//! is read and no timer set for a request. The reaper looks at all connections once a tick and ends the overdue ones. A
//! deadline is thus kept to within a tick: an eighth of the shortest timeout, a second at most.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::task::TaskTracker;

use super::Bounds;
use super::seats::{Seat, Seats};
use crate::bell::Bell;
use crate::metrics::{Counter, Gauge};

/// The shortest and the longest tick.
const TICKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// All connections of the process.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<Slab<Arc<Watch>>>,
    tick: Arc<AtomicU32>,
    is_draining: AtomicBool,
    /// How many are open.
    pub count: Gauge,
    /// TLS handshakes that came to nothing.
    pub failed_handshakes: Counter,
    seats: Arc<Seats>,
    /// How many were turned away because their address has as many as it may.
    pub refused: Counter,
    /// Connections of HTTP/2 that ended because their client flooded them.
    pub floods: Counter,
    /// Requests that could not be read as HTTP/1.1.
    pub unreadable: Counter,
    /// Streams of HTTP/2 that were reset because their client took nothing.
    pub stalled: Counter,
    emptied: Notify,
    tasks: TaskTracker,
}

/// What one connection is doing.
#[derive(Debug)]
pub struct Watch {
    now: Arc<AtomicU32>,
    /// Requests that are being answered.
    exchanges: AtomicU32,
    /// Pieces of answers that wait in the protocol machine for an HTTP/2 client's window.
    unsent: AtomicU32,
    /// When the present phase began: a head being read, or nothing.
    since: AtomicU32,
    is_reading_head: AtomicBool,
    is_http2: AtomicBool,
    /// Since when an HTTP/2 client is in the middle of a head, or of the preface; 0: it is not.
    within_head_since: AtomicU32,
    /// Since when a write does not move; 0: it does.
    stuck_since: AtomicU32,
    must_end: AtomicBool,
    must_drain: AtomicBool,
    must_linger: AtomicBool,
    /// Whether the last request was over with its head: what follows is another one.
    is_between: AtomicBool,
    must_rest: AtomicBool,
    is_resting: AtomicBool,
    called: Bell,
}

impl Connections {
    /// Registers a new connection; it leaves when the guard is dropped. None where its address has as many as it may.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        most: Option<usize>,
        place: OwnedSemaphorePermit,
    ) -> Option<Entered> {
        let seat = most.map(|most| self.seats.take(address, most).ok_or(())).transpose();
        match seat {
            Ok(seat) => Some(self.register(Some(place), seat)),
            Err(()) => {
                self.refused.inc();
                None
            }
        }
    }

    fn register(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>, seat: Option<Seat>) -> Entered {
        let watch = Arc::new(Watch::new(Arc::clone(&self.tick), self.is_draining.load(Relaxed)));
        self.count.inc();
        let number = self.open.lock().insert(Arc::clone(&watch));
        Entered { connections: Arc::clone(self), number, watch, _place: place, _seat: seat }
    }

    /// Ends overdue connections, for as long as it is polled. The bounds are asked for at every tick.
    pub(super) async fn reap(&self, bounds: impl Fn() -> Bounds) {
        loop {
            let bounds = bounds();
            let tick = (bounds.header_timeout.min(bounds.idle_timeout) / 8).clamp(TICKS.0, TICKS.1);
            tokio::time::sleep(tick).await;
            let now = self.tick.fetch_add(1, Relaxed) + 1;
            let ticks =
                |limit: Duration| u32::try_from(limit.as_micros() / tick.as_micros()).unwrap_or(u32::MAX);
            let (head, idle) = (ticks(bounds.header_timeout), ticks(bounds.idle_timeout));
            for (_, watch) in &*self.open.lock() {
                match watch.overdue(now, head, idle) {
                    Some(Call::End) => watch.end(),
                    Some(Call::Drain) => watch.drain(),
                    _ if watch.could_rest(now) => watch.rest(),
                    _ => {}
                }
            }
        }
    }

    /// Asks every connection to end after what it is doing now; new ones end after their first request.
    pub fn drain(&self) {
        self.is_draining.store(true, Relaxed);
        let open = self.open.lock();
        // All are told before the first one acts on it: who sees one connection close finds the drain on every other.
        open.iter().for_each(|(_, watch)| watch.must_drain.store(true, Relaxed));
        open.iter().for_each(|(_, watch)| watch.called.ring());
    }

    /// Ends every connection at once.
    pub fn end_all(&self) {
        self.open.lock().iter().for_each(|(_, watch)| watch.end());
    }

    /// The tasks that serve connections, and requests on them. A request's task may outlive its connection for a moment:
    /// a write is handed over there when its client has left.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until no connection is left, and no task of one.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.lock().is_empty() {
                break;
            }
            emptied.await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Watch {
    /// Of a connection that begins.
    pub(super) fn new(now: Arc<AtomicU32>, must_drain: bool) -> Self {
        Self {
            exchanges: AtomicU32::new(0),
            unsent: AtomicU32::new(0),
            since: AtomicU32::new(now.load(Relaxed)),
            now,
            // Silence from the start is a head that does not come.
            is_reading_head: AtomicBool::new(true),
            is_http2: AtomicBool::new(false),
            within_head_since: AtomicU32::new(0),
            stuck_since: AtomicU32::new(0),
            must_end: AtomicBool::new(false),
            must_drain: AtomicBool::new(must_drain),
            must_linger: AtomicBool::new(false),
            is_between: AtomicBool::new(false),
            must_rest: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            called: Bell::default(),
        }
    }

    /// A request is being answered: the connection is in use until as many have ended.
    pub(super) fn begin_exchange(&self) {
        self.exchanges.fetch_add(1, Relaxed);
        self.is_reading_head.store(false, Relaxed);
    }

    pub(super) fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    /// The protocol machine takes a piece of an answer, and keeps it until its client wants it.
    pub(super) fn takes_over(&self) {
        self.unsent.fetch_add(1, Relaxed);
    }

    /// Such a piece has gone out, or its stream has ended.
    pub(super) fn has_let_go(&self) {
        if self.unsent.fetch_sub(1, Relaxed) == 1 {
            self.is_read();
        }
    }

    /// The request's body was not read to its end: give the client time to read the answer before the connection goes.
    pub fn linger(&self) {
        self.must_linger.store(true, Relaxed);
    }

    pub(super) fn must_linger(&self) -> bool {
        self.must_linger.load(Relaxed)
    }

    /// The client speaks HTTP/2: once it has asked for something, bytes between two requests are no head that begins.
    pub(super) fn speaks_http2(&self) {
        self.is_http2.store(true, Relaxed);
    }

    /// Whether it does.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Whether the HTTP/2 client is in the middle of a head. While it is, its other requests do not come on either.
    pub(super) fn reads_head(&self, is_within: bool) {
        let since = self.within_head_since.load(Relaxed);
        if is_within != (since != 0) {
            let since = if is_within { self.now.load(Relaxed).max(1) } else { 0 };
            self.within_head_since.store(since, Relaxed);
        }
    }

    /// The client takes what was answered, perhaps long after the answer was complete on this side.
    pub(super) fn is_read(&self) {
        self.since.store(self.now.load(Relaxed), Relaxed);
    }

    /// Bytes came in.
    pub(super) fn has_read(&self) {
        if self.is_http2.load(Relaxed) {
            return;
        }
        if self.exchanges.load(Relaxed) == 0 && !self.is_reading_head.load(Relaxed) {
            self.is_reading_head.store(true, Relaxed);
            self.since.store(self.now.load(Relaxed), Relaxed);
        }
    }

    /// A write moved, or did not.
    pub(super) fn has_written(&self, moved: bool) {
        let stuck = self.stuck_since.load(Relaxed);
        if moved && stuck != 0 {
            self.stuck_since.store(0, Relaxed);
            self.is_read();
        } else if !moved && stuck == 0 {
            self.stuck_since.store(self.now.load(Relaxed).max(1), Relaxed);
        }
    }

    /// Whether no request is being answered, and all that was answered has gone out.
    pub(super) fn is_idle(&self) -> bool {
        self.is_answered() && self.unsent.load(Relaxed) == 0
    }

    /// Whether no request is being answered, and all that was written has gone out; a client of HTTP/2 may not have wanted
    /// the end of an answer yet.
    fn is_answered(&self) -> bool {
        self.exchanges.load(Relaxed) == 0 && self.stuck_since.load(Relaxed) == 0
    }

    /// What is to be asked of a connection that does nothing for too long.
    fn overdue(&self, now: u32, head: u32, idle: u32) -> Option<Call> {
        let is_over = |since: &AtomicU32, limit: u32| {
            let since = since.load(Relaxed);
            since != 0 && now.saturating_sub(since) > limit
        };
        if is_over(&self.stuck_since, idle) || is_over(&self.within_head_since, head) {
            return Some(Call::End);
        }
        let limit = if self.is_reading_head.load(Relaxed) { head } else { idle };
        let is_overdue = self.is_answered() && now.saturating_sub(self.since.load(Relaxed)) > limit;
        // A client of HTTP/2 is told, so that it knows what becomes of a request that is on its way (RFC 9113 section 9.1);
        // not one that takes nothing.
        let is_told = self.is_http2.load(Relaxed) && self.is_idle();
        is_overdue.then_some(if is_told { Call::Drain } else { Call::End })
    }

    /// Asks the connection to end after what it is doing now.
    pub fn drain(&self) {
        self.must_drain.store(true, Relaxed);
        self.called.ring();
    }

    /// A request has come, with a body or without.
    pub(super) fn has_taken(&self, has_body: bool) {
        self.is_between.store(!has_body, Relaxed);
    }

    /// Whether nothing is under way and nothing can be: all that was asked has been answered, and not a byte of a next
    /// request has come. A request with a body leaves that in doubt, since somebody may still be reading it.
    pub(super) fn is_between_requests(&self) -> bool {
        self.is_idle()
            && self.is_between.load(Relaxed)
            && !self.is_reading_head.load(Relaxed)
            && !self.is_http2.load(Relaxed)
    }

    fn could_rest(&self, now: u32) -> bool {
        !self.is_resting.load(Relaxed)
            && self.is_between_requests()
            && now.saturating_sub(self.since.load(Relaxed)) > 1
    }

    fn rest(&self) {
        self.is_resting.store(true, Relaxed);
        self.must_rest.store(true, Relaxed);
        self.called.ring();
    }

    /// It goes on after a rest.
    pub(super) fn is_roused(&self) {
        self.is_resting.store(false, Relaxed);
    }

    fn end(&self) {
        self.must_end.store(true, Relaxed);
        self.called.ring();
    }

    /// Waits until the connection is asked for something.
    pub(super) async fn called(&self) -> Call {
        let mut registered: Option<Waker> = None;
        std::future::poll_fn(|cx| {
            // A connection is polled many times by one task: its waker is handed over once.
            if registered.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                self.called.call(cx.waker());
                registered = Some(cx.waker().clone());
            }
            if self.must_end.load(Relaxed) {
                Poll::Ready(Call::End)
            } else if self.must_drain.load(Relaxed) && self.must_drain.swap(false, Relaxed) {
                Poll::Ready(Call::Drain)
            } else if self.must_rest.load(Relaxed) && self.must_rest.swap(false, Relaxed) {
                Poll::Ready(Call::Rest)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// What is asked of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// End after the present request.
    Drain,
    /// Give back what an idle connection does not need.
    Rest,
    /// End now.
    End,
}

/// A connection among the others, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    connections: Arc<Connections>,
    number: usize,
    pub(super) watch: Arc<Watch>,
    /// Its place within `max_connections`.
    _place: Option<OwnedSemaphorePermit>,
    /// Its place among those of its address.
    _seat: Option<Seat>,
}

impl Entered {
    /// Where its requests run.
    pub(super) fn tasks(&self) -> TaskTracker {
        self.connections.tasks.clone()
    }

    /// The client has flooded it.
    pub(super) fn was_flooded(&self) {
        self.connections.floods.inc();
    }

    /// What the client sent is no request.
    pub(super) fn was_unreadable(&self) {
        self.connections.unreadable.inc();
    }

    /// The client took nothing of an answer.
    pub(super) fn has_stalled(&self) {
        self.connections.stalled.inc();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.count.dec();
        let mut open = self.connections.open.lock();
        open.try_remove(self.number);
        if open.is_empty() {
            self.connections.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        max_connections: 9,
        header_timeout: Duration::from_secs(8),
        idle_timeout: Duration::from_secs(64),
        max_header_bytes: 1024,
    };

    async fn ended_after(prepare: impl FnOnce(&Watch)) -> Option<Duration> {
        let clock = crate::clock::Clock::start();
        let connections = Arc::new(Connections::default());
        let entered = connections.register(None, None);
        let reaper = connections.reap(|| BOUNDS);
        tokio::pin!(reaper);
        prepare(&entered.watch);
        let began = clock.now();
        tokio::select! {
            () = &mut reaper => None,
            () = tokio::time::sleep(Duration::from_secs(500)) => None,
            call = entered.watch.called() => {
                let is_told = entered.watch.is_http2.load(Relaxed) && entered.watch.is_idle();
                assert_eq!(call, if is_told { Call::Drain } else { Call::End });
                Some(clock.now() - began)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_the_connection_in_time() {
        let after = ended_after(|_| {}).await.unwrap();
        assert!((8..=11).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_after_the_idle_timeout() {
        let after = ended_after(|watch| {
            watch.begin_exchange();
            watch.end_exchange();
        });
        let after = after.await.unwrap();
        assert!((64..=67).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_once_where_nothing_can_be_under_way() {
        for (has_body, reads_on, rests) in [(false, false, true), (true, false, false), (false, true, false)]
        {
            let connections = Arc::new(Connections::default());
            let entered = connections.register(None, None);
            let watch = &entered.watch;
            watch.has_taken(has_body);
            watch.begin_exchange();
            watch.end_exchange();
            if reads_on {
                watch.has_read();
            }
            let called = async {
                let first = watch.called().await;
                (first, watch.called().await)
            };
            let calls = tokio::select! {
                () = connections.reap(|| BOUNDS) => None,
                calls = called => Some(calls),
            };
            let expected = if rests { (Call::Rest, Call::End) } else { (Call::End, Call::End) };
            assert_eq!(calls, Some(expected), "{has_body} {reads_on}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_two_http2_requests_are_no_head_that_does_not_come() {
        let after = ended_after(|watch| {
            watch.speaks_http2();
            watch.begin_exchange();
            watch.end_exchange();
            watch.has_read();
        });
        let after = after.await.unwrap();
        assert!((64..=67).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_whose_end_is_not_taken_ends_the_connection_after_the_idle_timeout() {
        let after = ended_after(|watch| {
            watch.speaks_http2();
            watch.begin_exchange();
            watch.takes_over();
            watch.end_exchange();
            assert!(!watch.is_idle(), "a drain waits for it");
        });
        let after = after.await.unwrap();
        assert!((64..=67).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_in_use_is_left_alone_unless_its_writes_are_stuck() {
        assert_eq!(ended_after(Watch::begin_exchange).await, None);
        let stuck = ended_after(|watch| {
            watch.has_written(false);
            watch.begin_exchange();
        });
        assert!((64..=67).contains(&stuck.await.unwrap().as_secs()));
    }
}
