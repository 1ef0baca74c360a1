//! Bound sockets of the public listener, and the admin listener's.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::task::Context;

use anyhow::{Context as _, bail};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::busy;
use crate::config::listener::Address;
use crate::proxy::Proxy;
use crate::server::Server;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// One bound socket.
#[derive(Debug)]
pub(super) struct Listening {
    url: String,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, OwnedPath),
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
    /// Binds an address; a busy one is told with whoever holds it, where that can be known.
    pub(super) fn bind(address: &Address) -> anyhow::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let listener = bind_tcp(*address)
                    .map_err(|error| busy::explain(&error, *address, "listener.address"))?;
                let bound = listener.local_addr().unwrap_or(*address);
                Ok(Self { url: format!("http://{bound}"), socket: Socket::Tcp(listener) })
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)
                    .with_context(|| format!("cannot listen on unix:{}", path.display()))?;
                Ok(Self { url: address.to_string(), socket: Socket::Unix(listener, OwnedPath(path.clone())) })
            }
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Accepts until the future is dropped, which closes the socket.
    pub(super) async fn accept(self, server: &Server<Proxy>) {
        match self.socket {
            Socket::Tcp(listener) => {
                let accept = |cx: &mut Context<'_>| {
                    listener.poll_accept(cx).map_ok(|(stream, address)| {
                        let _ = stream.set_nodelay(true);
                        (TokioIo::new(stream), address.ip())
                    })
                };
                server.accept(accept).await;
            }
            Socket::Unix(listener, _path) => {
                let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let accept = |cx: &mut Context<'_>| {
                    listener.poll_accept(cx).map_ok(|(stream, _)| (TokioIo::new(stream), local))
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
