//! One client connection: HTTP/1.1 first, HTTP/2 where the client opens with its preface or has chosen it by ALPN.

use std::sync::Arc;

use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio_util::either::Either;

use super::connections::Entered;
use super::listener::Wire;
use super::watched::Watched;
use super::{Bounds, Handler, Peer, http1, http2};
use crate::http::io::Calling;

/// What a connection runs over.
pub trait Stream: Read + Write + Send + Unpin + 'static {
    /// Has its end look like a break rather than like the end of what was sent, where it can tell them apart.
    fn break_off(&self) {}
}

impl Stream for TokioIo<Wire> {
    fn break_off(&self) {
        // TLS says by itself that it was not ended.
        if let Either::Left(Either::Left(tcp)) = self.inner() {
            let _ = tcp.set_zero_linger();
        }
    }
}

impl<I: Stream> Stream for Calling<I> {
    fn break_off(&self) {
        self.inner().break_off();
    }
}

/// In memory, where no socket is wanted.
impl Stream for TokioIo<tokio::io::DuplexStream> {}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or HTTP/2 from a client that knows beforehand.
    Either,
    /// HTTP/1.1, as agreed upon.
    Http1,
    /// HTTP/2, as agreed upon.
    Http2,
}

/// Serves one connection to its end. It counts as open for as long as its stream lives, also as a tunnel.
pub(super) async fn serve<H: Handler, I: Stream>(
    io: I,
    protocol: Protocol,
    open: Entered,
    peer: Arc<Peer>,
    handler: Arc<H>,
    bounds: Bounds,
) {
    let io = Watched::new(io, open);
    if protocol == Protocol::Http2 {
        return Box::pin(http2::serve(io, &peer, &handler, bounds, false)).await;
    }
    if let Some((io, is_draining)) = http1::serve(io, &peer, &handler, bounds).await
        && protocol == Protocol::Either
    {
        Box::pin(http2::serve(io, &peer, &handler, bounds, is_draining)).await;
    }
}
