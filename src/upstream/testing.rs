//! An upstream whose servers live in memory.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tower::util::BoxCloneSyncService;

use super::pool::Pool;
use super::{Address, Balance, HostHeader, Io, Network, Spec};
use crate::clock::Clock;

/// One server, at most one connection, and an hour for everything.
pub(super) fn spec() -> Spec {
    let hour = Duration::from_secs(3600);
    Spec {
        name: "one".into(),
        servers: Vec::new(),
        balance: Balance::RoundRobin,
        max_connections: 1,
        acquire_timeout: hour,
        connect_timeout: hour,
        first_byte_timeout: hour,
        body_timeout: hour,
        dns_refresh: hour,
        idle_timeout: hour,
        max_age: hour,
        retries: 0,
        retry_budget: 0.0,
        breaker: None,
        tls: None,
        health: None,
        host: HostHeader::Preserve,
    }
}

/// The pool of `server`, of whose connections each is served by `serve`.
pub(super) fn pool<F>(
    server: &str,
    spec: &Spec,
    serve: impl Fn(DuplexStream) -> F + Clone + Send + Sync + 'static,
) -> Arc<Pool>
where
    F: Future<Output = ()> + Send + 'static,
{
    let connector = tower::service_fn(move |_: Address| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(far));
        async { Ok::<_, io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>) }
    });
    let network = Network::in_memory(BoxCloneSyncService::new(connector));
    Arc::new(Pool::new(server.parse().unwrap(), spec, network, Clock::start()))
}

/// A pool whose first connection panics in the opening, and how many were opened; the others are closed at once.
pub(super) fn panicking_once(spec: &Spec) -> (Arc<Pool>, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let connector = tower::service_fn(move |_: Address| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(!is_first, "expected by this test");
            Ok::<_, io::Error>(Box::new(TokioIo::new(tokio::io::duplex(1).0)) as Box<dyn Io>)
        }
    });
    let network = Network::in_memory(BoxCloneSyncService::new(connector));
    (Arc::new(Pool::new("http://a".parse().unwrap(), spec, network, Clock::start())), opened)
}

/// A server that never says anything.
pub(super) async fn silent(stream: DuplexStream) {
    let _open = stream;
    std::future::pending::<()>().await;
}
