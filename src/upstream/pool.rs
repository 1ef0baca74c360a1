//! The connections to one server: at most so many, the most recently used first, and a line of those who wait for one.
//!
//! A dial belongs to nobody: it runs in a task of its own and serves whoever waits first, so that a request that is
//! given up wastes none, and there is never more than one dial for each that waits.

mod lease;
mod limits;
mod opening;
mod shared;
mod stats;
mod verdict;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use http::Response;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(super) use self::lease::{Lease, TunnelPlace};
use self::limits::Limits;
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

/// The most that may wait for a connection; beyond it they are turned away at once.
const MAX_WAITING: usize = 20_000;

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
    dialing: usize,
    waiting: VecDeque<Waiting>,
    /// How long the line may get before it is looked through for those who have left.
    tidy_at: usize,
}

impl State {
    /// Forgets waiters that have left, when they may be half of the line: a walk over it that pays for itself.
    fn forget_who_left(&mut self) {
        if self.waiting.len() >= self.tidy_at.max(64) {
            self.waiting.retain(|waiting| !waiting.is_closed());
            self.tidy_at = self.waiting.len() * 2;
        }
    }
}

/// One who waits for a connection.
#[derive(Debug)]
struct Waiting {
    sender: oneshot::Sender<Result<Lease, Error>>,
    /// Whether a kept connection is of no use to it.
    must_be_new: bool,
}

impl Waiting {
    /// Whether it has left.
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn send(self, outcome: Result<Lease, Error>) -> Result<(), Result<Lease, Error>> {
        self.sender.send(outcome)
    }
}

/// One more that is busy with this server, until dropped.
struct Busy<'p>(&'p Pool);

impl<'p> Busy<'p> {
    fn new(pool: &'p Pool) -> Self {
        pool.busy.inc();
        Self(pool)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.dec();
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

    /// One exchange: a connection, the request, the response's head. Kept connections that turn out to be closed before
    /// a byte was sent cost nothing but the next try.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        sending: &mut Sending<'_>,
        trial: Option<Trial<'_>>,
    ) -> Result<Response<ResponseBody>, Error> {
        self.requests.inc();
        let limits = self.limits.load_full();
        let upload = sending.upload();
        let outcome = loop {
            match self.try_once(&limits, sending).await {
                Err(Tried::Closed) => {}
                Err(Tried::Failed(error)) => break Err(error),
                Ok(response) => break Ok(response),
            }
        };
        let is_clients_fault = upload.is_some_and(|upload| upload.fault().is_some());
        self.judge(&outcome, trial, sending, &limits, is_clients_fault);
        outcome
    }

    async fn try_once(
        self: &Arc<Self>,
        limits: &Limits,
        sending: &mut Sending<'_>,
    ) -> Result<Response<ResponseBody>, Tried> {
        // Where a server has closed one kept connection it may have closed them all: what is sent again gets a new one.
        let must_be_new = std::mem::take(&mut sending.crossed_a_close);
        let kept = if must_be_new { None } else { self.take_idle(limits, sending.now) };
        let mut lease = match kept {
            Some(lease) => lease,
            // Fails with the request still unsent: this is the one failure after which any request may be sent elsewhere.
            None => {
                let lease = Box::pin(self.wait_for_one(limits, must_be_new)).await.map_err(Tried::Failed)?;
                sending.now = self.clock.now();
                lease
            }
        };
        let is_kept = lease.channel().is_kept();
        let began = sending.now;
        let patience = sending.commitment.is_none().then_some(limits.patience);
        match lease.channel().exchange(sending, patience).await {
            Ok(response) => {
                self.first_byte.add(sending.now.saturating_duration_since(began));
                Ok(ResponseBody::attach(response, lease, limits.patience.body))
            }
            Err(_) if is_kept && sending.can_be_sent_again() && sending.is_unsent => Err(Tried::Closed),
            Err(error) => {
                sending.crossed_a_close = is_kept && error == Error::ConnectionTerminated;
                Err(Tried::Failed(error))
            }
        }
    }

