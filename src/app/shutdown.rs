//! Signals, and the end: stop accepting, let what is in flight finish, leave by the deadline.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::reload::Reloader;
use super::systemd;
use crate::policy::{Policy, State};

/// What streams without an end of their own get, after the deadline, to take their leave.
const GOODBYE: Duration = Duration::from_secs(1);
/// What the rest of the process may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything in flight finished.
    Drained,
    /// Something was cut off at the deadline, or by a second signal.
    Cut,
}

/// Acts on signals until one asks for the end, then drains.
pub(super) async fn serve_until_the_end(
    state: &State,
    policy: &Arc<ArcSwap<Policy>>,
    reloader: &Arc<Reloader>,
    mut accepting: JoinSet<()>,
    (mut signals, stop): (Signals, CancellationToken),
) -> Ended {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            asked = signals.next() => match asked {
                Asked::End => break,
                Asked::Reload => drop(Arc::clone(reloader).reload_on(&Handle::current())),
                Asked::Reopen => reloader.reopen_logs(),
            },
        }
    }
    state.is_draining.store(true, Ordering::Relaxed);
    let limit = policy.load().listener.drain_timeout;
    let connections = &state.listener.connections;
    systemd::stopping(limit + GOODBYE + GRACE);
    tracing::info!(connections = connections.count.value(), limit = ?limit, "draining");
    accepting.shutdown().await;
    connections.drain();
    state.afterlife.tasks.close();
    let finished = async {
        connections.emptied().await;
        state.afterlife.tasks.wait().await;
    };
    let mut finished = pin!(finished);
    let is_second_signal = tokio::select! {
        () = &mut finished => {
            tracing::info!("drained");
            return Ended::Drained;
        }
        () = tokio::time::sleep(limit) => false,
        () = signals.second_end() => true,
    };
    tracing::warn!(connections = connections.count.value(), "cutting off what is left");
    // Tunnels and event streams have no end of their own: they get one, and a moment to say so.
    state.afterlife.end.cancel();
    if !is_second_signal {
        tokio::select! {
            () = finished => {}
            () = tokio::time::sleep(GOODBYE) => {}
            () = signals.second_end() => {}
        }
    }
    connections.end_all();
    Ended::Cut
}

/// The signals that mean something; from their making on they are not the end of the process.
pub(super) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hangup: Option<Signal>,
    user: Option<Signal>,
}

enum Asked {
    End,
    Reload,
    Reopen,
}

impl Signals {
    pub(super) fn new() -> Self {
        let on = |kind| signal(kind).ok();
        Self {
            terminate: on(SignalKind::terminate()),
            interrupt: on(SignalKind::interrupt()),
            hangup: on(SignalKind::hangup()),
            user: on(SignalKind::user_defined1()),
        }
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            () = received(&mut self.terminate) => Asked::End,
            () = received(&mut self.interrupt) => Asked::End,
            () = received(&mut self.hangup) => Asked::Reload,
            () = received(&mut self.user) => Asked::Reopen,
        }
    }

    async fn second_end(&mut self) {
        while !matches!(self.next().await, Asked::End) {}
    }
}

/// Waits for a signal; for ever where it could not be registered.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
