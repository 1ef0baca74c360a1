//! The admin listener: what an operator, a Prometheus and an orchestrator ask.
//!
//! It lives on a thread and a runtime of its own, so that a scrape cannot slow the proxy, and it is small and bounded
//! on every side: 256 connections, 64 KiB of request, 30 seconds an answer. Who may ask what is decided by [`Guard`]
//! and, for other sites' pages, by tower-http's cross-site check.

mod cache;
mod config;
mod endpoints;
mod guard;
mod health;
mod limits;
mod listener;
mod metrics;
mod performance;
mod pool;
mod process;
mod reload;
mod reply;
mod rim;
mod snapshot;
#[cfg(test)]
mod tests;

pub use cache::Purge;
pub use guard::{Guard, Keys};
pub use limits::words;
pub use listener::spawn;
pub use reload::Reloaded;
pub use snapshot::{
    CacheFigures, LimitFigures, ListenerFigures, PoolFigures, QueueFigures, ReloadFigures, RouteFigures,
    ServerFigures, Snapshot, UpstreamFigures,
};

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::metrics::Gauge;

/// The version that answers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Everything the endpoints need.
#[derive(Debug)]
pub struct Admin {
    sources: Sources,
    guard: ArcSwap<Guard>,
    draining: CancellationToken,
    connections: Gauge,
}

impl Admin {
    /// `draining` is cancelled when the proxy stops taking new work.
    pub fn new(sources: Sources, guard: Guard, draining: CancellationToken) -> Arc<Self> {
        let guard = ArcSwap::from_pointee(guard);
        Arc::new(Self { sources, guard, draining, connections: Gauge::default() })
    }

    /// Puts another guard in place; a reload may change the token and the hosts.
    pub fn set_guard(&self, guard: Guard) {
        self.guard.store(Arc::new(guard));
    }
}

/// How stored responses are removed.
pub type Purging = Box<dyn Fn(&Purge) -> Result<u64, String> + Send + Sync>;
/// How the configuration is read again.
pub type Reloading = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ReloadResult> + Send>> + Send + Sync>;
/// What came of it.
pub type ReloadResult = Result<Reloaded, String>;

/// What the admin listener asks of the rest of the process.
pub struct Sources {
    /// The figures of this moment.
    pub snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
    /// The effective configuration as TOML, secrets redacted.
    pub config: Box<dyn Fn() -> String + Send + Sync>,
    /// Removes stored responses; how many, or why the request makes no sense.
    pub purge: Purging,
    /// Reads the configuration again; or everything that is wrong with it, as `forebay check` says it.
    pub reload: Reloading,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}
