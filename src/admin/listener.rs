//! The admin listener's thread and its connections.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Admin;
use super::rim::service;

/// Beyond these, connections wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// For a request's head, and between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a request's head.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// For answers that are under way when the listener stops.
const GRACE: Duration = Duration::from_secs(1);
/// After an accept that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on a thread of its own until `stop` is cancelled.
///
/// # Errors
/// When the runtime or the thread cannot be had.
pub fn spawn(
    listener: StdListener,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    thread::Builder::new()
        .name("forebay-admin".into())
        .spawn(move || runtime.block_on(serve(listener, admin, stop)))
}

async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (admin, stop) = (Arc::clone(&admin), stop.clone());
        connections.spawn(async move {
            admin.connections.inc();
            connection(stream, &admin, &stop).await;
            admin.connections.dec();
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    // What is not answered by then is cut off with the runtime.
    let _ = tokio::time::timeout(GRACE, connections.wait()).await;
}

/// One HTTP/1.1 connection. One that ends badly concerns nobody but the peer, who knows already.
pub(super) async fn connection<S>(stream: S, admin: &Arc<Admin>, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service(Arc::clone(admin))));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
