//! What a service manager is told, and what it hands over (sd_notify(3), sd_listen_fds(3)). Without one, nothing happens.

use std::os::unix::net::UnixListener as StdUnixListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// A socket that was bound before this process began.
pub(super) enum Passed {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// The sockets that were handed over for clients; empty without socket activation.
///
/// # Errors
/// A descriptor that is no listening stream socket.
pub(super) fn sockets() -> anyhow::Result<Vec<Passed>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            listener.set_nonblocking(true)?;
            sockets.push(Passed::Tcp(listener));
        } else if let Ok(Some(listener)) = passed.take_unix_listener(index) {
            listener.set_nonblocking(true)?;
            sockets.push(Passed::Unix(listener));
        } else {
            anyhow::bail!(
                "socket {index} of those handed over (LISTEN_FDS) is no listening stream socket; \
                 use ListenStream= in the socket unit"
            );
        }
    }
    Ok(sockets)
}

/// Serving has begun, or goes on after a reload.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload has begun.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The end has begun; it may take this long.
pub(super) fn stopping(limit: Duration) {
    let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(limit)]);
}

/// Shows that the process is alive, where that is asked for, for as long as it is polled. On the runtime that serves
/// clients: one that is stuck falls silent.
pub(super) async fn watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(patience / 2).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
