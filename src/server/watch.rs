//! What one connection is doing, and what is asked of it.
//!
//! A connection stamps what it does with the number of the current tick: a few stores to its own cache line, no clock
//! is read and no timer set for a request. Who looks at it once a tick is told whether it is overdue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Poll, Waker};

use crate::bell::Bell;

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
    pub(super) fn overdue(&self, now: u32, head: u32, idle: u32) -> Option<Call> {
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
        self.is_to_drain();
        self.call();
    }

    /// As `drain`, but it is not told before it is called.
    pub(super) fn is_to_drain(&self) {
        self.must_drain.store(true, Relaxed);
    }

    /// Has it look at what is asked of it.
    pub(super) fn call(&self) {
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

    pub(super) fn could_rest(&self, now: u32) -> bool {
        !self.is_resting.load(Relaxed)
            && self.is_between_requests()
            && now.saturating_sub(self.since.load(Relaxed)) > 1
    }

    pub(super) fn rest(&self) {
        self.is_resting.store(true, Relaxed);
        self.must_rest.store(true, Relaxed);
        self.called.ring();
    }

    /// It goes on after a rest.
    pub(super) fn is_roused(&self) {
        self.is_resting.store(false, Relaxed);
    }

    pub(super) fn end(&self) {
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
