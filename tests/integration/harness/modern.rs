//! An origin that speaks HTTP/2 in the clear, or whatever it agrees on over TLS. It answers with a JSON picture of the
//! request, or by path: `/bytes/N`, `/trailers`, `/cut`, `/wait` (until the gate opens), `/ws` (an echo of bytes after 101).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::script::Gate;

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A running origin; dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Modern {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// What it remembers.
#[derive(Debug)]
pub(crate) struct Shared {
    connections: AtomicUsize,
    active: AtomicUsize,
    most: AtomicUsize,
    seen: Mutex<Vec<String>>,
    pub(crate) gate: Gate,
}

impl Modern {
    /// Speaks HTTP/2 in the clear; at most so many streams on a connection.
    pub(crate) async fn h2c(max_streams: u32) -> Self {
        Self::start(None, max_streams).await
    }

    /// Speaks over TLS what the two sides agree on.
    pub(crate) async fn tls(config: rustls::ServerConfig) -> Self {
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), 100).await
    }

    async fn start(tls: Option<TlsAcceptor>, max_streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            connections: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            seen: Mutex::default(),
            gate: Gate::closed(),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(stream, tls.clone(), max_streams, Arc::clone(&shared)));
                }
            }
        });
        Self { address, shared, accepting: accepting.abort_handle() }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many requests are at work, and how many were at most.
    pub(crate) fn at_work(&self) -> (usize, usize) {
        (self.shared.active.load(Ordering::SeqCst), self.shared.most.load(Ordering::SeqCst))
    }

    /// How many requests for a path have come.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| *seen == path).count()
    }
}

impl Drop for Modern {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, max_streams: u32, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let mut h2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    h2.max_concurrent_streams(max_streams);
    let Some(acceptor) = tls else {
        let _ = h2.serve_connection(TokioIo::new(stream), service).await;
        return;
    };
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    if is_h2 {
        let _ = h2.serve_connection(io, service).await;
    } else {
        let http1 = hyper::server::conn::http1::Builder::new();
        let _ = http1.serve_connection(io, service).with_upgrades().await;
    }
}

/// One more at work, until dropped.
struct AtWork(Arc<Shared>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(
    mut request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<AnyBody>, Infallible> {
    let now = shared.active.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(now, Ordering::SeqCst);
    let _at_work = AtWork(Arc::clone(&shared));
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    shared.seen.lock().unwrap().push(path.clone());
    let received = body.collect().await;
    let trailers = received.as_ref().ok().and_then(|whole| whole.trailers().cloned());
    let length = received.map_or(0, |whole| whole.to_bytes().len());
    if path == "/ws" {
        tokio::spawn(echo(upgrade));
        let switching = Response::builder().status(101).header("connection", "upgrade");
        return Ok(switching.header("upgrade", "websocket").body(whole("")).unwrap());
    }
    let body = match path.split('/').nth(1).unwrap_or_default() {
        "bytes" => {
            let size = path.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0);
            whole(vec![b'x'; size])
        }
        "trailers" => {
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", "42".parse().unwrap());
            frames(vec![Ok(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(fields))])
        }
        "cut" => frames(vec![Ok(Frame::data(Bytes::from("half"))), Err(std::io::Error::other("cut"))]),
        "wait" => {
            shared.gate.passed().await;
            whole("waited")
        }
        _ => whole(picture(&parts, length, trailers.as_ref())),
    };
    Ok(Response::new(body))
}

async fn echo(upgrade: OnUpgrade) {
    let Ok(stream) = upgrade.await else { return };
    let (mut reader, mut writer) = tokio::io::split(TokioIo::new(stream));
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

fn whole(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn frames(frames: Vec<Result<Frame<Bytes>, std::io::Error>>) -> AnyBody {
    Frames(frames.into_iter()).boxed_unsync()
}

struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.next())
    }
}

fn picture(parts: &http::request::Parts, length: usize, trailers: Option<&HeaderMap>) -> String {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = |map: &HeaderMap| -> Vec<(String, String)> {
        map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    };
    serde_json::json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "fields": fields(&parts.headers),
        "body_length": length,
        "trailers": trailers.map(fields),
    })
    .to_string()
}
