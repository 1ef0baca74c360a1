//! Bound sockets of the public listener, and the admin listener's.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::task::Context;

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::busy;
use super::systemd::{self, Passed};
use crate::config::listener::{Address, Listener};
use crate::http::scheme::Scheme;
use crate::proxy::Proxy;
use crate::server::{Remote, Server, Socket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// One bound socket.
#[derive(Debug)]
pub(super) struct Listening {
    url: String,
    socket: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, Option<OwnedPath>),
}

/// A socket file, removed with its listener.
#[derive(Debug)]
struct OwnedPath(PathBuf);

impl Drop for OwnedPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Listening {
    /// Those that a service manager has bound and handed over; without one, those of the configuration.
    pub(super) fn all(config: &Listener) -> anyhow::Result<Vec<Self>> {
        let scheme = if config.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let passed = systemd::sockets()?;
        if passed.is_empty() {
            return config.address.values().map(|address| Self::bind(address, config, scheme)).collect();
        }
        tracing::info!(sockets = passed.len(), "sockets were handed over; listener.address is not bound");
        passed.into_iter().map(|socket| Self::take(socket, scheme)).collect()
    }

    fn take(socket: Passed, scheme: Scheme) -> anyhow::Result<Self> {
        match socket {
            Passed::Tcp(listener) => Self::tcp(TcpListener::from_std(listener)?, scheme),
            Passed::Unix(listener) => {
                let path =
                    listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
                let url = path.map_or_else(|| "unix:".to_owned(), |path| Address::Unix(path).to_string());
                // The file is the service manager's own.
                Ok(Self { url, socket: Bound::Unix(UnixListener::from_std(listener)?, None) })
            }
        }
    }

    fn tcp(listener: TcpListener, scheme: Scheme) -> anyhow::Result<Self> {
        let url = format!("{}://{}", scheme.as_str(), listener.local_addr()?);
        Ok(Self { url, socket: Bound::Tcp(listener) })
    }

    /// Binds an address; a busy one is told with whoever holds it, where that can be known.
    fn bind(address: &Address, config: &Listener, scheme: Scheme) -> anyhow::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let listener = bind_tcp(*address)
                    .map_err(|error| busy::explain(&error, *address, "listener.address"))?;
                Self::tcp(listener, scheme)
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on unix:{}", path.display()))?;
                let file = OwnedPath(path.clone());
                if let Some(mode) = config.socket_mode.0 {
                    fs::set_permissions(path, Permissions::from_mode(mode))
                        .with_context(|| format!("cannot set listener.socket_mode on {}", path.display()))?;
                }
                Ok(Self { url: address.to_string(), socket: Bound::Unix(listener, Some(file)) })
            }
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Accepts until the future is dropped, which closes the socket.
    pub(super) async fn accept(self, server: &Server<Proxy>) {
        match self.socket {
            Bound::Tcp(listener) => {
                let accept = |cx: &mut Context<'_>| {
                    listener.poll_accept(cx).map_ok(|(stream, address)| {
                        let _ = stream.set_nodelay(true);
                        (Socket::Tcp(stream), Remote::Ip(address.ip()))
                    })
                };
                server.accept(accept).await;
            }
            Bound::Unix(listener, _path) => {
                let accept = |cx: &mut Context<'_>| {
                    listener.poll_accept(cx).map_ok(|(stream, _)| (Socket::Unix(stream), Remote::Unix))
                };
                server.accept(accept).await;
            }
        }
    }
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the old process's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A socket file that nobody listens on is left over from a process that was killed.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                bail!("unix:{} is in use by another process", path.display());
            }
            fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))
        }
        _ => bail!("{} exists and is not a socket", path.display()),
    }
}

/// Binds the admin listener, which has a runtime of its own.
pub(super) fn bind_admin(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(address)
        .map_err(|error| busy::explain(&error, address, "admin.address"))?;
    bound.set_nonblocking(true).context("cannot prepare the admin listener")?;
    Ok(bound)
}
