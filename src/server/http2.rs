//! HTTP/2 on a connection, with its floods bounded (RFC 9113 section 10.5).
//!
//! What the protocol machine bounds by itself is set here, with the reason. It knows no rates and waits for a client's
//! window for ever: [`metered`] and [`streams`] see to these.

mod allowance;
mod frames;
mod metered;
mod streams;

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;

use self::metered::Metered;
use self::streams::{Handed, Streams};
use super::connection::Stream;
use super::watch::Call;
use super::watched::Watched;
use super::{Bounds, Handler, Peer};
use crate::clock::Clock;

/// How many requests a client may have under way (RFC 9113 section 6.5.2 advises no fewer). More are refused one by one,
/// and may be sent again.
const MAX_STREAMS: u32 = 100;
/// How many bytes of each answer wait for a client that does not read.
const SEND_BUFFER: usize = 16 * 1024;
/// How many bytes of uploads wait for an upstream that does not read: of one request, and of a connection.
const WINDOWS: (u32, u32) = (256 * 1024, 512 * 1024);
/// How many requests may be cancelled before anybody has looked at them.
const CANCELLED_UNSEEN: usize = 20;
/// How many faults of single requests a connection may have in its life. Each may be a way to have a request begun and
/// reset by us (CVE-2025-8671); honest clients make none.
const FAULTS: usize = 100;

/// How long a client without requests may take to take its leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves HTTP/2. A drain waits for the client to take what was answered and to agree that it is over, but not for one that
/// has it all and says nothing.
pub(super) async fn serve<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
    mut is_draining: bool,
) {
    peer.watch.speaks_http2();
    let (clock, open) = (Clock::start(), io.open());
    let streams =
        Streams { limit: bounds.idle_timeout, clock, tasks: io.tasks(), connection: Arc::clone(&open) };
    let mut builder = Builder::new(streams);
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(bounds.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(CANCELLED_UNSEEN)
        .max_local_error_reset_streams(FAULTS)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER);
    let taken_in = Arc::new(AtomicU32::new(0));
    let io = Metered::new(io, Arc::clone(&taken_in));
    let (peer_of_all, handler) = (Arc::clone(peer), Arc::clone(handler));
    let service = service_fn(move |request| {
        taken_in.fetch_add(1, Relaxed);
        let (peer, handler) = (Arc::clone(&peer_of_all), Arc::clone(&handler));
        async move {
            let response = handler.handle(request, &peer).await;
            response.map(|answer| answer.map(|body| Handed::new(body, Arc::clone(&peer.watch))))
        }
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    if is_draining {
        connection.as_mut().graceful_shutdown();
    }
    let mut goodbye = pin!(tokio::time::sleep(GOODBYE));
    loop {
        tokio::select! {
            biased;
            call = peer.watch.called() => match call {
                Call::Drain if is_draining => {}
                Call::Drain => {
                    is_draining = true;
                    goodbye.as_mut().reset(clock.now() + GOODBYE);
                    connection.as_mut().graceful_shutdown();
                }
                Call::Rest => {}
                Call::End => return,
            },
            ended = connection.as_mut() => {
                if ended.is_err_and(|error| is_about_a_flood(&error)) {
                    open.was_flooded();
                }
                return;
            }
            () = goodbye.as_mut(), if is_draining => {
                if peer.watch.is_idle() {
                    return;
                }
                goodbye.as_mut().reset(clock.now() + GOODBYE);
            }
        }
    }
}

/// Whether it was the protocol machine that had enough.
fn is_about_a_flood(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM)
}
