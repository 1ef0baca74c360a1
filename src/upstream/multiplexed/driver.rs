//! What drives an HTTP/2 connection, and knows how many streams the server allows.
//!
//! The protocol library makes two machines of a connection: one takes requests, one reads and writes. A request is handed
//! from the first to the second, and the first hears later that its head is on its way; if the second has read a goodbye by
//! then, the request is given up, answered or not. So one task drives both, and after each turn of the second one the
//! first has its own; a goodbye that is read in the very turn that writes the head is still too early. Whatever ends the task ends the connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper::client::conn::http2::{self, SendRequest};
use parking_lot::Mutex;

use crate::http::body::RequestBody;
use crate::upstream::connect::Io;

/// What takes requests.
type Machine = http2::Connection<Box<dyn Io>, RequestBody, Executor>;
/// What reads and writes.
type Wire = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Keeps what reads and writes, which is the first that the library wants to have run, and runs all else.
#[derive(Clone, Default)]
pub(super) struct Executor(Arc<OnceLock<Mutex<Option<Wire>>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        if self.0.get().is_some() {
            tokio::spawn(future);
        } else {
            self.0.get_or_init(|| Mutex::new(Some(Box::pin(future))));
        }
    }
}

/// A connection, driven by a task and asked by whoever wants a stream.
pub(super) struct Driver {
    /// Gone once it has ended: only then do those who wait for an answer hear of it.
    machine: Mutex<Option<Machine>>,
    allowed: AtomicUsize,
}

/// The task that drives it.
pub(super) struct Driving {
    driver: Arc<Driver>,
    wire: Option<Wire>,
}

impl Driver {
    /// Begins a connection.
    pub(super) async fn begin(
        builder: &http2::Builder<Executor>,
        executor: &Executor,
        io: Box<dyn Io>,
    ) -> hyper::Result<(SendRequest<RequestBody>, Arc<Self>, Driving)> {
        let (sender, machine) = builder.handshake(io).await?;
        let allowed = AtomicUsize::new(machine.current_max_send_streams());
        let driver = Arc::new(Self { machine: Mutex::new(Some(machine)), allowed });
        let wire = executor.0.get().and_then(|wire| wire.lock().take());
        let driving = Driving { driver: Arc::clone(&driver), wire };
        Ok((sender, driver, driving))
    }

    /// What the server allowed when somebody last looked.
    pub(super) fn allowed(&self) -> usize {
        self.allowed.load(Ordering::Relaxed)
    }

    /// What it allows now: the library tells nobody when that changes.
    pub(super) fn ask(&self) -> usize {
        self.note(self.machine.lock().as_ref());
        self.allowed()
    }

    /// Takes what requests have come.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut place = self.machine.lock();
        let polled = place.as_mut().map_or(Poll::Ready(Ok(())), |machine| Pin::new(machine).poll(cx));
        if polled.is_ready() {
            drop(place);
            self.end();
        } else {
            self.note(place.as_ref());
        }
        polled.map(drop)
    }

    fn end(&self) {
        let ended = self.machine.lock().take();
        self.note(None);
        drop(ended);
    }

    fn note(&self, machine: Option<&Machine>) {
        let allowed = machine.map_or(0, Machine::current_max_send_streams);
        self.allowed.store(allowed, Ordering::Relaxed);
    }
}

impl Future for Driving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Twice: what has come is read before a request is taken, and one that was taken is written at once.
        let mut is_taking = true;
        for _ in 0..2 {
            if self.wire.as_mut().is_some_and(|wire| wire.as_mut().poll(cx).is_ready()) {
                self.wire = None;
            }
            is_taking = self.driver.poll(cx).is_pending();
        }
        if is_taking || self.wire.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.driver.end();
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;

    use super::*;

    #[tokio::test]
    async fn a_panic_ends_the_connection() {
        let (executor, (near, _far)) = (Executor::default(), tokio::io::duplex(1024));
        let builder = http2::Builder::new(executor.clone());
        let begun = Driver::begin(&builder, &executor, Box::new(TokioIo::new(near))).await;
        let (sender, driver, mut driving) = begun.unwrap();
        assert!(!sender.is_closed() && driver.ask() > 0);
        driving.wire = Some(Box::pin(async { panic!("expected by this test") }));
        assert!(tokio::spawn(driving).await.is_err());
        assert!(sender.is_closed());
        assert_eq!(driver.ask(), 0, "it gives out no more streams");
    }
}
