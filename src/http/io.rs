//! Writing several pieces to a stream: small ones go out as one.
//!
//! A head and a short body are two pieces. Copying them together and sending once costs the kernel less than a vectored
//! write does; large pieces are not copied.

mod calling;

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

pub use self::calling::Calling;

/// Pieces that are at most this long together are copied.
const ONE_WRITE: usize = 8 * 1024;

thread_local! {
    /// Where the pieces of one write are put together.
    static PIECES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes as much of the pieces as the stream takes now; says how many bytes that is.
pub fn poll_write_pieces<I: Write + Unpin>(
    io: &mut I,
    cx: &mut Context<'_>,
    pieces: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    match pieces {
        [only] => Pin::new(io).poll_write(cx, only),
        many if many.iter().map(|piece| piece.len()).sum::<usize>() > ONE_WRITE => {
            Pin::new(io).poll_write_vectored(cx, many)
        }
        few => PIECES.with_borrow_mut(|whole| {
            whole.clear();
            few.iter().for_each(|piece| whole.extend_from_slice(piece));
            Pin::new(io).poll_write(cx, whole)
        }),
    }
}

/// A stream whose small pieces go out as one.
#[derive(Debug)]
pub struct Joined<I>(pub I);

impl<I: Read + Unpin> Read for Joined<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, into)
    }
}

impl<I: Write + Unpin> Write for Joined<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_pieces(&mut self.get_mut().0, cx, pieces)
    }
}