    /// A kept connection, where there is one that is still good.
    fn take_idle(self: &Arc<Self>, limits: &Limits, now: Instant) -> Option<Lease> {
        self.pop_idle(&mut self.state.lock(), limits, now)
    }

    fn pop_idle(self: &Arc<Self>, state: &mut State, limits: &Limits, now: Instant) -> Option<Lease> {
        if let Some(lease) = self.pop_stream(state, limits, now) {
            return Some(lease);
        }
        while let Some(mut connection) = state.idle.pop() {
            if self.may_be_kept(&mut connection, limits, now) && limits.is_fresh(&connection, now) {
                return Some(self.lease(connection));
            }
            state.open -= 1;
            self.recycled.inc();
        }
        None
    }

    fn pop_stream(self: &Arc<Self>, state: &mut State, limits: &Limits, now: Instant) -> Option<Lease> {
        if state.shared.is_empty() { None } else { self.take_stream(state, limits, now) }
    }

    /// A stream, while the longest unused connection makes room for a new one.
    fn pop_for_new(self: &Arc<Self>, state: &mut State, limits: &Limits, now: Instant) -> Option<Lease> {
        if !state.idle.is_empty() {
            drop(state.idle.remove(0));
            state.open -= 1;
            self.recycled.inc();
        }
        self.pop_stream(state, limits, now)
    }

    /// A new connection, or the next that is given back. Who waits counts as busy: a server that cannot be reached must
    /// not look like the idlest of all.
    async fn wait_for_one(self: &Arc<Self>, limits: &Limits, must_be_new: bool) -> Result<Lease, Error> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            // Looked for and lined up under one lock: what comes back in between finds the one who waits.
            let pop = if must_be_new { Self::pop_for_new } else { Self::pop_idle };
            if let Some(lease) = pop(self, &mut state, limits, self.clock.now()) {
                return Ok(lease);
            }
            state.forget_who_left();
            if state.waiting.len() >= MAX_WAITING {
                return Err(Error::AcquireTimeout);
            }
            state.waiting.push_back(Waiting { sender, must_be_new });
        }
        let _busy = Busy::new(self);
        self.serve_waiting();
        match tokio::time::timeout(limits.acquire_timeout, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::ConnectionRefused),
            Err(_) => Err(Error::AcquireTimeout),
        }
    }

    fn lease(self: &Arc<Self>, connection: Box<Connection>) -> Lease {
        self.busy.inc();
        Lease::new(Channel::Own(connection), Arc::clone(self))
    }

    /// Gives a connection to whoever waits first and can use it, or keeps it. It travels as a lease: one who leaves in the moment of
    /// getting it drops it, and it must not count as open for ever.
    fn hand_over(self: &Arc<Self>, mut connection: Box<Connection>) {
        loop {
            let mut state = self.state.lock();
            let is_of_use = |waiting: &Waiting| !(waiting.must_be_new && connection.is_used);
            let first = state.waiting.iter().position(is_of_use);
            let Some(waiting) = first.and_then(|at| state.waiting.remove(at)) else {
                if state.waiting.is_empty() {
                    connection.idle_since = self.clock.now();
                    return state.idle.push(connection);
                }
                // Those who wait want new ones: it makes room.
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

    /// A leased connection came back: kept where it can be used again.
    fn put_back(self: &Arc<Self>, mut connection: Box<Connection>) {
        self.busy.dec();
        // A response without a body ends before the protocol machine was told: one more step readies it.
        let is_ready = connection.is_ready() || (!connection.is_closed() && connection.is_ready());
        if is_ready && self.may_be_kept(&mut connection, &self.limits.load(), self.clock.now()) {
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
        self.serve_waiting();
    }
}

#[cfg(test)]
mod tests;
