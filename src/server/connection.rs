//! One client connection: HTTP/1.1 first, HTTP/2 where the client opens with its preface.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;

use super::watch::{Call, Entered};
use super::{Bounds, Handler, Peer, Watch};
use crate::http::io::poll_write_pieces;

/// How much of a body that nobody wanted is read after an early answer, and for how long.
const LINGER: (usize, Duration) = (1024 * 1024, Duration::from_secs(2));

/// How many requests an HTTP/2 client may have under way (RFC 9113 section 6.5.2 advises no fewer), and how many bytes of
/// each answer wait for a client that does not read.
const MAX_STREAMS: u32 = 100;
const SEND_BUFFER: usize = 16 * 1024;

/// How long an HTTP/2 client without requests may take to take its leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a connection runs over.
pub trait Stream: Read + Write + Send + Unpin + 'static {}
impl<T: Read + Write + Send + Unpin + 'static> Stream for T {}

/// Serves one connection to its end. It counts as open for as long as its stream lives, also as a tunnel.
pub(super) async fn serve<H: Handler, I: Stream>(
    io: I,
    open: Entered,
    peer: Arc<Peer>,
    handler: Arc<H>,
    bounds: Bounds,
) {
    let io = Watched { io, watch: Arc::clone(&peer.watch), early: None, _open: open };
    if let Some((io, is_draining)) = serve_http1(io, &peer, &handler, bounds).await {
        serve_http2(io, &peer, &handler, bounds, is_draining).await;
    }
}

/// Serves HTTP/1.1; gives the stream back when the client turns out to speak HTTP/2, and whether a drain has begun.
async fn serve_http1<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
) -> Option<(Watched<I>, bool)> {
    let mut builder = http1::Builder::new();
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
            let early = Some(parts.read_buf).filter(|early| !early.is_empty());
            Some((Watched { early, ..parts.io }, is_draining))
        }
        _ => {
            if peer.watch.must_linger()
                && let Some(parts) = connection.into_parts()
            {
                Box::pin(linger(parts.io)).await;
            }
            None
        }
    }
}

/// Serves HTTP/2 with its floods bounded (RFC 9113 section 10.5). A drain waits for the client to agree that it is over,
/// but not for one that says nothing.
async fn serve_http2<H: Handler, I: Stream>(
    io: Watched<I>,
    peer: &Arc<Peer>,
    handler: &Arc<H>,
    bounds: Bounds,
    mut is_draining: bool,
) {
    peer.watch.speaks_http2();
    let mut builder = http2::Builder::new(TokioExecutor::new());
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
                Call::End => return,
            },
            _ = connection.as_mut() => return,
            () = tokio::time::sleep(GOODBYE), if is_draining => if peer.watch.is_idle() {
                return;
            },
        }
    }
}

async fn answer<H: Handler>(
    request: Request<Incoming>,
    peer: Arc<Peer>,
    handler: Arc<H>,
) -> Result<Response<H::Body>, Infallible> {
    Ok(handler.handle(request, &peer).await)
}

/// Reads on for a while after the last answer, so that the client finds it before the connection's reset (RFC 9112
/// section 9.6). The writing side is shut already.
async fn linger<I: Stream>(mut io: Watched<I>) {
    let drained = async {
        let mut left = LINGER.0;
        while left > 0 {
            let mut space = [0_u8; 8192];
            let mut buffer = ReadBuf::new(&mut space);
            let read = std::future::poll_fn(|cx| Pin::new(&mut io.io).poll_read(cx, buffer.unfilled())).await;
            match (read, buffer.filled().len()) {
                (Err(_), _) | (Ok(()), 0) => return,
                (Ok(()), read) => left = left.saturating_sub(read),
            }
        }
    };
    let _ = tokio::time::timeout(LINGER.1, drained).await;
}

/// A stream that tells its [`Watch`] when bytes move, and begins with what was read before.
struct Watched<I> {
    io: I,
    watch: Arc<Watch>,
    early: Option<Bytes>,
    _open: Entered,
}

impl<I: Read + Unpin> Read for Watched<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(mut early) = this.early.take() {
            let now = early.split_to(early.len().min(into.remaining()));
            into.put_slice(&now);
            this.early = Some(early).filter(|rest| !rest.is_empty());
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.io).poll_read(cx, into);
        if read.is_ready() {
            this.watch.has_read();
        }
        read
    }
}

impl<I: Write + Unpin> Write for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch.has_written(written.is_ready());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = poll_write_pieces(&mut this.io, cx, bytes);
        this.watch.has_written(written.is_ready());
        written
    }
}
