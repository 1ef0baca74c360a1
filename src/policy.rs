//! The policy: everything that the configuration says, compiled, as one immutable snapshot.
//!
//! A request takes the snapshot of its beginning and keeps it to its end; a reload puts a new one beside it. There is no
//! string left to interpret and no number left to check.

pub mod compile;
mod job;
mod sharing;
mod state;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::Instant;

pub use job::{JobPolicy, JobRole, JobTable};
pub use sharing::{Fetched, LiveHead, Private, SharedHead, Sharing};
pub use state::{Afterlife, ListenerFigures, Registry, ReloadFigures, State};

use crate::admission::{Pool, Sample, Verdict};
use crate::cache::{CachePolicy, KeyRules, TagTemplate};
use crate::client::{IdentityFields, KeySpec, TrustedProxies};
use crate::dedupe::{By, Starts};
use crate::http::target;
use crate::metrics::RouteMetrics;
use crate::rate_limit::RateLimit;
use crate::refusal::Refusal;
use crate::router::Router;
use crate::server::{Bounds, Tls};
use crate::upstream::Cluster;

/// A configuration in force.
#[derive(Debug)]
pub struct Policy {
    /// Of the public listener.
    pub listener: ListenerPolicy,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: TrustedProxies,
    /// What new connections of clients are protected by.
    pub tls: Option<Tls>,
    /// From a request to its route.
    pub router: Router<Arc<Destination>>,
    /// All routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
    /// The upstreams, by name.
    pub upstreams: Vec<(Arc<str>, Arc<Cluster>)>,
    /// The rate limits, by name.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// The in-flight pools, by name.
    pub pools: Vec<Arc<Pool>>,
    /// The kinds of jobs, by name.
    pub jobs: Vec<Arc<JobPolicy>>,
    /// Who may use the admin listener.
    pub admin: AdminPolicy,
    /// The configuration with its defaults filled in and its secrets redacted, as TOML.
    pub effective: String,
}

/// The admin listener's rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminPolicy {
    /// The bearer token; `None`: none is needed.
    pub token: Option<String>,
    /// Names by which a browser may reach it, besides its address and localhost.
    pub hosts: Vec<String>,
}

/// The public listener's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerPolicy {
    /// Bounds on each connection.
    pub bounds: Bounds,
    /// Connections that one address may have open.
    pub max_connections_per_ip: PerAddress,
    /// Of a request's body, in bytes.
    pub max_body_bytes: u64,
    /// How many bytes of it must come in a second, on average; 0: any number.
    pub min_body_rate: u64,
    /// How long a drain lets requests finish.
    pub drain_timeout: Duration,
}

/// How many connections one address may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerAddress {
    /// Any number.
    Unbounded,
    /// So many; of this machine's own addresses, which proxies beside us use, any number.
    FromAfar(usize),
    /// So many.
    Bounded(usize),
}

impl PerAddress {
    /// The bound of an address, where there is one.
    pub fn of(self, address: IpAddr) -> Option<usize> {
        match self {
            Self::Unbounded => None,
            Self::FromAfar(most) => (!address.is_loopback()).then_some(most),
            Self::Bounded(most) => Some(most),
        }
    }
}

/// What happens to the requests of one route.
#[derive(Debug)]
pub struct Route {
    /// Its name in the config; a label in metrics.
    pub name: Arc<str>,
    /// Where its requests go.
    pub upstream: Arc<Cluster>,
    /// The upstream's name.
    pub upstream_name: Arc<str>,
    /// What tells one client's requests from another's.
    pub identity: IdentityFields,
    /// Limits that count every request.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// Limits that count what goes upstream.
    pub upstream_rate_limits: Vec<Arc<RateLimit>>,
    /// The in-flight pool, with what its `per` cap counts by.
    pub in_flight: Option<InFlight>,
    /// 0 (last) to 9 (first) in the queue.
    pub priority: u8,
    /// What it has to do with jobs.
    pub job: Option<JobRole>,
    /// How responses are stored.
    pub cache: CachePolicy,
    /// Whether responses get a content coding, after the cache.
    pub compress: bool,
    /// Who shares a fetch.
    pub collapse: Collapse,
    /// How starts that are the same are made once.
    pub dedupe: Option<Dedupe>,
    /// Tags dropped after a write.
    pub invalidates: Vec<TagTemplate>,
    /// For the whole exchange.
    pub timeout: Option<Duration>,
    /// For an upgraded connection on which nothing moves.
    pub idle_timeout: Option<Duration>,
    /// Expected duration.
    pub target: Option<Duration>,
    /// Whether `Server-Timing` is told.
    pub server_timing: bool,
    /// What is counted.
    pub figures: Arc<RouteMetrics>,
}

/// A route's place in a pool.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What the cap per key counts by, where there is one.
    pub per: Option<KeySpec>,
    /// Whether the pool finds its cap by how the upstream fares.
    pub is_adaptive: bool,
}

/// Which starts are the same.
#[derive(Debug, Clone)]
pub struct Dedupe {
    /// By what.
    pub by: By,
    /// For how long an answer is kept.
    pub window: Duration,
    /// Count, share nothing.
    pub observe: bool,
    /// Those that are under way or kept.
    pub starts: Arc<Starts<Refusal>>,
}

/// Who shares one upstream request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collapse {
    /// Those with the same credentials.
    Identity,
    /// Everybody.
    Shared,
    /// Nobody.
    Off,
}

/// Where a pattern leads.
#[derive(Debug)]
pub struct Destination {
    /// The route.
    pub route: Arc<Route>,
    /// What the pattern's captures are called, in their order.
    pub captures: Box<[Box<str>]>,
}

impl Policy {
    /// The `host/path?query` under which a GET of this URL is stored: by the rules of the route that answers it, whatever
    /// route names the URL. An empty host is every host.
    pub fn stored_url(&self, host: &str, path: &str, query: Option<&str>) -> String {
        match self.router.find(&Method::GET, host, path) {
            Some(found) => found.route.route.cache.key.url(host, path, query),
            None => KeyRules::default().url(host, path, query),
        }
    }
}

impl Route {
    /// Tells the pool how the upstream took a request, where it finds its cap by that.
    pub fn report(&self, began: Instant, now: Instant, status: Option<StatusCode>) {
        let Some(InFlight { pool, is_adaptive: true, .. }) = &self.in_flight else { return };
        let verdict = match status.map(|status| status.as_u16()) {
            None | Some(429 | 502..=504) => Verdict::Failed,
            Some(_) => Verdict::Answered(now.saturating_duration_since(began)),
        };
        pool.learn(Sample { began, verdict, target: self.target });
    }

    /// Whether forebay reads bodies on their way: they must come without a content coding then.
    pub fn taps_body(&self) -> bool {
        self.cache.when.is_some() || self.job.is_some()
    }

    /// Whether its answers tell how jobs are.
    pub fn tells_of_jobs(&self) -> bool {
        matches!(self.job, Some(JobRole::Status(_)))
    }

    /// The `host/path?query` under which a response is stored and purged.
    pub fn url(&self, parts: &Parts) -> String {
        self.cache.key.url(target::host(&parts.headers), parts.uri.path(), parts.uri.query())
    }
}
