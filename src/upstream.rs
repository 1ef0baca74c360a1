//! The upstream: the servers behind forebay, a connection pool for each, and one exchange at a time on a connection.
//!
//! Promises: never more connections to a server than `max_connections`; a request that was sent is sent once, but for
//! an idempotent one without a body that got no byte back from a connection which had been kept open; a connection is
//! used again only when its response was read to the end.

mod addresses;
mod balance;
mod body;
mod channel;
mod connect;
mod connection;
mod dial;
mod forward;
mod metered;
mod multiplexed;
mod pool;
mod relay;
mod retry;
mod sending;
mod server;
mod standing;
mod tend;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use body::{BodyError, ResponseBody};
pub use connect::{Address, Connector, Io, Name, Network, Resolver};
pub use forward::{Forwarding, REQUEST_ID, prepare_request, prepare_response};
pub use pool::ServerStats;
pub use server::{Scheme, Server};
pub use standing::{BreakerRules, CheckRules, ServerState};
pub use tend::HealthSpec;
pub use tls::{TlsFiles, TlsSpec};

use self::balance::{Balancer, Chosen, no_server};
use self::pool::Pool;
use self::retry::RetryBudget;
use self::sending::Sending;
use crate::clock::Clock;
use crate::http::body::RequestBody;
use crate::metrics::{Counter, Histogram, StatusCounts};

/// How requests are spread over several servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// To the server with the fewest exchanges under way; equal ones take turns.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// The less busy of two that are drawn at random.
    Random,
}

/// Which `Host` the upstream sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Preserve,
    /// The server's own name.
    Upstream,
}

/// An upstream as configured.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name in the config.
    pub name: Arc<str>,
    /// At least one.
    pub servers: Vec<Server>,
    /// How requests are spread.
    pub balance: Balance,
    /// Connections to one server; 0: no cap.
    pub max_connections: usize,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// From the request sent to the response's head.
    pub first_byte_timeout: Duration,
    /// Between two chunks of a body, either way.
    pub body_timeout: Duration,
    /// How often the names of servers are looked up anew.
    pub dns_refresh: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// After which a connection is not used again.
    pub max_age: Duration,
    /// How often an idempotent request may be sent again.
    pub retries: u32,
    /// Retries as a share of requests.
    pub retry_budget: f64,
    /// When answers take a server out.
    pub breaker: Option<BreakerRules>,
    /// How its health is checked.
    pub health: Option<HealthSpec>,
    /// TLS, where a server speaks it.
    pub tls: Option<TlsSpec>,
    /// Which `Host` is sent.
    pub host: HostHeader,
}

/// Why an upstream gave no usable response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Every server is out; nothing was sent.
    #[error("no server of the upstream is in order")]
    NoServer {
        /// When one of them may be tried.
        retry_after: Duration,
    },
    /// No connection was free in time.
    #[error("no connection to the upstream became free in time")]
    AcquireTimeout,
    /// The server refused, or could not be reached.
    #[error("the upstream refused the connection or could not be reached")]
    ConnectionRefused,
    /// The connection did not open in time.
    #[error("the connection to the upstream did not open in time")]
    ConnectTimeout,
    /// The server's certificate is not to be believed.
    #[error("the upstream's certificate was not accepted")]
    TlsCertificate,
    /// The server does not want us.
    #[error("the upstream refused the TLS handshake")]
    TlsAlert,
    /// The handshake failed otherwise.
    #[error("the TLS handshake with the upstream failed")]
    TlsProtocol,
    /// Another protocol was asked for on a connection that many share.
    #[error("the upstream speaks HTTP/2, in which there are no upgrades")]
    NoUpgrade,
    /// The name of the server did not resolve.
    #[error("the name of the upstream server could not be resolved")]
    Dns,
    /// The connection ended before a response.
    #[error("the upstream closed the connection before it answered")]
    ConnectionTerminated,
    /// The connection ended in the head of a response.
    #[error("the upstream broke off in the head of its response")]
    Incomplete,
    /// The head of the response is larger than anything we read.
    #[error("the head of the upstream's response was too large")]
    HeadTooLarge,
    /// What came back is no HTTP response.
    #[error("the upstream's response was not valid HTTP")]
    InvalidResponse,
    /// No response head in time.
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
}

