//! The connections to one server: at most so many, the most recently used first, and a line of those who wait for one.
//!
//! A dial belongs to nobody: it runs in a task of its own and serves whoever waits first, so that a request that is
//! given up wastes none, and there is never more than one dial for each that waits.

mod lease;
mod stats;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(super) use self::lease::{Lease, TunnelPlace};
pub use self::stats::ServerStats;
use super::body::ResponseBody;
use super::connect::Network;
use super::connection::Connection;
use super::dial::Dialer;
use super::sending::Sending;
use super::standing::{BreakerRules, Change, Standing, Trial};
use super::tend::Checks;
use super::{Error, Patience, Server, Spec};
use crate::clock::Clock;
use crate::clock::jitter::jittered;
use crate::metrics::{Counter, Gauge, TimeTotal};

/// The most that may wait for a connection; beyond it they are turned away at once.
const MAX_WAITING: usize = 20_000;
/// How long a server that could not be reached is the last choice.
const SHUNNED: Duration = Duration::from_secs(1);

/// The pool of one server.
#[derive(Debug)]
pub(super) struct Pool {
    /// Whose server it is.
    upstream: Arc<str>,
    server: Server,
    pub(super) dialer: Dialer,
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

#[derive(Debug)]
struct Limits {
    max_connections: usize,
    acquire_timeout: Duration,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_age: Duration,
    patience: Patience,
    breaker: Option<BreakerRules>,
}

#[derive(Debug, Default)]
struct State {
    /// The most recently used one last.
    #[expect(clippy::vec_box, reason = "a connection is handed on many times and moved never")]
    idle: Vec<Box<Connection>>,
    /// Idle, leased and being opened.
    open: usize,
    dialing: usize,
    waiting: VecDeque<oneshot::Sender<Result<Lease, Error>>>,
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
        self.standing.keep(spec.breaker.is_some(), spec.health.is_some());
        self.checks.reconfigure(spec.health.clone());
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

    /// Whether the server has just been found unreachable.
    pub(super) fn is_shunned(&self, now: Instant) -> bool {
        let failed_at = self.dial_failed_at.load(Ordering::Relaxed);
        failed_at > 0
            && self.clock.since_start(now).saturating_sub(Duration::from_millis(failed_at)) < SHUNNED
    }

    /// The one try that an open breaker allows when its time is over.
    pub(super) fn try_again(&self, now: Instant) -> Option<Trial<'_>> {
        self.standing.try_again(now, self.limits.load().breaker)
    }

