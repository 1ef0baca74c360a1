//! The admin listener: what an operator, a Prometheus and an orchestrator ask.
//!
//! It lives on a thread and a runtime of its own, so that a scrape cannot slow the proxy, and it is small and bounded
//! on every side: 256 connections, 64 KiB of request, 30 seconds an answer. Who may ask what is decided by `Guard`
//! and, for other sites' pages, by tower-http's cross-site check.

mod cache;
mod config;
mod endpoints;
mod guard;
mod health;
mod jobs;
mod limits;
mod listener;
mod metrics;
mod performance;
mod pool;
mod process;
mod purge;
mod reload;
mod reply;
mod rim;
mod snapshot;
#[cfg(test)]
mod tests;
mod warm;

pub use listener::spawn;
pub use purge::Purge;
pub use reload::Reloaded;
pub use snapshot::{
    CacheFigures, JobFigures, LimitFigures, PoolFigures, QueueFigures, ReloadFigures, RouteFigures,
    ServerFigures, Snapshot, UpstreamFigures,
};
pub use warm::WarmedUrl;

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::task::AbortOnDropHandle;

use guard::Guard;

use crate::digest::Digester;
use crate::jobs::JobStats;
use crate::metrics::Gauge;
use crate::policy::{AdminPolicy, JobTable, Policy, State};
use crate::proxy::Proxy;

/// The version that answers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything the endpoints need.
#[derive(Debug)]
pub struct Admin {
    sources: Sources,
    guard: ArcSwap<Guard>,
    connections: Gauge,
}

impl Admin {
    /// `address` is what the listener is bound to.
    pub fn new(sources: Sources, rules: &AdminPolicy, address: SocketAddr, digester: Digester) -> Arc<Self> {
        let guard = ArcSwap::from_pointee(Guard::new(rules, address, digester));
        Arc::new(Self { sources, guard, connections: Gauge::default() })
    }

    /// Puts other rules in force; a reload may change the token and the hosts.
    pub fn secure(&self, rules: &AdminPolicy) {
        self.guard.store(Arc::new(self.guard.load().with(rules)));
    }
}

/// How stored responses are removed.
pub type Purging = Box<dyn Fn(&Purge) -> Result<u64, String> + Send + Sync>;
/// How URLs are fetched into the store.
pub type Warming =
    Box<dyn Fn(Vec<String>) -> Pin<Box<dyn Future<Output = Vec<WarmedUrl>> + Send>> + Send + Sync>;
/// How the configuration is read again.
pub type Reloading = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ReloadResult> + Send>> + Send + Sync>;
/// What came of it.
pub type ReloadResult = Result<Reloaded, String>;

/// How jobs are let go.
pub type Releasing = Box<dyn Fn(&str, Option<&str>) -> usize + Send + Sync>;

/// The jobs at work.
pub struct Jobs {
    /// All of them, each with its kind.
    pub list: Box<dyn Fn() -> Vec<(Arc<str>, JobStats)> + Send + Sync>,
    /// Lets those of an id go, of every kind or of one; how many.
    pub release: Releasing,
}

/// What the admin listener asks of the rest of the process.
pub struct Sources {
    /// The figures of this moment.
    pub snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
    /// The effective configuration as TOML, secrets redacted.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// Removes stored responses; how many, or why the request makes no sense.
    pub purge: Purging,
    /// Has URLs stored.
    pub warm: Warming,
    /// The jobs at work.
    pub jobs: Jobs,
    /// Reads the configuration again; or everything that is wrong with it, as `forebay check` says it.
    pub reload: Reloading,
}

impl Sources {
    /// The sources of a running proxy. `log_lines_dropped` counts those of the program's log and the access log.
    pub fn of(
        state: &Arc<State>,
        policy: &Arc<ArcSwap<Policy>>,
        log_lines_dropped: impl Fn() -> u64 + Send + Sync + 'static,
        reload: Reloading,
    ) -> Self {
        let all = || (Arc::clone(state), Arc::clone(policy));
        let ((walked, shaped), (_, shown), (purged, ruled)) = (all(), all(), all());
        Self {
            snapshot: Box::new(move || Snapshot::take(&walked, &shaped.load(), log_lines_dropped())),
            config: Box::new(move || shown.load().effective.clone()),
            purge: Box::new(move |what| {
                let cleared = what.apply(&purged.cache, &ruled.load())?;
                // Gone is gone at once; the memory is given back meanwhile.
                let cache = Arc::clone(&purged.cache);
                tokio::task::spawn_blocking(move || cache.sweep());
                Ok(cleared)
            }),
            warm: warming(state, policy),
            jobs: Jobs::of(state),
            reload,
        }
    }
}

/// Warms on the runtime that serves clients: connections to the upstreams belong to it. To be called there.
fn warming(state: &Arc<State>, policy: &Arc<ArcSwap<Policy>>) -> Warming {
    let proxy = Arc::new(Proxy { state: Arc::clone(state), policy: Arc::clone(policy) });
    let runtime = tokio::runtime::Handle::current();
    Box::new(move |urls| {
        let task = runtime.spawn(warm::fetch(Arc::clone(&proxy), urls));
        // Whoever does not wait for the answer does not want the rest either.
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move { task.await.unwrap_or_default() })
    })
}

impl Jobs {
    fn of(state: &Arc<State>) -> Self {
        let (listed, released) = (Arc::clone(state), Arc::clone(state));
        Self {
            list: Box::new(move || {
                let tables = listed.jobs.list().into_iter();
                let of_kind = |(kind, table): (Arc<str>, Arc<JobTable>)| {
                    table.list().into_iter().map(move |stats| (Arc::clone(&kind), stats))
                };
                tables.flat_map(of_kind).collect()
            }),
            release: Box::new(move |id, kind| {
                let tables = released.jobs.list().into_iter();
                let meant = tables.filter(|(name, _)| kind.is_none_or(|kind| **name == *kind));
                meant.filter(|(_, table)| table.release(id)).count()
            }),
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