impl Error {
    /// Whether it speaks against the server rather than against how much is asked of it.
    fn blames_the_server(self) -> bool {
        !matches!(self, Self::AcquireTimeout | Self::NoServer { .. } | Self::NoUpgrade)
    }
}

/// How long an upstream is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the request sent to the response's head.
    pub first_byte: Duration,
    /// Between two chunks of a body, either way.
    pub body: Duration,
}

impl Patience {
    /// What the upstream has to do next, within what time: take the chunk of the upload that is there, or answer. A
    /// client that is slow with its body is found out by the body itself, a little earlier than by this.
    pub fn after(&self, upload: Option<u32>) -> Duration {
        if upload.is_some() { self.body + Duration::from_secs(1) } else { self.first_byte }
    }
}

impl From<&Spec> for Patience {
    fn from(spec: &Spec) -> Self {
        Self { first_byte: spec.first_byte_timeout, body: spec.body_timeout }
    }
}

/// The point of no return: made when a request may have begun to reach the server.
#[derive(Debug, Clone, Default)]
pub struct Commitment(Arc<(AtomicBool, Notify)>);

impl Commitment {
    /// Whether it is made.
    pub fn is_made(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits until it is made.
    pub async fn made(&self) {
        while !self.is_made() {
            self.0.1.notified().await;
        }
    }

    /// Makes it.
    pub(crate) fn make(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_one();
    }
}

/// An upstream with its state: what a route holds.
#[derive(Debug)]
pub struct Cluster {
    clock: Clock,
    network: Network,
    live: ArcSwap<Live>,
    figures: Figures,
}

/// What a reload may replace: the settings, and a pool for each server.
#[derive(Debug)]
struct Live {
    spec: Spec,
    pools: Vec<Arc<Pool>>,
    balancer: Balancer,
    budget: RetryBudget,
}

/// Figures of an upstream over its life.
#[derive(Debug, Default)]
pub struct Figures {
    /// Attempts by the status that they ended with.
    pub statuses: StatusCounts,
    /// Attempts that ended without a status.
    pub errors: Counter,
    /// From the request handed over to the response's head.
    pub first_byte: Histogram,
    /// Requests that were sent again.
    pub retries: Counter,
}

impl Cluster {
    /// An upstream that opens its connections through `network`.
    pub fn new(spec: Spec, network: Network, clock: Clock) -> Self {
        let pools = spec
            .servers
            .iter()
            .map(|server| Arc::new(Pool::new(server.clone(), &spec, network.clone(), clock)))
            .collect();
        let live = ArcSwap::from_pointee(Live::new(spec, pools));
        Self { clock, network, live, figures: Figures::default() }
    }

    /// Takes new settings; pools of servers that stay keep their connections and figures.
    pub fn reconfigure(&self, spec: Spec) {
        let old = self.live.load();
        let pools = spec.servers.iter().map(|server| {
            let kept = old.pools.iter().find(|pool| pool.server() == server);
            kept.map_or_else(
                || Arc::new(Pool::new(server.clone(), &spec, self.network.clone(), self.clock)),
                |pool| {
                    pool.reconfigure(&spec);
                    Arc::clone(pool)
                },
            )
        });
        let pools = pools.collect();
        self.live.store(Arc::new(Live::new(spec, pools)));
    }

    /// How long it is waited for.
    pub fn patience(&self) -> Patience {
        Patience::from(&self.live.load().spec)
    }

