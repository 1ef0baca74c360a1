//! The upstream: the servers behind forebay, a connection pool for each, and one exchange at a time on a connection.
//!
//! Promises: never more connections to a server than `max_connections`; a request that was sent is sent once, but for
//! an idempotent one without a body that got no byte back from a connection which had been kept open; a connection is
//! used again only when its response was read to the end.

mod addresses;
mod balance;
mod body;
mod channel;
mod cluster;
mod connect;
mod connection;
mod dial;
mod error;
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
#[cfg(test)]
mod testing;
mod tls;
mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

pub use body::{BodyError, ResponseBody};
pub use cluster::{Cluster, Figures};
pub use connect::{Address, Connector, Io, Name, Network, Resolver};
pub use error::Error;
pub use forward::{Forwarding, REQUEST_ID, prepare_request};
pub use pool::ServerStats;
pub use server::{Scheme, Server};
pub use standing::{BreakerRules, CheckRules, ServerState};
pub use tend::HealthSpec;
pub use tls::{TlsFiles, TlsSpec};

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
