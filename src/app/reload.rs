//! Reloads: read, check everything, and only then put the new policy beside the old one.
//!
//! Limiter counts, permits, stored responses, open connections and figures live in the state and are found again by
//! their names. A configuration with any problem changes nothing.

use std::fs;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{open_access_log, systemd};
use crate::admin::{Admin, Reloaded, Reloading};
use crate::config::{self, Config, Loaded, Problems};
use crate::logging::Log;
use crate::policy::compile::{attach, plan_to_serve};
use crate::policy::{Policy, State};
use crate::proxy::{Proxy, restore_jobs};
use crate::server::Server;

/// Reads the configuration, flags and environment applied.
pub type Reader = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// Puts new configurations in force, one at a time.
pub(super) struct Reloader {
    reader: Reader,
    /// What the process began with: whatever is bound or built once is by this.
    bound: Config,
    /// What was read last.
    current: Mutex<Config>,
    state: Arc<State>,
    policy: Arc<ArcSwap<Policy>>,
    server: Arc<Server<Proxy>>,
    log: Arc<Log>,
    admin: OnceLock<Arc<Admin>>,
}

impl Reloader {
    pub(super) fn new(
        reader: Reader,
        bound: Config,
        state: Arc<State>,
        policy: Arc<ArcSwap<Policy>>,
        server: Arc<Server<Proxy>>,
        log: Arc<Log>,
    ) -> Arc<Self> {
        let current = Mutex::new(bound.clone());
        Arc::new(Self { reader, bound, current, state, policy, server, log, admin: OnceLock::new() })
    }

    /// The admin listener whose rules a reload may change.
    pub(super) fn secure(&self, admin: &Arc<Admin>) {
        let _ = self.admin.set(Arc::clone(admin));
    }

    /// What `POST /api/reload` calls. What a reload begins runs where clients are served, and not on the admin
    /// listener's runtime. To be called there.
    pub(super) fn for_admin(self: &Arc<Self>) -> Reloading {
        let reloader = Arc::clone(self);
        let runtime = Handle::current();
        Box::new(move || {
            let reloading = Arc::clone(&reloader).reload_on(&runtime);
            Box::pin(
                async move { reloading.await.unwrap_or_else(|_| Err("the reload broke off".to_owned())) },
            )
        })
    }

    /// Reloads where files may be waited for.
    pub(super) fn reload_on(self: Arc<Self>, runtime: &Handle) -> JoinHandle<Result<Reloaded, String>> {
        runtime.spawn_blocking(move || self.reload())
    }

    /// Reloads, and says in the log and to the service manager what came of it.
    fn reload(&self) -> Result<Reloaded, String> {
        let mut current = self.current.lock();
        systemd::reloading();
        let outcome = self.replace(&mut current);
        systemd::ready();
        let figures = &self.state.reloads;
        match &outcome {
            Ok(Reloaded { has_changed, needs_restart }) => {
                figures.succeeded.inc();
                figures.last_was_successful.set(1);
                tracing::info!(
                    changed = has_changed,
                    needs_restart = needs_restart.join(", "),
                    "configuration reloaded"
                );
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    tracing::warn!(
                        keys,
                        "these keys have changed and take effect at a restart: restart forebay"
                    );
                }
                self.warn_of_certificates();
            }
            Err(problems) => {
                figures.failed.inc();
                figures.last_was_successful.set(0);
                tracing::error!(problems, "the new configuration is not valid; the old one stays in force");
            }
        }
        outcome
    }

    fn replace(&self, current: &mut Config) -> Result<Reloaded, String> {
        let loaded = (self.reader)().map_err(|problems| problems.to_string())?;
        let plan = plan_to_serve(&loaded).map_err(|problems| problems.to_string())?;
        let config = &loaded.config;
        let has_changed = config::effective(current) != config::effective(config);
        let (in_force, needs_restart) = in_force(&self.bound, config);
        if current.log.access != config.log.access || current.log.format != config.log.format {
            let access_log = open_access_log(config).map_err(|error| format!("{error:#}"))?;
            self.state.access_log.store(Arc::new(access_log));
        }
        self.log.set_level(&config.log.level).map_err(|error| error.to_string())?;
        let mut policy = attach(plan, &self.state);
        policy.effective = shown(&in_force, &needs_restart);
        restore_jobs(&policy);
        // There may be other tables to look after.
        self.state.bells.ring();
        let before = self.policy.load_full();
        self.server.resize(before.listener.bounds.max_connections, policy.listener.bounds.max_connections);
        if let Some(admin) = self.admin.get() {
            admin.secure(&policy.admin);
        }
        self.policy.store(Arc::new(policy));
        *current = loaded.config;
        Ok(Reloaded { has_changed, needs_restart })
    }

    /// Says in the log which certificates come to their end.
    pub(super) fn warn_of_certificates(&self) {
        let now = self.state.clock.wall(self.state.clock.now());
        let warnings = self.policy.load().tls.as_ref().map(|tls| tls.warnings(now)).unwrap_or_default();
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }

    /// Whether the file is watched.
    pub(super) fn is_watching(&self) -> bool {
        self.current.lock().watch
    }

    /// Opens the log files anew, after they were rotated.
    pub(super) fn reopen_logs(&self) {
        self.state.access_log.load().reopen();
    }

    /// A digest of the configuration and its certificates as they are now on disk, or of why they cannot be read, to see
    /// whether anything has changed.
    pub(super) fn fingerprint(&self) -> u128 {
        let mut texts = Vec::new();
        match (self.reader)() {
            Ok(loaded) => {
                texts.push(loaded.source.text().as_bytes().to_vec());
                let tls = loaded.config.listener.tls.iter();
                let files = tls.flat_map(|tls| tls.get_ref().files());
                texts.extend(files.map(|path| fs::read(path).unwrap_or_default()));
            }
            Err(problems) => texts.push(problems.to_string().into_bytes()),
        }
        self.state.digester.of(texts.iter().map(Vec::as_slice))
    }
}

/// The configuration as it can be put in force, what is bound or built once left as it is; and the keys that wait for a
/// restart.
fn in_force(bound: &Config, new: &Config) -> (Config, Vec<String>) {
    let (mut config, mut waiting) = (new.clone(), Vec::new());
    let mut keep = |differs: bool, key: &str| {
        if differs {
            waiting.push(key.to_owned());
        }
    };
    let (old, now) = (&bound.listener, &mut config.listener);
    keep(old.address != std::mem::replace(&mut now.address, old.address.clone()), "listener.address");
    keep(old.socket_mode != std::mem::replace(&mut now.socket_mode, old.socket_mode), "listener.socket_mode");
    keep(old.workers != std::mem::replace(&mut now.workers, old.workers), "listener.workers");
    let (old, now) = (bound.admin.address.get_ref(), config.admin.address.get_mut());
    keep(*old != std::mem::replace(now, *old), "admin.address");
    (config, waiting)
}

/// What operators see of it: a file that says of itself what is not as in the file that was read.
fn shown(in_force: &Config, waiting: &[String]) -> String {
    let text = config::effective(in_force);
    if waiting.is_empty() {
        return text;
    }
    format!("# these keys have changed and take effect at a restart: {}\n\n{text}", waiting.join(", "))
}