    /// Whether the next request may reach the server.
    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        self.standing.state(now).may_be_asked()
    }

    /// For how long the server gets no request, as far as that is known.
    pub(super) fn out_for(&self, now: Instant) -> Duration {
        self.standing.out_for(now).unwrap_or_else(|| self.checks.interval())
    }

    /// Says in the log what has changed in the server's standing.
    pub(super) fn tell(&self, change: Option<Change>) {
        let (upstream, server) = (&*self.upstream, &self.server);
        match change {
            None => {}
            Some(Change::Opened) => {
                tracing::warn!(upstream, %server, "the server fails again and again; it gets no requests for a while");
            }
            Some(Change::Closed) => tracing::info!(upstream, %server, "the server answers again"),
            Some(Change::TurnedUnhealthy) => {
                tracing::warn!(upstream, %server, "health checks fail; the server gets no requests");
            }
            Some(Change::TurnedHealthy) => tracing::info!(upstream, %server, "health checks pass again"),
        }
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
        let outcome = loop {
            match self.try_once(&limits, sending).await {
                Err(Tried::Closed) => {}
                Err(Tried::Failed(error)) => break Err(error),
                Ok(response) => break Ok(response),
            }
        };
        let verdict = match &outcome {
            Ok(response) => Some(!is_gateway_failure(response.status())),
            // Of a kept connection that was closed in the moment of use nobody is to blame.
            Err(error) => {
                self.failures.inc();
                (error.blames_the_server() && !sending.crossed_a_close).then_some(false)
            }
        };
        if let Some(has_succeeded) = verdict {
            self.tell(self.standing.judge(has_succeeded, trial, sending.now, limits.breaker));
        }
        outcome
    }

    async fn try_once(
        self: &Arc<Self>,
        limits: &Limits,
        sending: &mut Sending<'_>,
    ) -> Result<Response<ResponseBody>, Tried> {
        let mut lease = match self.take_idle(limits, sending.now) {
            Some(lease) => lease,
            // Fails with the request still unsent: this is the one failure after which any request may be sent elsewhere.
            None => {
                let lease = Box::pin(self.wait_for_one(limits)).await.map_err(Tried::Failed)?;
                sending.now = self.clock.now();
                lease
            }
        };
        let is_kept = lease.connection().is_used;
        let began = sending.now;
        let patience = sending.commitment.is_none().then_some(limits.patience);
        match lease.connection().exchange(sending, patience).await {
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
        while let Some(mut connection) = state.idle.pop() {
            if self.may_be_kept(&mut connection, limits, now) && limits.is_fresh(&connection, now) {
                return Some(self.lease(connection));
            }
            state.open -= 1;
            self.recycled.inc();
        }
        None
    }

    /// A new connection, or the next that is given back. Who waits counts as busy: a server that cannot be reached must
    /// not look like the idlest of all.
    async fn wait_for_one(self: &Arc<Self>, limits: &Limits) -> Result<Lease, Error> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.lock();
            // Looked for and lined up under one lock: what comes back in between finds the one who waits.
            if let Some(lease) = self.pop_idle(&mut state, limits, self.clock.now()) {
                return Ok(lease);
            }
            state.forget_who_left();
            if state.waiting.len() >= MAX_WAITING {
                return Err(Error::AcquireTimeout);
            }
            state.waiting.push_back(sender);
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
        Lease::new(connection, Arc::clone(self))
    }

    /// Starts the dials that are missing: one for each that waits, within the cap.
    fn serve_waiting(self: &Arc<Self>) {
        let limits = self.limits.load();
        let mut state = self.state.lock();
        let has_room = limits.max_connections == 0 || state.open < limits.max_connections;
        if state.waiting.is_empty() || !has_room {
            return;
        }
        state.waiting.retain(|waiting| !waiting.is_closed());
        while state.dialing < state.waiting.len()
            && (limits.max_connections == 0 || state.open < limits.max_connections)
        {
            state.dialing += 1;
            state.open += 1;
            let (pool, limits) = (Arc::clone(self), Arc::clone(&limits));
            tokio::spawn(async move { pool.dial(&limits).await });
        }
    }

    async fn dial(self: Arc<Self>, limits: &Limits) {
        let began = self.clock.now();
        match self.open(limits.connect_timeout).await {
            Ok(mut connection) => {
                connection.born = scattered(connection.born, limits.max_age);
                self.created.inc();
                self.connect_time.add(self.clock.now().saturating_duration_since(began));
                self.hand_over(connection);
                // Only now: until somebody has got the connection, nobody else dials for the one who waits for it.
                self.state.lock().dialing -= 1;
            }
            Err(error) => {
                let now = self.clock.since_start(self.clock.now()).as_millis();
                self.dial_failed_at.store(u64::try_from(now).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
                let mut state = self.state.lock();
                state.dialing -= 1;
                state.open -= 1;
                while let Some(waiting) = state.waiting.pop_front() {
                    if waiting.send(Err(error)).is_ok() {
                        break;
                    }
                }
            }
        }
        self.serve_waiting();
    }

    /// A new connection.
    pub(super) async fn open(&self, limit: Duration) -> Result<Box<Connection>, Error> {
        let line = self.dialer.dial(limit).await?;
        Connection::over(line, self.clock).await
    }

    /// Gives a connection to whoever waits first, or keeps it. It travels as a lease: one who leaves in the moment of
    /// getting it drops it, and it must not count as open for ever.
    fn hand_over(self: &Arc<Self>, mut connection: Box<Connection>) {
        loop {
            let mut state = self.state.lock();
            let Some(waiting) = state.waiting.pop_front() else {
                connection.idle_since = self.clock.now();
                return state.idle.push(connection);
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
        self.recycled.add(closed as u64);
        drop(state);
        self.serve_waiting();
    }
}

/// A birth that ends a life of `max_age` up to a tenth earlier or later.
fn scattered(born: Instant, max_age: Duration) -> Instant {
    let tenth = max_age / 10;
    let later = born + jittered(max_age).saturating_sub(max_age - tenth);
    later.checked_sub(tenth).unwrap_or(born)
}

/// Whether a status says that the server itself is out of order, or what stands behind it.
fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

impl Limits {
    fn is_fresh(&self, connection: &Connection, now: Instant) -> bool {
        let idle = now.saturating_duration_since(connection.idle_since);
        idle < connection.keep_alive.map_or(self.idle_timeout, |said| said.min(self.idle_timeout))
    }

    fn is_young(&self, connection: &Connection, now: Instant) -> bool {
        now.saturating_duration_since(connection.born) < self.max_age
    }
}

impl From<&Spec> for Limits {
    fn from(spec: &Spec) -> Self {
        Self {
            max_connections: spec.max_connections,
            acquire_timeout: spec.acquire_timeout,
            connect_timeout: spec.connect_timeout,
            idle_timeout: spec.idle_timeout,
            max_age: spec.max_age,
            patience: Patience::from(spec),
            breaker: spec.breaker,
        }
    }
}

#[cfg(test)]
mod tests;
