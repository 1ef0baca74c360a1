//! The proxy as a whole under paused time: clients and the origin live in memory, everything between is the product's.

mod frugality;
mod isolation;
mod reelection;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as HttpBody, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tower::util::BoxCloneSyncService;

use super::Proxy;
use crate::clock::Clock;
use crate::policy::{State, compile};
use crate::server::Server;
use crate::upstream::{Address, Io, Network};

/// A proxy whose clients and whose origin are in memory.
struct Pipeline {
    state: Arc<State>,
    server: Server<Proxy>,
    places: Arc<Semaphore>,
    /// How often the origin was connected to.
    connects: Arc<AtomicUsize>,
}

/// What a client got.
#[derive(Debug)]
struct Got {
    head: http::response::Parts,
    body: Bytes,
    /// Whether the body ended as it should.
    is_whole: bool,
}

impl Pipeline {
    /// In front of an origin that answers by `answer`; the first `refusals` connections to it are refused.
    fn new<A, F, B>(config: &str, refusals: usize, answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: HttpBody<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let connects = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connects);
        let connector = tower::service_fn(move |_: Address| {
            let (answer, number) = (answer.clone(), count.fetch_add(1, Ordering::Relaxed));
            async move {
                if number < refusals {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                let (near, far) = tokio::io::duplex(64 * 1024);
                let service = hyper::service::service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let origin = hyper::server::conn::http1::Builder::new();
                tokio::spawn(origin.serve_connection(TokioIo::new(far), service));
                Ok(Box::new(TokioIo::new(near)) as Box<dyn Io>)
            }
        });
        let config = format!("{config}\n[upstreams.origin]\nservers = [\"http://origin\"]\nretries = 0\n");
        let loaded = crate::config::parse("forebay.toml", &config, &|_| None).unwrap();
        let state =
            Arc::new(State::new(Network::in_memory(BoxCloneSyncService::new(connector)), Clock::start()));
        let policy = compile::attach(compile::plan(&loaded).unwrap(), &state);
        let policy = Arc::new(ArcSwap::from_pointee(policy));
        let proxy = Arc::new(Proxy { state: Arc::clone(&state), policy });
        let server = Server::new(proxy, Arc::clone(&state.listener.connections));
        Self { state, server, places: Arc::new(Semaphore::new(1000)), connects }
    }

    /// One request on a connection of its own; nothing where the connection ended without an answer. A client that drops
    /// this has gone away.
    async fn ask(&self, request: Request<Empty<Bytes>>) -> Option<Got> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let place = Arc::clone(&self.places).acquire_owned().await.unwrap();
        tokio::spawn(self.server.serve(TokioIo::new(far), IpAddr::V4(Ipv4Addr::LOCALHOST).into(), place));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let (head, mut body) = sender.send_request(request).await.ok()?.into_parts();
        let (mut bytes, mut is_whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                Err(_) => is_whole = false,
            }
            if !is_whole {
                break;
            }
        }
        Some(Got { head, body: bytes.into(), is_whole })
    }
}