    /// Sends a request and waits for the response's head; the connection stays with the response's body.
    ///
    /// With a `commitment` the wait for the head has no limit of its own, and the commitment is made when the request
    /// begins to be sent.
    ///
    /// # Errors
    /// See [`enum@Error`]; the request's body, where it had one, is gone then.
    pub async fn send(
        &self,
        request: Box<Request<RequestBody>>,
        commitment: Option<&Commitment>,
    ) -> Result<Response<ResponseBody>, Error> {
        let live = self.live.load_full();
        let began = self.clock.now();
        live.budget.deposit();
        let mut sending = Sending::new(request, commitment, began);
        let mut retries_left = live.spec.retries;
        let mut tried: Option<&Pool> = None;
        loop {
            let chosen = live.choose(tried, &mut sending)?;
            tried = Some(chosen.pool);
            match chosen.pool.exchange(&mut sending, chosen.trial).await {
                Ok(response) => {
                    self.figures.statuses.inc(response.status());
                    self.figures.first_byte.observe(sending.now.saturating_duration_since(began));
                    return Ok(response);
                }
                Err(error) => {
                    self.figures.errors.inc();
                    let may_retry = sending.can_be_sent_again()
                        && retries_left > 0
                        && is_worth_another_try(error, live.pools.len());
                    if !may_retry || !live.budget.withdraw(self.clock.now()) {
                        return Err(error);
                    }
                    retries_left -= 1;
                    self.figures.retries.inc();
                }
            }
        }
    }

    /// A question of our own: sent once, and in no figure of what clients have cost this upstream.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub async fn probe(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, Error> {
        let live = self.live.load_full();
        let mut sending = Sending::new(Box::new(request), None, self.clock.now());
        let chosen = live.choose(None, &mut sending)?;
        chosen.pool.exchange(&mut sending, chosen.trial).await
    }

    /// Whether there is a server to be asked at all, so that nobody waits for a permit in vain.
    ///
    /// # Errors
    /// [`Error::NoServer`].
    pub fn expect_a_server(&self, now: Instant) -> Result<(), Error> {
        let live = self.live.load();
        let may_be_asked = |pool: &Arc<Pool>| !pool.standing().is_doubted() || pool.may_be_asked(now);
        if live.pools.iter().any(may_be_asked) { Ok(()) } else { Err(no_server(&live.pools, now)) }
    }

    /// The figures of this upstream.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The state of each server's pool.
    pub fn servers(&self) -> Vec<ServerStats> {
        self.live.load().pools.iter().map(|pool| pool.stats()).collect()
    }

    /// Starts the health checks and look-ups that are due; when it is to be called again.
    pub fn tend(&self) -> Option<Instant> {
        let now = self.clock.now();
        self.live.load().pools.iter().filter_map(|pool| pool.tend(now)).min()
    }

    /// Closes connections that were idle for too long or have got too old; to be called every second.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.live.load().pools.iter().for_each(|pool| pool.sweep(now));
    }
}

impl Live {
    fn new(spec: Spec, pools: Vec<Arc<Pool>>) -> Self {
        let (balancer, budget) = (Balancer::new(spec.balance), RetryBudget::new(spec.retry_budget));
        Self { spec, pools, balancer, budget }
    }

    /// The server for a request, whose `Host` is made right for it.
    fn choose(&self, tried: Option<&Pool>, sending: &mut Sending<'_>) -> Result<Chosen<'_>, Error> {
        let may_try = sending.may_try();
        let chosen = self.balancer.choose(&self.pools, tried, sending.now, may_try)?;
        if self.spec.host == HostHeader::Upstream {
            sending.name_host(chosen.pool.server());
        }
        Ok(chosen)
    }
}

/// A server that has just refused is not asked again at once, but another one may be; who has waited for a connection
/// in vain has waited enough.
fn is_worth_another_try(error: Error, servers: usize) -> bool {
    match error {
        Error::AcquireTimeout | Error::NoServer { .. } | Error::NoUpgrade => false,
        Error::ConnectionRefused
        | Error::ConnectTimeout
        | Error::Dns
        | Error::TlsCertificate
        | Error::TlsAlert
        | Error::TlsProtocol => servers > 1,
        Error::ConnectionTerminated
        | Error::Incomplete
        | Error::HeadTooLarge
        | Error::InvalidResponse
        | Error::ResponseTimeout => true,
    }
}
