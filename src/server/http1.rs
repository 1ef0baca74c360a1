//! HTTP/1.1 on a connection, to its end or to the preface of HTTP/2.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::ReadBuf;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use super::connection::{Stream, answer};
use super::watch::Call;
use super::watched::Watched;
use super::{Bounds, Handler, Peer};

/// How much of a body that nobody wanted is read after an early answer, and for how long.
const LINGER: (usize, Duration) = (1024 * 1024, Duration::from_secs(2));

/// Serves HTTP/1.1; gives the stream back when the client turns out to speak HTTP/2, and whether a drain has begun.
pub(super) async fn serve<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
) -> Option<(Watched<I>, bool)> {
    let mut builder = Builder::new();
    let most = bounds.max_header_bytes;
    builder.half_close(false).max_header_size(most).max_buf_size(most.max(64 * 1024));
    let service = service_fn(|request| answer(request, Arc::clone(peer), Arc::clone(handler)));
    let mut connection = builder.serve_connection(io, service).with_upgrades();
    let mut is_draining = false;
    let ended = loop {
        tokio::select! {
            biased;
            // First: an answer that is made during a drain says `Connection: close`.
            call = peer.watch.called() => match call {
                Call::Drain => {
                    is_draining = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                Call::End => return None,
            },
            ended = Pin::new(&mut connection) => break ended,
        }
    };
    match ended {
        Err(error) if error.is_parse_version_h2() => {
            let parts = connection.into_parts()?;
            Some((parts.io.after(parts.read_buf), is_draining))
        }
        ended => {
            // The library has answered what it could not parse; the client may still be sending it.
            if (peer.watch.must_linger() || ended.is_err_and(|error| error.is_parse()))
                && let Some(parts) = connection.into_parts()
            {
                Box::pin(linger(parts.io)).await;
            }
            None
        }
    }
}

/// Reads on for a while after the last answer, so that the client finds it before the connection's reset (RFC 9112
/// section 9.6). The writing side is shut already.
async fn linger<I: Stream>(mut io: Watched<I>) {
    let drained = async {
        let mut left = LINGER.0;
        while left > 0 {
            let mut space = [0_u8; 8192];
            let mut buffer = ReadBuf::new(&mut space);
            let read =
                std::future::poll_fn(|cx| Pin::new(io.unwatched()).poll_read(cx, buffer.unfilled())).await;
            match (read, buffer.filled().len()) {
                (Err(_), _) | (Ok(()), 0) => return,
                (Ok(()), read) => left = left.saturating_sub(read),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER.1, drained).await;
}
