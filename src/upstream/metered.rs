//! The stream of a connection, watched from the head of a request until the head of its answer begins.
//!
//! A head that may have to be sent twice is recorded as it goes out.
//!
//! The protocol library skips interim answers without end, and does not tell whether an answer that broke off had begun.
//! Here they are counted (RFC 9110 section 15.2), and a server that sends too many is read no further.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use http::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::written::Written;
use crate::http::body::RequestBody;

/// The most interim answers before a final one, and the most bytes of them.
const MOST_INTERIM: (u32, u32) = (100, 64 * 1024);
/// Where the status stands in `HTTP/1.1 200 OK`.
const STATUS: u8 = 9;

/// What the user of a connection and its stream tell each other of the latest request.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requests: AtomicU32,
    is_to_be_recorded: AtomicBool,
    has_begun: AtomicBool,
    is_exceeded: AtomicBool,
}

impl Meter {
    /// A request is about to be sent, whose head is to be recorded or not: what comes from now on answers it.
    pub(super) fn start(&self, is_to_be_recorded: bool) {
        self.0.is_to_be_recorded.store(is_to_be_recorded, Ordering::Relaxed);
        self.0.has_begun.store(false, Ordering::Relaxed);
        // Only its one user sends and reads on a connection.
        self.0.requests.store(self.0.requests.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether any byte of an answer has come.
    pub(super) fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }

    /// Whether there were too many interim answers.
    pub(super) fn is_exceeded(&self) -> bool {
        self.0.is_exceeded.load(Ordering::Relaxed)
    }
}

/// A stream with its meter; as the protocol library takes it.
pub(super) type Metered<I> = TokioIo<Watched<I>>;

/// A stream with its meter.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: TokioIo<I>,
    meter: Meter,
    request: u32,
    place: Place,
    interim: (u32, u32),
    written: Written,
    /// Whether what was written last was taken only in part: the rest of it comes before anything of the next request.
    has_rest: bool,
}

/// Where in an answer the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    StatusLine(u8),
    Interim { is_line_empty: bool },
    Final,
}

/// Puts a meter on a stream.
pub(super) fn metered<I>(io: I, meter: Meter) -> Metered<I> {
    let place = Place::Final;
    let written = Written::default();
    TokioIo::new(Watched {
        io: TokioIo::new(io),
        meter,
        request: 0,
        place,
        interim: (0, 0),
        written,
        has_rest: false,
    })
}

/// The latest request, if its head was to be recorded and its writing has begun.
pub(super) fn written<I>(metered: Metered<I>) -> Option<Request<RequestBody>> {
    let Watched { meter, written, .. } = metered.into_inner();
    written.into_request(meter.0.requests.load(Ordering::Relaxed))
}

/// The stream without its meter.
pub(super) fn unmetered<I>(metered: Metered<I>) -> I {
    metered.into_inner().io.into_inner()
}

