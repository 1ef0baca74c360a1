//! The connections to one server: at most so many, the most recently used first, and a line of those who wait for one.
//!
//! A dial belongs to nobody: it runs in a task of its own and serves whoever waits first, so that a request that is
//! given up wastes none, and there is never more than one dial for each that waits.

mod acquire;
mod lease;
mod limits;
mod opening;
mod queue;
mod shared;
mod stats;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(super) use self::lease::{Lease, TunnelPlace};
pub(super) use self::limits::Limits;
pub(super) use self::queue::Offer;
use self::queue::{Queue, Waiting};
use self::shared::Dialect;
pub use self::stats::ServerStats;
use super::body::ResponseBody;
use super::channel::Channel;
use super::connect::Network;
use super::connection::Connection;
use super::dial::Dialer;
use super::multiplexed::Multiplexed;
use super::sending::Sending;
use super::standing::{Standing, Trial};
use super::tend::Checks;
use super::{Error, Server, Spec};
use crate::clock::Clock;
use crate::metrics::{Counter, Gauge, TimeTotal};

/// The pool of one server.
#[derive(Debug)]
pub(super) struct Pool {
    /// Whose server it is.
    upstream: Arc<str>,
    server: Server,
    pub(super) dialer: Dialer,
    dialect: Dialect,
    pub(super) clock: Clock,
    limits: ArcSwap<Limits>,
    state: Mutex<State>,
    busy: Gauge,
    standing: Standing,
    pub(super) checks: Checks,
    /// When a connection could last not be opened, in milliseconds since the start; 0: never.
    dial_failed_at: AtomicU64,
    created: Counter,
    recycled: Counter,
    timeouts: Counter,
    requests: Counter,
    failures: Counter,
    connect_time: TimeTotal,
    first_byte: TimeTotal,
}

#[derive(Debug, Default)]
struct State {
    /// The most recently used one last.
    #[expect(clippy::vec_box, reason = "a connection is handed on many times and moved never")]
    idle: Vec<Box<Connection>>,
    /// Connections that many use at a time.
    shared: Vec<Arc<Multiplexed>>,
    /// Idle, leased, shared and being opened.
    open: usize,
    /// Those who take whatever is spoken.
    line: Queue,
    /// Those who want an upgrade from a server that may speak HTTP/2.
    upgrades: Queue,
    /// Until when no connection is opened that may be shared, where the last one was of no use.
    rests_until: Option<Instant>,
}

impl State {
    fn queue(&mut self, offer: Offer) -> &mut Queue {
        match offer {
            Offer::All => &mut self.line,
            Offer::Http1 => &mut self.upgrades,
        }
    }

    fn does_anybody_wait(&self) -> bool {
        !(self.line.is_empty() && self.upgrades.is_empty())
    }

    /// The first to whom a connection of its own is of use; nobody where it must make room for a new one.
    fn pop_for(&mut self, connection: &Connection, limits: &Limits) -> Option<Waiting> {
        let is_in_the_way = connection.is_used && !self.has_room(limits);
        if is_in_the_way && (self.upgrades.insists_on_a_new_one() || self.line.insists_on_a_new_one()) {
            return None;
        }
        self.upgrades.pop_for(connection.is_used).or_else(|| self.line.pop_for(connection.is_used))
    }

    /// Whether another connection may be opened.
    fn has_room(&self, limits: &Limits) -> bool {
        limits.max_connections == 0 || self.open < limits.max_connections
    }
}

/// Why a try brought no response.
enum Tried {
    /// A kept connection was closed before a byte was sent: the next one may be better.
    Closed,
    Failed(Error),
}

impl Pool {
    pub(super) fn new(server: Server, spec: &Spec, network: Network, clock: Clock) -> Self {
        Self {
            upstream: Arc::clone(&spec.name),
            dialer: Dialer::new(&server, network, spec.dns_refresh, clock),
            dialect: Dialect::of(server.scheme()),
            server,
            clock,
            limits: ArcSwap::from_pointee(Limits::from(spec)),
            state: Mutex::default(),
            busy: Gauge::default(),
            standing: Standing::default(),
            checks: Checks::new(spec.health.clone()),
            dial_failed_at: AtomicU64::new(0),
            created: Counter::default(),
            recycled: Counter::default(),
            timeouts: Counter::default(),
            requests: Counter::default(),
            failures: Counter::default(),
            connect_time: TimeTotal::default(),
            first_byte: TimeTotal::default(),
        }
    }

    pub(super) fn reconfigure(self: &Arc<Self>, spec: &Spec) {
        self.limits.store(Arc::new(Limits::from(spec)));
        // In this order: a check that has not heard of it speaks before the standing is made right.
        let has_other_checks = self.checks.reconfigure(spec.health.clone());
        self.standing.keep(spec.breaker.is_some(), spec.health.is_some(), has_other_checks);
        self.dialer.addresses.reconfigure(spec.dns_refresh);
        self.serve_waiting();
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether the server gets requests.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Exchanges under way and requests that wait for a connection.
    pub(super) fn busy(&self) -> i64 {
        self.busy.value()
    }

    /// One exchange: a connection, the request, the response's head, whose status it tells. Kept connections that turn out to
    /// be closed before a byte was sent cost nothing but the next try.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        sending: &mut Sending<'_>,
        trial: Option<Trial<'_>>,
        limits: &Limits,
    ) -> Result<StatusCode, Error> {
        let (upload, began) = (sending.upload(), sending.now);
        let mut is_counted = false;
        let outcome = loop {
            match self.try_once(limits, sending, &mut is_counted).await {
                Err(Tried::Closed) => {}
                Err(Tried::Failed(error)) => break Err(error),
                Ok(status) => break Ok(status),
            }
        };
        sending.is_clients_fault = upload.is_some_and(|upload| upload.fault().is_some());
        self.judge(outcome, trial, began, sending);
        outcome
    }

