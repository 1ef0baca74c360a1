//! What a forwarded request costs: a bound on its allocations, all told, those of the protocol library included.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;

use super::super::Proxy;
use crate::clock::Clock;
use crate::policy::{State, compile};
use crate::server::Server;
use crate::upstream::{Address, Io, Network};

const REQUEST: &[u8] = b"GET /scan HTTP/1.1\r\nhost: scan\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncache-control: no-store\r\n\r\nscan";
const CONFIG: &str = "[upstreams.origin]\nservers = [\"http://origin\"]\n[[routes]]\nname = \"all\"\nmatch = \
                      \"/{*rest}\"\nupstream = \"origin\"\ncollapse = \"off\"\ncache = { mode = \"off\" }\n";

/// Reads up to the end of a message that ends so.
async fn read_to(stream: &mut DuplexStream, end: &[u8]) {
    let (mut space, mut length) = ([0; 1024], 0);
    while !space[..length].ends_with(end) {
        length += stream.read(&mut space[length..]).await.unwrap();
    }
}

/// A client's connection to a proxy before an origin; neither end allocates.
async fn connect() -> DuplexStream {
    let connector = tower::service_fn(|_: Address| async {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            loop {
                read_to(&mut far, b"\r\n\r\n").await;
                far.write_all(ANSWER).await.unwrap();
            }
        });
        Ok::<_, io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>)
    });
    let loaded = crate::config::parse("forebay.toml", CONFIG, &|_| None).unwrap();
    let state = Arc::new(State::new(Network::in_memory(BoxCloneSyncService::new(connector)), Clock::start()));
    let policy = compile::attach(compile::plan(&loaded).unwrap(), &state);
    let policy = Arc::new(ArcSwap::from_pointee(policy));
    let server = Server::new(
        Arc::new(Proxy { state: Arc::clone(&state), policy }),
        Arc::clone(&state.listener.connections),
    );
    let (near, far) = tokio::io::duplex(64 * 1024);
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    tokio::spawn(server.serve(TokioIo::new(far), IpAddr::V4(Ipv4Addr::LOCALHOST).into(), place));
    near
}

#[test]
fn a_forwarded_request_costs_few_allocations() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(connect());
    let mut exchange = || {
        allocation_counter::measure(|| {
            runtime.block_on(async {
                client.write_all(REQUEST).await.unwrap();
                read_to(&mut client, b"\r\n\r\nscan").await;
            });
        })
        .count_total
    };
    let mut counted: Vec<u64> = (0..100).map(|_| exchange()).collect();
    counted.sort_unstable();
    assert!(counted[50] <= 13, "{counted:?}");
}
