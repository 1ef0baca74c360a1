//! The process: what is bound, what runs, and in which order it begins and ends.
//!
//! Promises: nothing is served before the whole configuration is valid and every address is bound; a reload that fails
//! changes nothing; the end waits for what is in flight, up to `drain_timeout`.

mod busy;
mod descriptors;
mod listening;
mod reload;
mod shutdown;
mod systemd;
mod watching;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::listening::Listening;
pub use self::reload::Reader;
use self::reload::Reloader;
pub use self::shutdown::Ended;
use self::shutdown::Signals;
use crate::admin::{self, Admin, Sources};
use crate::clock::Clock;
use crate::config::{Config, Loaded, Problems};
use crate::logging::{Access, AccessLog, Format, Log};
use crate::policy::compile::{attach, plan_to_serve};
use crate::policy::{Policy, State};
use crate::proxy::{Proxy, keep_jobs, restore_jobs};
use crate::server::Server;
use crate::upstream::Network;

/// How often connections, counters and stored responses are looked after.
const SWEEP: Duration = Duration::from_secs(1);
const CACHE_SWEEP: Duration = Duration::from_secs(5);

/// A proxy that is bound and ready to serve.
#[derive(Debug)]
pub struct App {
    state: Arc<State>,
    policy: Arc<ArcSwap<Policy>>,
    listeners: Vec<Listening>,
    admin: std::net::TcpListener,
    admin_address: SocketAddr,
    config: Config,
    log: Arc<Log>,
}

/// Why there is no app.
#[derive(Debug)]
pub enum NotBuilt {
    /// The configuration has problems.
    Config(Problems),
    /// An address cannot be bound, or a file cannot be opened.
    Environment(anyhow::Error),
}

impl App {
    /// Compiles a configuration and binds its addresses; to be called on the runtime that serves.
    ///
    /// # Errors
    /// See [`NotBuilt`]; nothing is bound then.
    pub fn build(loaded: &Loaded, log: Log) -> Result<Self, NotBuilt> {
        let state = Arc::new(State::new(Network::of_the_system(), Clock::start()));
        let policy = attach(plan_to_serve(loaded).map_err(NotBuilt::Config)?, &state);
        let config = loaded.config.clone();
        let bound = Self::bind(&config, &state).map_err(NotBuilt::Environment)?;
        let (listeners, admin, admin_address) = bound;
        restore_jobs(&policy);
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        Ok(Self { state, policy, listeners, admin, admin_address, config, log: Arc::new(log) })
    }

    fn bind(
        config: &Config,
        state: &State,
    ) -> anyhow::Result<(Vec<Listening>, std::net::TcpListener, SocketAddr)> {
        descriptors::provide(config);
        let listeners = Listening::all(&config.listener)?;
        let address = *config.admin.address.get_ref();
        let admin = listening::bind_admin(address)?;
        let admin_address = admin.local_addr().unwrap_or(address);
        state.access_log.store(Arc::new(open_access_log(config)?));
        Ok((listeners, admin, admin_address))
    }

    /// The addresses of the public listener.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(|listening| listening.url().to_owned()).collect()
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until a signal or `stop`. `reader` reads the configuration again for a reload.
    ///
    /// # Errors
    /// When the admin listener's thread cannot be started.
    pub async fn run(self, reader: Reader, stop: CancellationToken) -> anyhow::Result<Ended> {
        let Self { state, policy, listeners, admin, admin_address, config, log } = self;
        // Before anybody is told that it listens: who knows that may also know how to end it.
        let signals = Signals::new();
        let proxy = Arc::new(Proxy { state: Arc::clone(&state), policy: Arc::clone(&policy) });
        let server = Arc::new(Server::new(proxy, Arc::clone(&state.listener.connections)));
        let reloader = Reloader::new(
            reader,
            config,
            Arc::clone(&state),
            Arc::clone(&policy),
            Arc::clone(&server),
            Arc::clone(&log),
        );
        let dropped = {
            let (log, state) = (Arc::clone(&log), Arc::clone(&state));
            move || log.lines().dropped() + state.access_log.load().dropped()
        };
        let sources = Sources::of(&state, &policy, dropped, reloader.for_admin());
        let admin_state = Admin::new(sources, &policy.load().admin, admin_address, state.digester);
        reloader.secure(&admin_state);
        let admin_end = CancellationToken::new();
        let admin_thread =
            admin::spawn(admin, admin_state, admin_end.clone()).context("cannot start the admin listener")?;
        let mut tasks = JoinSet::new();
        let mut accepting = JoinSet::new();
        for listening in listeners {
            tracing::info!(address = listening.url(), "listening");
            let server = Arc::clone(&server);
            accepting.spawn(async move { listening.accept(&server).await });
        }
        tracing::info!(address = %format_args!("http://{admin_address}"), "admin listening");
        tasks.spawn({
            let server = Arc::clone(&server);
            async move { server.reap().await }
        });
        tasks.spawn(systemd::watchdog());
        tasks.spawn(sweep(Arc::clone(&state)));
        tasks.spawn(tend_upstreams(Arc::clone(&state)));
        tasks.spawn(sweep_cache(Arc::clone(&state)));
        tasks.spawn(keep_jobs(Arc::clone(&state), Arc::clone(&policy)));
        tasks.spawn(Arc::clone(&reloader).watch());
        reloader.warn_of_certificates();
        systemd::ready();
        let ended =
            shutdown::serve_until_the_end(&state, &policy, &reloader, accepting, (signals, stop)).await;
        tasks.shutdown().await;
        for (_, table) in state.jobs.list() {
            table.save().await;
        }
        admin_end.cancel();
        let _ = tokio::task::spawn_blocking(move || admin_thread.join()).await;
        state.access_log.load().flush();
        Ok(ended)
    }
}

async fn sweep(state: Arc<State>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        state.sweep();
    }
}

/// Health checks, when they are due. A reload may bring others: they begin within a second.
async fn tend_upstreams(state: Arc<State>) {
    loop {
        let latest = state.clock.now() + SWEEP;
        let next = state.tend_upstreams().map_or(latest, |next| next.min(latest));
        tokio::time::sleep_until(next).await;
    }
}

/// Gives back the memory of what writes and purges have dropped. That walks the whole store: with pauses, and where
/// nobody waits for it.
async fn sweep_cache(state: Arc<State>) {
    loop {
        tokio::time::sleep(CACHE_SWEEP).await;
        if state.cache.needs_sweep() {
            let state = Arc::clone(&state);
            let _ = tokio::task::spawn_blocking(move || state.cache.sweep()).await;
        }
    }
}

fn open_access_log(config: &Config) -> anyhow::Result<AccessLog> {
    let access = config.log.access.get_ref().as_str();
    AccessLog::open(&Access::from(access), log_format(config))
        .with_context(|| format!("cannot open the access log {access}"))
}

/// The form of both logs.
pub fn log_format(config: &Config) -> Format {
    use crate::config::log::Format as Configured;
    match config.log.format {
        Configured::Auto => Format::Auto,
        Configured::Json => Format::Json,
        Configured::Text => Format::Text,
    }
}