impl<I> Watched<I> {
    /// Looks at what is about to be written: the first of a request may be to be recorded.
    pub(super) fn record(&mut self, pieces: &[io::IoSlice<'_>]) {
        let meter = &self.meter.0;
        if meter.is_to_be_recorded.load(Ordering::Relaxed) {
            meter.is_to_be_recorded.store(false, Ordering::Relaxed);
            if !self.has_rest {
                self.written.record(meter.requests.load(Ordering::Relaxed), pieces);
            }
        }
    }

    /// Looks at how much of it was taken.
    fn took(&mut self, taken: &Poll<io::Result<usize>>, pieces: &[io::IoSlice<'_>]) {
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.has_rest = !matches!(taken, Poll::Ready(Ok(taken)) if *taken == offered);
    }

    /// Looks at what came, as far as interim answers reach.
    fn see(&mut self, bytes: &[u8]) -> io::Result<()> {
        let request = self.meter.0.requests.load(Ordering::Relaxed);
        if request != self.request {
            (self.request, self.place, self.interim) = (request, Place::StatusLine(0), (0, 0));
        }
        if self.place == Place::Final || bytes.is_empty() {
            return Ok(());
        }
        self.meter.0.has_begun.store(true, Ordering::Relaxed);
        // Nearly always.
        if self.place == Place::StatusLine(0) && is_final(bytes) {
            self.place = Place::Final;
            return Ok(());
        }
        for byte in bytes {
            self.place = self.place.after(*byte);
            match self.place {
                Place::Final => break,
                Place::StatusLine(0) => self.interim.0 += 1,
                Place::StatusLine(_) | Place::Interim { .. } => self.interim.1 += 1,
            }
        }
        if self.interim.0 <= MOST_INTERIM.0 && self.interim.1 <= MOST_INTERIM.1 {
            return Ok(());
        }
        self.meter.0.is_exceeded.store(true, Ordering::Relaxed);
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Whether bytes that begin an answer are those of a final one, as far as one look can tell.
fn is_final(bytes: &[u8]) -> bool {
    let (first, status) = (bytes.first(), bytes.get(usize::from(STATUS)));
    !matches!(first, Some(b'\r' | b'\n')) && status.is_some_and(|status| *status != b'1')
}

impl Place {
    /// The place after this byte; [`Place::StatusLine`] of nothing at the end of an interim head.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::StatusLine(STATUS), b'1') => Self::Interim { is_line_empty: false },
            (Self::StatusLine(STATUS), _) | (Self::Final, _) => Self::Final,
            // Blank lines before a head are skipped; here they count like an answer.
            (Self::StatusLine(0), b'\r' | b'\n') => Self::StatusLine(0),
            (Self::StatusLine(at), _) => Self::StatusLine(at + 1),
            (Self::Interim { is_line_empty: true }, b'\n') => Self::StatusLine(0),
            (Self::Interim { .. }, b'\n') => Self::Interim { is_line_empty: true },
            (Self::Interim { is_line_empty }, byte) => {
                Self::Interim { is_line_empty: is_line_empty && byte == b'\r' }
            }
        }
    }
}

impl<I: hyper::rt::Read + Unpin> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        std::task::ready!(Pin::new(&mut this.io).poll_read(cx, into))?;
        Poll::Ready(this.see(into.filled().get(before..).unwrap_or_default()))
    }
}

impl<I: hyper::rt::Write + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let pieces = [io::IoSlice::new(bytes)];
        this.record(&pieces);
        let taken = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.took(&taken, &pieces);
        taken
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
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.record(pieces);
        let taken = Pin::new(&mut this.io).poll_write_vectored(cx, pieces);
        this.took(&taken, pieces);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets this come in pieces of each length in turn; whether all of it may.
    fn may_come(text: &str) -> bool {
        let outcomes = [1, 7, usize::MAX].map(|length| {
            let meter = Meter::default();
            meter.start(false);
            let mut stream = metered((), meter).into_inner();
            text.as_bytes().chunks(length).all(|piece| stream.see(piece).is_ok())
        });
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{text:.40}: {outcomes:?}");
        outcomes[0]
    }

    #[test]
    fn interim_answers_are_counted_up_to_the_final_one() {
        let interim = ["HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", "HTTP/1.1 102\n\n"].concat();
        let last = "HTTP/1.1 200 OK\r\n\r\n";
        assert!(may_come(last));
        assert!(may_come(&(interim.repeat(50) + last)));
        assert!(!may_come(&(interim.repeat(51) + last)));
        assert!(!may_come(&("\r\n".repeat(51) + last)), "blank lines are a flood, too");
        assert!(may_come(&(interim.clone() + last + &interim.repeat(1000))), "a body is no interim answer");
    }

    #[test]
    fn a_large_interim_answer_is_too_much() {
        let head = |length| format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "x".repeat(length));
        assert!(may_come(&head(60_000)));
        assert!(!may_come(&head(70_000)));
    }

    #[test]
    fn a_connection_tells_whether_the_latest_answer_has_begun() {
        let meter = Meter::default();
        let mut stream = metered((), meter.clone()).into_inner();
        for _ in 0..2 {
            meter.start(false);
            assert!(!meter.has_begun());
            stream.see(b"H").unwrap();
            assert!(meter.has_begun());
        }
    }
}
