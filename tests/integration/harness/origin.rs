//! The scripted origin: answers by path as told, and remembers all that reached it.
//!
//! It runs on a thread of its own, so that it goes on while a test blocks. A path without a script is answered with a
//! JSON picture of the request.

mod exchange;
mod ledger;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

use super::script::Script;
use ledger::Ledger;
pub(crate) use ledger::{Body, Seen};

type Answer = Arc<dyn Fn(&Seen) -> Script + Send + Sync>;

/// A running origin; dropping it closes its port and its connections.
#[derive(Debug)]
pub(crate) struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections have in common.
#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    ledger: Ledger,
    connections: AtomicUsize,
    /// How many of them have ended.
    closed: AtomicUsize,
    /// How many responses one connection gives; 0: any number.
    responses_per_connection: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ledger.fmt(f)
    }
}

impl Origin {
    pub(crate) fn start() -> Self {
        Self::serve("127.0.0.1:0".parse().unwrap(), Arc::new(Shared::default()))
    }

    /// Ends it as a crash does: its port and all its connections are closed at once.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the origin's thread");
        }
    }

    /// Starts it again at the same address, with the same answers and the same memory.
    pub(crate) fn restart(&mut self) {
        self.stop();
        *self = Self::serve(self.address, Arc::clone(&self.shared));
    }

    fn serve(address: SocketAddr, shared: Arc<Shared>) -> Self {
        let (bound, address_bound) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.set_reuseaddr(true).unwrap();
                    socket.bind(address).unwrap();
                    let listener = socket.listen(4096).unwrap();
                    bound.send(listener.local_addr().unwrap()).unwrap();
                    tokio::select! { () = accept(listener, shared) => {}, _ = stopped => {} }
                });
            }
        });
        let address = address_bound.recv().expect("the origin binds");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests for `pattern` with `script`.
    pub(crate) fn on(&self, pattern: &str, script: Script) {
        self.on_each(pattern, move |_| script.clone());
    }

    /// Answers each request for `pattern` with what `answer` says. A pattern is `/path`, `METHOD /path`, or either
    /// with a `*` at its end for a prefix; the longest one wins.
    pub(crate) fn on_each(&self, pattern: &str, answer: impl Fn(&Seen) -> Script + Send + Sync + 'static) {
        self.shared.answers.lock().unwrap().insert(pattern.to_owned(), Arc::new(answer));
    }

    /// From now on every connection gives `most` responses; on the next request it is closed without a byte, as when
    /// a keep-alive timeout crosses a request.
    pub(crate) fn close_connections_after(&self, most: usize) {
        self.shared.responses_per_connection.store(most, Ordering::Relaxed);
    }
}

/// What reached it. Patterns are those of `on_each`; `*` takes all.
impl Origin {
    pub(crate) fn count(&self, pattern: &str) -> usize {
        self.seen(pattern).len()
    }

    pub(crate) fn seen(&self, pattern: &str) -> Vec<Seen> {
        self.shared.ledger.seen(pattern)
    }

    /// The one request for `pattern`.
    pub(crate) fn only(&self, pattern: &str) -> Seen {
        let mut seen = self.seen(pattern);
        assert_eq!(seen.len(), 1, "requests for {pattern}: {seen:?}");
        seen.remove(0)
    }

    /// How many are at work now.
    pub(crate) fn active(&self, pattern: &str) -> usize {
        self.shared.ledger.at_once(pattern).0
    }

    /// How many were at work at the same time, at most.
    pub(crate) fn most_at_once(&self, pattern: &str) -> usize {
        self.shared.ledger.at_once(pattern).1
    }

    /// Forgets all requests so far; none may be at work.
    pub(crate) fn forget(&self) {
        self.shared.ledger.forget();
    }

    /// Forgets the requests that are over, and gives them back.
    pub(crate) fn take_finished(&self) -> Vec<Seen> {
        self.shared.ledger.take_finished()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many of them are closed on this side.
    pub(crate) fn closed(&self) -> usize {
        self.shared.closed.load(Ordering::Acquire)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address where nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            exchange::serve(stream, number, Arc::clone(&shared)).await;
            shared.closed.fetch_add(1, Ordering::Release);
        });
    }
}

impl Shared {
    fn script(&self, seen: &Seen) -> Script {
        let answers = self.answers.lock().unwrap();
        let best = answers.iter().filter(|(pattern, _)| seen.matches(pattern)).max_by_key(|(pattern, _)| {
            let path = pattern.rsplit(' ').next().unwrap_or_default();
            (!path.ends_with('*'), path.len(), pattern.len())
        });
        let answer = best.map(|(_, answer)| Arc::clone(answer));
        drop(answers);
        answer.map_or_else(Script::echo, |answer| answer(seen))
    }
}
