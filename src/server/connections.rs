//! All connections of the process, and a reaper that ends those which have been doing something for too long.
//!
//! The reaper looks at every connection's watch once a tick and ends the overdue ones. A deadline is thus kept to
//! within a tick: an eighth of the shortest timeout, a second at most.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::task::TaskTracker;

use super::Bounds;
use super::seats::{Seat, Seats};
use super::watch::{Call, Watch};
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
        open.iter().for_each(|(_, watch)| watch.is_to_drain());
        open.iter().for_each(|(_, watch)| watch.call());
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
                let is_told = entered.watch.is_http2() && entered.watch.is_idle();
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
