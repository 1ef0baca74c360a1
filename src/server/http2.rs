//! HTTP/2 on a connection, with its floods bounded (RFC 9113 section 10.5).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use tokio_util::task::TaskTracker;

use super::connection::{Stream, answer};
use super::watch::Call;
use super::watched::Watched;
use super::{Bounds, Handler, Peer};

/// How many requests an HTTP/2 client may have under way (RFC 9113 section 6.5.2 advises no fewer), and how many bytes of
/// each answer wait for a client that does not read.
const MAX_STREAMS: u32 = 100;
const SEND_BUFFER: usize = 16 * 1024;

/// How long an HTTP/2 client without requests may take to take its leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs the requests of a connection, each in a task that a drain waits for.
#[derive(Debug, Clone)]
struct Streams(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}

/// Serves HTTP/2. A drain waits for the client to agree that it is over,
/// but not for one that says nothing.
pub(super) async fn serve<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
    mut is_draining: bool,
) {
    peer.watch.speaks_http2();
    let mut builder = Builder::new(Streams(io.tasks()));
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(bounds.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024)
        .max_send_buf_size(SEND_BUFFER);
    let (peer_of_all, handler_of_all) = (Arc::clone(peer), Arc::clone(handler));
    let service =
        service_fn(move |request| answer(request, Arc::clone(&peer_of_all), Arc::clone(&handler_of_all)));
    let mut connection = pin!(builder.serve_connection(io, service));
    if is_draining {
        connection.as_mut().graceful_shutdown();
    }
    loop {
        tokio::select! {
            biased;
            call = peer.watch.called() => match call {
                Call::Drain => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Call::Rest => {}
                Call::End => return,
            },
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(GOODBYE), if is_draining => if peer.watch.is_idle() {
                return;
            },
        }
    }
}
