//! The streams of an HTTP/2 connection: each is a task of its own, which ends when its client takes nothing.
//!
//! An answer that waits for its client's window is polled by nobody: it would keep its permit, its connection to the
//! upstream and its memory for as long as the client likes. So each task knows whether the client is the one it waits
//! for, and for how long; a stream whose next piece does not get away within the limit is reset, and the others of its
//! connection go on.
//!
//! What was handed over has not gone out yet: the protocol machine keeps it until the client's window lets it through, and
//! until then the connection is not idle.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Buf, Bytes};
use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

use super::super::connections::Entered;
use super::super::watch::Watch;
use crate::clock::Clock;
use crate::clock::deadline::Deadline;

/// What must get away within the limit, at most: who reads slowly is not who does not read.
const MOST: usize = 64 * 1024;

tokio::task_local! {
    /// How many pieces of its answer a stream has handed over, and whether it waits for the client to take the last.
    static HANDED: Cell<(u64, bool)>;
}

/// Where the streams of a connection run.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    /// For a piece of an answer to get away.
    pub(super) limit: Duration,
    pub(super) clock: Clock,
    /// What a drain waits for.
    pub(super) tasks: TaskTracker,
    pub(super) connection: Arc<Entered>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.tasks.spawn(HANDED.scope(Cell::new((0, false)), self.clone().unless_stalled(stream)));
    }
}

impl Streams {
    /// Runs to the stream's end, or drops it. The clock is read, and a timer set, only where a client is waited for.
    async fn unless_stalled(self, stream: impl Future<Output = ()>) {
        let mut stream = pin!(stream);
        let (mut deadline, mut last) = (Deadline::default(), (0, false));
        poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let handed = HANDED.with(Cell::get);
            if handed != last {
                last = handed;
                deadline.set(handed.1.then(|| self.clock.now() + self.limit));
            }
            deadline.poll_passed(cx).map(|()| self.connection.has_stalled())
        })
        .await;
    }
}

/// An answer's body that tells its task when the client is waited for.
#[derive(Debug)]
pub(super) struct Handed<B> {
    body: B,
    /// Of a piece that is too large for one.
    rest: Bytes,
    watch: Arc<Watch>,
}

impl<B> Handed<B> {
    pub(super) fn new(body: B, watch: Arc<Watch>) -> Self {
        Self { body, rest: Bytes::new(), watch }
    }
}

/// A piece of an answer until it has gone out.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    watch: Arc<Watch>,
}

impl Piece {
    fn new(bytes: Bytes, watch: &Arc<Watch>) -> Self {
        watch.takes_over();
        Self { bytes, watch: Arc::clone(watch) }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.watch.has_let_go();
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Handed<B> {
    type Data = Piece;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, B::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let next = Pin::new(&mut this.body).poll_frame(cx);
            match next {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    this.rest = frame.into_data().unwrap_or_default();
                }
                other => {
                    tell(|(pieces, _)| (pieces, false));
                    return other.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, &this.watch)));
                }
            }
        }
        tell(|(pieces, _)| (pieces + 1, true));
        let piece = this.rest.split_to(MOST.min(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(Piece::new(piece, &this.watch)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

fn tell(change: impl FnOnce((u64, bool)) -> (u64, bool)) {
    HANDED.with(|handed| handed.set(change(handed.get())));
}
