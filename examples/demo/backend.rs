//! A scan backend as many teams have one: a scan keeps one of two workers busy for seconds, every status costs a query,
//! and nothing may be cached. It knows nothing of forebay. `examples/scan-backend` is the same in Python.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::clock::Clock;
use forebay::metrics::Counter;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a scan keeps a worker busy.
pub(crate) const SCAN: Duration = Duration::from_secs(8);
/// How many scans are worked on at once.
pub(crate) const WORKERS: usize = 2;
/// What a status costs.
pub(crate) const STATUS: Duration = Duration::from_millis(200);
/// Scans that are remembered, and that may wait for a worker.
const MAX_SCANS: usize = 1000;

/// The backend; its tasks end when the token does.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
    tasks: TaskTracker,
    clock: Clock,
    stop: CancellationToken,
    workers: Semaphore,
    scans: Mutex<BTreeMap<u64, Scan>>,
    /// Requests for a status that came.
    pub(crate) polls: Counter,
}

#[derive(Debug, Clone, Copy)]
enum Scan {
    Waiting,
    Running(Instant),
    Completed,
}

impl Backend {
    /// Listens on a free port of this machine; `scans` have been completed already.
    pub(crate) async fn start(clock: Clock, stop: CancellationToken, scans: u64) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let backend = Arc::new(Self {
            address: listener.local_addr()?,
            tasks: TaskTracker::new(),
            clock,
            stop,
            workers: Semaphore::new(WORKERS),
            scans: Mutex::new((1..=scans).map(|id| (id, Scan::Completed)).collect()),
            polls: Counter::new(),
        });
        backend.tasks.close();
        backend.spawn(Arc::clone(&backend).serve(listener));
        Ok(backend)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all its tasks have ended.
    pub(crate) async fn ended(&self) {
        self.tasks.wait().await;
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let backend = Arc::clone(&self);
            let answer = service_fn(move |request| {
                let backend = Arc::clone(&backend);
                async move { Ok::<_, Infallible>(backend.answer(request).await) }
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
            self.spawn(async move { drop(connection.await) });
        }
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let status = request.uri().path().strip_prefix("/api/scan/status/").map(str::parse::<u64>);
        match (request.method(), request.uri().path(), status) {
            (&Method::POST, "/api/scan/execute", _) => self.execute(),
            (&Method::GET, _, Some(id)) => {
                self.polls.inc();
                tokio::time::sleep(STATUS).await;
                let found = id.ok().and_then(|id| Some((id, *self.scans.lock().get(&id)?)));
                found.map_or_else(unknown, |(id, scan)| reply(StatusCode::OK, &self.describe(id, scan)))
            }
            (&Method::GET, "/api/scans", _) => {
                tokio::time::sleep(STATUS).await;
                let scans = self.scans.lock();
                let list: Vec<_> = scans.iter().map(|(id, scan)| self.describe(*id, *scan)).collect();
                reply(StatusCode::OK, &json!({ "scans": list }))
            }
            _ => unknown(),
        }
    }

    /// Answers at once and works on.
    fn execute(self: &Arc<Self>) -> Response<Full<Bytes>> {
        if self.tasks.len() > MAX_SCANS {
            return reply(StatusCode::SERVICE_UNAVAILABLE, &json!({ "detail": "too many scans" }));
        }
        let mut scans = self.scans.lock();
        let id = scans.last_key_value().map_or(1, |(last, _)| last + 1);
        scans.insert(id, Scan::Waiting);
        while scans.len() > MAX_SCANS {
            scans.pop_first();
        }
        self.spawn(Arc::clone(self).work(id));
        reply(StatusCode::ACCEPTED, &self.describe(id, Scan::Waiting))
    }

    async fn work(self: Arc<Self>, id: u64) {
        let Ok(_worker) = self.workers.acquire().await else { return };
        self.update(id, Scan::Running(self.clock.now()));
        tokio::time::sleep(SCAN).await;
        self.update(id, Scan::Completed);
    }

    fn update(&self, id: u64, to: Scan) {
        if let Some(scan) = self.scans.lock().get_mut(&id) {
            *scan = to;
        }
    }

    fn describe(&self, id: u64, scan: Scan) -> Value {
        let (status, progress) = match scan {
            Scan::Waiting => ("running", 0.0),
            Scan::Running(since) => {
                let worked = self.clock.now().saturating_duration_since(since);
                ("running", (worked.as_secs_f64() / SCAN.as_secs_f64() * 100.0).floor().min(99.0))
            }
            Scan::Completed => ("completed", 100.0),
        };
        json!({ "scan_id": id.to_string(), "status": status, "progress": progress })
    }
}

fn unknown() -> Response<Full<Bytes>> {
    reply(StatusCode::NOT_FOUND, &json!({ "detail": "no such scan" }))
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