    async fn try_once(
        self: &Arc<Self>,
        limits: &Limits,
        sending: &mut Sending<'_>,
        is_counted: &mut bool,
    ) -> Result<StatusCode, Tried> {
        let need = self.need_of(sending);
        let kept = self.take_kept(need, limits, sending.now);
        let obtained = match kept {
            Some(lease) => Ok(lease),
            // Fails with the request still unsent: this is the one failure after which any request may be sent elsewhere.
            None => {
                let waited_for = Box::pin(self.wait_for_one(limits, need)).await;
                sending.now = self.clock.now();
                waited_for
            }
        };
        self.count(&obtained, is_counted);
        let mut lease = obtained.map_err(Tried::Failed)?;
        let is_kept = lease.channel().is_kept();
        let began = sending.now;
        let patience = sending.commitment.is_none().then_some(limits.patience);
        match lease.channel().exchange(sending, patience).await {
            Ok(status) => {
                self.first_byte.add(sending.now.saturating_duration_since(began));
                let (now, patience) = (sending.now, limits.patience.body);
                sending.answered(|head| ResponseBody::attach(head, now, lease, patience));
                Ok(status)
            }
            Err(_) if is_kept && sending.can_be_sent_again() && sending.is_unsent => Err(Tried::Closed),
            Err(error) => {
                sending.crossed_a_close = is_kept && error == Error::ConnectionTerminated;
                Err(Tried::Failed(error))
            }
        }
    }

    /// Counts an exchange, once: it has a connection, or none could be opened. Who waits for one in vain begins none.
    fn count(&self, obtained: &Result<Lease, Error>, is_counted: &mut bool) {
        match obtained {
            Err(Error::AcquireTimeout) => self.timeouts.inc(),
            Err(error) if error.is_without_attempt() => {}
            Ok(_) | Err(_) if *is_counted => {}
            Ok(_) | Err(_) => {
                *is_counted = true;
                self.requests.inc();
            }
        }
    }

    fn lease(self: &Arc<Self>, connection: Box<Connection>) -> Lease {
        self.busy.inc();
        Lease::new(Channel::Own(connection), Arc::clone(self))
    }

    /// Gives a new or idle connection to whoever waits first and can use it, or keeps it. It travels as a lease: one who leaves in the
    /// moment of getting it drops it, and it must not count as open for ever.
    fn hand_over(self: &Arc<Self>, mut connection: Box<Connection>) {
        loop {
            let mut state = self.state.lock();
            if !state.does_anybody_wait() {
                // How old it is will be asked when it is to be used again.
                return state.idle.push(connection);
            }
            let (limits, now) = (self.limits.load(), self.clock.now());
            let may_be_used = !connection.is_used || self.may_be_kept(&mut connection, &limits, now);
            let first = if may_be_used { state.pop_for(&connection, &limits) } else { None };
            let Some(waiting) = first else {
                if may_be_used && (!state.does_anybody_wait() || state.has_room(&limits)) {
                    // Those who wait have left, or get new ones.
                    return state.idle.push(connection);
                }
                // It makes room for a new one.
                state.open -= 1;
                drop(state);
                return self.serve_waiting();
            };
            // A lease that is dropped takes the lock itself.
            drop(state);
            match waiting.send(Ok(self.lease(connection))) {
                Err(Ok(back)) => match back.take_back() {
                    Some(back) => connection = back,
                    None => return,
                },
                Ok(()) | Err(Err(_)) => return,
            }
        }
    }

    /// A leased connection came back, unused since `end`: kept where it can be used again.
    fn put_back(self: &Arc<Self>, mut connection: Box<Connection>, end: Instant) {
        self.busy.dec();
        connection.idle_since = end;
        // A response without a body ends before the protocol machine was told: one more step readies it.
        if connection.is_ready() || (!connection.is_closed() && connection.is_ready()) {
            self.hand_over(connection);
        } else {
            drop(connection);
            self.state.lock().open -= 1;
            self.serve_waiting();
        }
    }

    /// Whether a connection is young enough, and leads to an address that the server still has.
    fn may_be_kept(&self, connection: &mut Connection, limits: &Limits, now: Instant) -> bool {
        limits.is_young(connection, now) && self.dialer.addresses.are_of(&mut connection.route)
    }

    /// Closes what is too old, was idle for too long, or was closed by the server.
    pub(super) fn sweep(self: &Arc<Self>, now: Instant) {
        let limits = self.limits.load();
        let mut state = self.state.lock();
        let before = state.idle.len();
        state.idle.retain_mut(|connection| {
            limits.is_fresh(connection, now)
                && self.may_be_kept(connection, &limits, now)
                && !connection.is_closed()
        });
        let closed = before - state.idle.len();
        state.open -= closed;
        self.retire(&mut state, &limits, now);
        self.recycled.add(closed as u64);
        drop(state);
        // A server may allow more streams than before, of which the protocol library tells nobody.
        self.share_streams();
    }
}

#[cfg(test)]
mod tests;
