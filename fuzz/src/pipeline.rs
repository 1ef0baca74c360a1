//! The whole proxy between a client and an origin that are bytes in memory, under paused time: nothing is waited for.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use forebay::clock::Clock;
use forebay::config;
use forebay::policy::{State, compile};
use forebay::proxy::Proxy;
use forebay::server::Server;
use forebay::upstream::{Address, Io, Name, Network};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;

/// More than any input has.
const ROOM: usize = 1 << 20;
/// Longer than anything may take, by the clock that is paused.
const BOUND: Duration = Duration::from_secs(3600);

const CONFIG: &str = "
    cache = { max_bytes = '1MiB', max_object = '64KiB' }
    upstreams.origin = { servers = ['http://origin'], retries = 0 }
    routes = [
        { name = 'standard', match = '/{*rest}' },
        { name = 'force', match = '/force/{*rest}', cache = { mode = 'force', ttl = '1m' } },
        { name = 'off', match = '/off/{*rest}', collapse = 'off', cache = { mode = 'off' } },
    ]";

/// What went over the wires.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// What each client got, until its connection ended.
    pub(crate) answers: Vec<Vec<u8>>,
    /// What the origin got, by connection.
    pub(crate) forwarded: Vec<Vec<u8>>,
}

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime"),
    );
}

/// One client after another says what it says, and reads until it is done; an origin says `answer` to each head, and
/// hangs up. Panics where the proxy has.
pub(crate) fn play(clients: &[&[u8]], answer: &[u8]) -> Traffic {
    RUNTIME.with_borrow_mut(|runtime| runtime.block_on(traffic(clients, answer)))
}

async fn traffic(clients: &[&[u8]], answer: &[u8]) -> Traffic {
    let heard = Heard::default();
    let loaded = config::parse("forebay.toml", CONFIG, &|_| None).expect("TOML");
    let state = Arc::new(State::new(network(answer.into(), &heard), Clock::start()));
    let plan = compile::plan(&loaded).unwrap_or_else(|problems| panic!("{problems}"));
    let policy = Arc::new(ArcSwap::from_pointee(compile::attach(plan, &state)));
    let proxy = Arc::new(Proxy { state: Arc::clone(&state), policy });
    let server = Server::new(proxy, Arc::clone(&state.listener.connections));
    let places = Arc::new(Semaphore::new(1));
    let mut answers = Vec::new();
    for says in clients {
        let (mut near, far) = tokio::io::duplex(ROOM);
        near.write_all(says).await.expect("there is room");
        let place = Arc::clone(&places).acquire_owned().await.expect("open");
        tokio::spawn(server.serve(TokioIo::new(far), IpAddr::V4(Ipv4Addr::LOCALHOST).into(), place));
        let mut answer = Vec::new();
        // It stays after its last word: a client that leaves is a reason to stop.
        let read = async { tokio::time::timeout(BOUND, near.read_to_end(&mut answer)).await };
        tokio::select! {
            () = server.reap() => {}
            ended = read => { let _ = ended.expect("no connection goes on for ever"); }
        }
        answers.push(answer);
    }
    assert_eq!(state.listener.panics.value(), 0, "the proxy panicked");
    let forwarded = std::mem::take(&mut *heard.lock().expect("no panic"));
    Traffic { answers, forwarded }
}

fn network(answer: Arc<[u8]>, heard: &Heard) -> Network {
    let heard = Arc::clone(heard);
    let connector = tower::service_fn(move |_: Address| {
        let (near, far) = tokio::io::duplex(ROOM);
        tokio::spawn(origin(far, Arc::clone(&answer), Arc::clone(&heard)));
        async move { Ok::<_, io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>) }
    });
    let resolver =
        tower::service_fn(
            |name: Name| async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], name.port))]) },
        );
    Network { resolver: BoxCloneSyncService::new(resolver), connector: BoxCloneSyncService::new(connector) }
}

/// Answers one head, and listens until the proxy has said everything.
async fn origin(mut stream: DuplexStream, answer: Arc<[u8]>, heard: Heard) {
    let index = {
        let mut heard = heard.lock().expect("no panic");
        heard.push(Vec::new());
        heard.len() - 1
    };
    let (mut buffer, mut is_answered) = ([0; 4096], false);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let has_head = {
            let mut heard = heard.lock().expect("no panic");
            heard[index].extend_from_slice(&buffer[..length]);
            heard[index].windows(4).any(|window| window == b"\r\n\r\n")
        };
        if has_head && !is_answered {
            is_answered = true;
            if stream.write_all(&answer).await.is_err() || stream.shutdown().await.is_err() {
                return;
            }
        }
    }
}
