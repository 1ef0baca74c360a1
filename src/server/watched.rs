//! The stream of a connection, watched.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio_util::task::TaskTracker;

use super::Watch;
use super::connections::Entered;
use crate::http::io::poll_write_pieces;

/// A stream that tells its [`Watch`] when bytes move, and begins with what was read before.
pub(super) struct Watched<I> {
    io: I,
    watch: Arc<Watch>,
    early: Option<Bytes>,
    open: Arc<Entered>,
}

impl<I> Watched<I> {
    /// It counts as open until it is dropped.
    pub(super) fn new(io: I, open: Entered) -> Self {
        Self { io, watch: Arc::clone(&open.watch), early: None, open: Arc::new(open) }
    }

    /// Where the requests on it run.
    pub(super) fn tasks(&self) -> TaskTracker {
        self.open.tasks()
    }

    /// Begins with what was read before; what was left of an earlier beginning comes behind it.
    pub(super) fn after(self, early: Bytes) -> Self {
        let early = match self.early {
            Some(rest) => [early, rest].concat().into(),
            None => early,
        };
        Self { early: Some(early).filter(|early| !early.is_empty()), ..self }
    }

    /// What it tells.
    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// It counts as open until this is dropped, too.
    pub(super) fn open(&self) -> Arc<Entered> {
        Arc::clone(&self.open)
    }

    /// Without its watch: what moves now is nobody's request or answer.
    pub(super) fn unwatched(&mut self) -> &mut I {
        &mut self.io
    }
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
            // Where it came together with the request before it, nobody has been told yet.
            this.watch.has_read();
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
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        // TLS takes what is written before the socket does.
        this.watch.has_written(flushed.is_ready());
        flushed
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
