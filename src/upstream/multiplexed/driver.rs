//! The protocol machine of an HTTP/2 connection, which also knows how many streams the server allows.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;

use crate::http::body::RequestBody;
use crate::upstream::connect::Io;

type Machine = http2::Connection<Box<dyn Io>, RequestBody, TokioExecutor>;

/// A protocol machine, driven by a task and asked by whoever wants a stream.
pub(super) struct Driver {
    /// Gone once it has ended: only then do those who wait for an answer hear of it.
    machine: Mutex<Option<Machine>>,
    allowed: AtomicUsize,
}

impl Driver {
    pub(super) fn new(machine: Machine) -> Self {
        let allowed = AtomicUsize::new(machine.current_max_send_streams());
        Self { machine: Mutex::new(Some(machine)), allowed }
    }

    /// One step; ready once it has ended.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut machine = self.machine.lock();
        let polled = machine.as_mut().map_or(Poll::Ready(Ok(())), |machine| Pin::new(machine).poll(cx));
        self.note(machine.as_ref());
        if polled.is_ready() {
            let ended = machine.take();
            drop(machine);
            drop(ended);
        }
        polled.map(drop)
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

    fn note(&self, machine: Option<&Machine>) {
        let allowed = machine.map_or(0, Machine::current_max_send_streams);
        self.allowed.store(allowed, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}
