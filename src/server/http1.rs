//! HTTP/1.1 on a connection, to its end or to the preface of HTTP/2.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read as _, ReadBuf, Write as _};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;

use super::connection::Stream;
use super::watch::Call;
use super::watched::Watched;
use super::{Bounds, Handler, Peer};

/// How much of a body that nobody wanted is read after an early answer, and for how long. To read and forget it costs
/// less than to send it.
const LINGER: (usize, Duration) = (128 * 1024 * 1024, Duration::from_secs(5));

/// How a stretch of requests came to its end.
enum Ended<I> {
    /// The connection is over.
    Over,
    /// Nothing is under way: what is needed for requests is given back.
    Resting(Watched<I>),
    /// The client speaks HTTP/2; whether a drain has begun.
    Http2(Watched<I>, bool),
}

/// Serves HTTP/1.1; gives the stream back when the client opens it with the preface of HTTP/2, and whether a drain has begun.
pub(super) async fn serve<H: Handler, I: Stream>(
    mut io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
) -> Option<(Watched<I>, bool)> {
    let has_served = AtomicBool::new(false);
    loop {
        // In a box of its own: the protocol machine is the larger part of a connection, and goes while it rests.
        match Box::pin(serve_requests(io, peer, handler, bounds, &has_served)).await {
            Ended::Over => return None,
            Ended::Http2(io, is_draining) => return Some((io, is_draining)),
            Ended::Resting(resting) => io = rest(resting, peer).await?,
        }
    }
}

async fn serve_requests<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
    has_served: &AtomicBool,
) -> Ended<I> {
    let mut builder = Builder::new();
    let most = bounds.max_header_bytes;
    builder.half_close(false).max_header_size(most).max_buf_size(most.max(64 * 1024));
    let service = service_fn(|request: Request<Incoming>| {
        has_served.store(true, Relaxed);
        peer.watch.has_taken(!request.body().is_end_stream());
        handler.handle(request, peer)
    });
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
                Call::Rest if !is_draining && peer.watch.is_between_requests() => {
                    let Some(parts) = connection.into_parts() else { return Ended::Over };
                    return Ended::Resting(parts.io.after(parts.read_buf));
                }
                Call::Rest => peer.watch.is_roused(),
                Call::End => return Ended::Over,
            },
            ended = Pin::new(&mut connection) => break ended,
        }
    };
    match ended {
        // A preface opens a connection (RFC 9113 section 3.4). Behind a request it may be a body that somebody in front of us
        // took for one of his own.
        Err(error) if error.is_parse_version_h2() && !has_served.load(Relaxed) => {
            match connection.into_parts() {
                Some(parts) => Ended::Http2(parts.io.after(parts.read_buf), is_draining),
                None => Ended::Over,
            }
        }
        // The body of an answer broke off: a client that reads until the close must not take that for its end.
        Err(error) if error.is_user() => {
            if let Some(mut parts) = connection.into_parts() {
                parts.io.unwatched().break_off();
            }
            Ended::Over
        }
        ended => {
            // The library has answered what it could not parse, and the client may still be sending it.
            let is_unreadable = ended.is_err_and(|error| error.is_parse());
            if (peer.watch.must_linger() || is_unreadable)
                && let Some(parts) = connection.into_parts()
            {
                if is_unreadable {
                    parts.io.open().was_unreadable();
                }
                tokio::select! {
                    () = called_away(peer) => {}
                    () = Box::pin(linger(parts.io)) => {}
                }
            }
            Ended::Over
        }
    }
}

/// Waits for the next request with hardly any memory; none where the connection is over.
async fn rest<I: Stream>(mut io: Watched<I>, peer: &Peer) -> Option<Watched<I>> {
    let mut space = [0_u8; 64];
    let next = async {
        std::future::poll_fn(|cx| {
            // What a layer below has kept back must not wait until there is more to say.
            if let Poll::Ready(Err(_)) = Pin::new(&mut io).poll_flush(cx) {
                return Poll::Ready(0);
            }
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut io).poll_read(cx, buffer.unfilled()));
            Poll::Ready(read.map_or(0, |()| buffer.filled().len()))
        })
        .await
    };
    let read = tokio::select! {
        biased;
        () = called_away(peer) => return None,
        read = next => read,
    };
    peer.watch.is_roused();
    let begun = space.get(..read).filter(|begun| !begun.is_empty())?;
    let begun = Bytes::copy_from_slice(begun);
    Some(io.after(begun))
}

/// Waits until a connection that does nothing for anybody is to end.
async fn called_away(peer: &Peer) {
    while peer.watch.called().await == Call::Rest {}
}

/// Reads on for a while after the last answer, so that the client finds it before the connection's reset (RFC 9112
/// section 9.6). The writing side is shut already.
pub(super) async fn linger<I: Stream>(mut io: Watched<I>) {
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
