//! The stream of an HTTP/2 connection, with what its client sends metered.
//!
//! A client whose [`Allowance`] is spent is told to calm down (RFC 9113 section 7), and its connection ends: the protocol
//! machine finds the stream at its end. Whichever side ends a connection, what the client still sends is read for a
//! while, so that it finds out why before the reset.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use super::super::connection::Stream;
use super::super::http1::linger;
use super::super::watched::Watched;
use super::allowance::Allowance;
use super::frames::{DATA, Frames, HEADERS, PREFACE, goaway};
use crate::clock::Clock;

/// RFC 9113 section 7.
const ENHANCE_YOUR_CALM: u32 = 11;
/// As much of an answer has gone out that its client is one that reads.
const READS: usize = 16 * 1024;

thread_local! {
    /// Where what a read brought is looked at.
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

/// A stream that ends when its client floods it.
pub(super) struct Metered<I> {
    /// `None` once it has ended.
    io: Option<Watched<I>>,
    inbound: Frames,
    outbound: Frames,
    allowance: Allowance,
    clock: Clock,
    /// Requests that were taken in and have not been earned yet.
    taken_in: Arc<AtomicU32>,
    last_stream: u32,
    /// Bytes of answers since the client was last seen to read.
    answered: usize,
}

impl<I: Stream> Metered<I> {
    /// `taken_in` counts the requests that were taken in.
    pub(super) fn new(io: Watched<I>, taken_in: Arc<AtomicU32>) -> Self {
        let clock = Clock::start();
        Self {
            io: Some(io),
            inbound: Frames::after(PREFACE),
            outbound: Frames::after(0),
            allowance: Allowance::new(clock.epoch()),
            clock,
            taken_in,
            last_stream: 0,
            answered: 0,
        }
    }

    /// Charges for what came; says whether that is all right.
    fn meter(&mut self, bytes: &[u8]) -> bool {
        let Self { inbound, allowance, last_stream, .. } = self;
        inbound.pass(bytes, |head| {
            allowance.charge(head);
            if head.kind == HEADERS {
                *last_stream = head.stream.max(*last_stream);
            }
        });
        if let Some(io) = &self.io {
            io.watch().reads_head(self.inbound.is_within_head());
        }
        !self.allowance.is_spent() || self.allowance.settle(self.taken_in.swap(0, Relaxed), self.clock.now())
    }

    /// Takes note of what went out.
    fn went_out(&mut self, pieces: &[io::IoSlice<'_>], mut written: usize) {
        self.allowance.moved(written);
        for piece in pieces {
            let now = piece.get(..written.min(piece.len())).unwrap_or_default();
            written -= now.len();
            let answered = &mut self.answered;
            self.outbound.pass(now, |head| {
                if head.kind == DATA {
                    *answered += head.length;
                }
            });
        }
        if let Some(io) = &self.io
            && self.answered >= READS
        {
            self.answered = 0;
            io.watch().is_read();
        }
    }

    /// Ends the connection of a client that floods it.
    fn has_had_enough(&mut self) {
        if let Some(io) = &self.io {
            io.open().was_flooded();
        }
        // Within a frame that is on its way out there is no place for another.
        let last_word = self.outbound.is_between();
        let last_word = last_word.then(|| goaway(self.last_stream, ENHANCE_YOUR_CALM, b"flood"));
        self.leave(last_word.unwrap_or_default());
    }

    /// Ends the connection, with `last_word` if there is something to say; in a task of its own, because the protocol
    /// machine drops a stream that ends within a frame.
    fn leave(&mut self, last_word: Vec<u8>) {
        let Some(mut io) = self.io.take() else { return };
        tokio::spawn(tokio::time::timeout(super::GOODBYE, async move {
            let mut rest = last_word.as_slice();
            while !rest.is_empty() {
                let written = poll_fn(|cx| Pin::new(&mut io).poll_write(cx, rest)).await?;
                rest = rest.get(written..).unwrap_or_default();
            }
            poll_fn(|cx| Pin::new(&mut io).poll_flush(cx)).await?;
            poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await?;
            linger(io).await;
            io::Result::Ok(())
        }));
    }
}

impl<I: Stream> Read for Metered<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        SPACE.with_borrow_mut(|space| {
            let Some(io) = &mut this.io else { return Poll::Ready(Ok(())) };
            let room = into.remaining().min(space.len());
            let mut buffer = ReadBuf::new(space.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut *io).poll_read(cx, buffer.unfilled()))?;
            if this.meter(buffer.filled()) {
                into.put_slice(buffer.filled());
            } else {
                this.has_had_enough();
            }
            Poll::Ready(Ok(()))
        })
    }
}

/// Once it has ended, what is written goes nowhere.
impl<I: Stream> Write for Metered<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Some(io) => Pin::new(io).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().leave(Vec::new());
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(Write::is_write_vectored)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(io) = &mut this.io else {
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        };
        let written = ready!(Pin::new(io).poll_write_vectored(cx, pieces))?;
        this.went_out(pieces, written);
        Poll::Ready(Ok(written))
    }
}
