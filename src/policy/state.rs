//! What survives a reload: limiters, pools, connections, stored responses and figures, each under its name in the
//! configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{JobTable, Sharing};
use crate::admission::Pool;
use crate::cache::{Cache, Limits};
use crate::clock::Clock;
use crate::collapse::Flights;
use crate::dedupe::Starts;
use crate::digest::Digester;
use crate::jobs::Bells;
use crate::logging::AccessLog;
use crate::metrics::{Counter, Gauge, RouteMetrics};
use crate::rate_limit::Buckets;
use crate::refusal::Refusal;
use crate::server::Connections;
use crate::upstream::{Cluster, Network};

/// Everything that outlives a policy.
#[derive(Debug)]
pub struct State {
    /// The one source of time.
    pub clock: Clock,
    /// The key of this process's digests.
    pub digester: Digester,
    /// The way to upstreams.
    pub network: Network,
    /// Figures of the routes.
    pub routes: Registry<RouteMetrics>,
    /// Figures of requests that no route matched.
    pub unrouted: Arc<RouteMetrics>,
    /// Counters of the rate limits.
    pub buckets: Registry<Buckets>,
    /// Starts under way, by route.
    pub starts: Registry<Starts<Refusal>>,
    /// In-flight pools.
    pub pools: Registry<Pool>,
    /// Jobs at work, each with what it holds.
    pub jobs: Registry<JobTable>,
    /// What wakes those who look after them.
    pub bells: Arc<Bells>,
    /// Upstreams with their connections.
    pub upstreams: Registry<Cluster>,
    /// Stored responses.
    pub cache: Arc<Cache>,
    /// Fetches under way.
    pub flights: Flights<Sharing>,
    /// Connections of clients.
    pub listener: ListenerFigures,
    /// Work that outlives the request that began it.
    pub afterlife: Afterlife,
    /// How reloads went.
    pub reloads: ReloadFigures,
    /// Where requests are logged.
    pub access_log: ArcSwap<AccessLog>,
    /// Whether the process is on its way out.
    pub is_draining: AtomicBool,
}

/// Connections of clients.
#[derive(Debug, Default)]
pub struct ListenerFigures {
    /// Those that are open.
    pub connections: Arc<Connections>,
    /// Requests whose processing failed in forebay itself.
    pub panics: Counter,
}

/// Work that outlives the request that began it: upgraded connections, writes whose clients have left, starts that several
/// wait for.
#[derive(Debug, Clone, Default)]
pub struct Afterlife {
    /// The tasks; a drain waits for them.
    pub tasks: TaskTracker,
    /// Cancelled when they must end.
    pub end: CancellationToken,
}

/// How reloads went.
#[derive(Debug, Default)]
pub struct ReloadFigures {
    /// Those that took effect.
    pub succeeded: Counter,
    /// Those that changed nothing.
    pub failed: Counter,
    /// 1 when the last one took effect, or there was none yet.
    pub last_was_successful: Gauge,
}

impl State {
    /// The state of a process that has just begun.
    pub fn new(network: Network, clock: Clock) -> Self {
        let digester = Digester::random();
        let reloads = ReloadFigures::default();
        reloads.last_was_successful.set(1);
        Self {
            clock,
            digester,
            network,
            routes: Registry::default(),
            unrouted: Arc::default(),
            buckets: Registry::default(),
            starts: Registry::default(),
            pools: Registry::default(),
            jobs: Registry::default(),
            bells: Arc::default(),
            upstreams: Registry::default(),
            cache: Arc::new(Cache::new(clock, Limits { max_bytes: 256 << 20, max_object: 8 << 20 })),
            flights: Flights::new(u64::MAX, clock),
            listener: ListenerFigures::default(),
            afterlife: Afterlife::default(),
            reloads,
            access_log: ArcSwap::default(),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Whether the process is on its way out.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Starts what is due at the upstreams; when it is to be called again.
    pub fn tend_upstreams(&self) -> Option<Instant> {
        self.upstreams.list().iter().filter_map(|(_, upstream)| upstream.tend()).min()
    }

    /// Regular upkeep; to be called every second.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.upstreams.list().iter().for_each(|(_, upstream)| upstream.sweep());
        self.buckets.list().iter().for_each(|(_, buckets)| buckets.sweep(now));
        self.cache.tidy();
    }
}

/// Things by their names in the configuration.
#[derive(Debug)]
pub struct Registry<T>(RwLock<BTreeMap<Arc<str>, Arc<T>>>);

impl<T> Registry<T> {
    /// The thing of that name, made where there is none.
    pub fn keep(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(kept) = self.0.read().get(name) {
            return Arc::clone(kept);
        }
        Arc::clone(self.0.write().entry(name.into()).or_insert_with(|| Arc::new(make())))
    }

    /// The thing of that name.
    pub fn find(&self, name: &str) -> Option<Arc<T>> {
        self.0.read().get(name).cloned()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<(Arc<str>, Arc<T>)> {
        self.0.read().iter().map(|(name, thing)| (Arc::clone(name), Arc::clone(thing))).collect()
    }

    /// Gives a thing another name.
    pub fn rename(&self, old: &str, new: &str) {
        let mut things = self.0.write();
        if let Some(thing) = things.remove(old) {
            things.insert(new.into(), thing);
        }
    }

    /// Forgets those whose names are no longer in use.
    pub fn retain(&self, is_used: impl Fn(&str) -> bool) {
        self.0.write().retain(|name, _| is_used(name));
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}
