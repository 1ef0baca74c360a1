//! Random traffic with faults for as long as one likes: `script/soak [SECONDS]`; `hostile` adds everything else that the
//! world may do.
//!
//! Clients of several identities ask side by side, leave at any moment, read slowly, want parts and conditions, and
//! write; the origin resets, hangs, truncates, sets cookies and varies. All the while: every request is answered or cut
//! within bounds, every body names whom it was made for, memory stays where it is; and at the end of each round nothing
//! is held and nothing has panicked.

mod faults;
mod hostile;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::faults::Mark;
use crate::harness::client::Request;
use crate::harness::{Connection, Origin, Proxy, Response, concurrently, request, seconds, wait_until};

const CLIENTS: usize = 40;
const ROUND: Duration = Duration::from_secs(10);
/// Longer than anything here may take.
const BOUND: Duration = Duration::from_secs(20);
const MIB: u64 = 1024 * 1024;

const CONFIG: &str = "
    cache = { max_bytes = '8MiB', max_object = '1MiB' }
    upstreams.origin = { first_byte_timeout = '2s', body_timeout = '2s', connect_timeout = '1s' }
    in_flight.pool = { max = 16, queue = { size = 100, timeout = '5s' } }
    rate_limits.wide = { key = 'client_ip', rates = ['1000000/minute'] }
    routes = [
        { name = 'standard', match = '/standard/{*rest}', timeout = '15s', in_flight = 'pool', rate_limits = ['wide'] },
        { name = 'force', match = '/force/{*rest}', timeout = '15s', invalidates = ['all'],
          cache = { mode = 'force', ttl = '200ms', stale_while_revalidate = '1s', stale_if_error = '2s', tags = ['all'] } },
        { name = 'off', match = '/off/{*rest}', timeout = '15s', collapse = 'off' },
    ]";

const ROUTES: [&str; 3] = ["standard", "force", "off"];
const USERS: [&str; 4] = ["", "anna", "ben", "carl"];

/// Numbers that look random, the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// Which client got the bodies that are for one request only.
type Owners = Arc<Mutex<HashMap<String, usize>>>;

/// One request with what it expects.
struct Wish {
    request: Request,
    kind: &'static str,
    user: &'static str,
    language: &'static str,
    path: String,
}

fn wish(dice: &mut Dice) -> Wish {
    let (route, kind, user, language) =
        (dice.of(&ROUTES), dice.of(&faults::KINDS), dice.of(&USERS), dice.of(&["de", "en"]));
    let path = format!("/{route}/{kind}/{}", dice.below(3));
    let method = ["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST"][dice.below(8)];
    let mut request = request(&format!("{method} {path}")).field("Accept-Language", language);
    if !user.is_empty() {
        request = request.field("Authorization", user);
    }
    request = match dice.below(12) {
        0 => request.field("Cache-Control", "no-cache"),
        1 => request.field("If-None-Match", "\"1\""),
        2 => request.field("Range", "bytes=0-"),
        3 => request.field("Cache-Control", "max-stale=5, only-if-cached"),
        _ => request,
    };
    Wish { request, kind, user, language, path }
}

impl Wish {
    /// Panics where the body was not made for this request, or is short and looks whole.
    fn judge(&self, got: &Response, once: usize, owners: &Owners) {
        let is_ours = got.field("proxy-status").is_some() || got.body.is_empty();
        if is_ours || got.status() == 304 || got.status() == 416 {
            return;
        }
        let text = String::from_utf8_lossy(&got.body);
        let Some((text, mark, rest)) = Mark::read(&text) else {
            assert!(got.cut_short.is_some(), "no mark in {got:?}");
            return;
        };
        assert_eq!(mark.path, self.path);
        if !matches!(self.kind, "public" | "vary" | "validated") {
            assert_eq!(mark.user, self.user, "{text} went to {}", self.user);
        }
        if self.kind == "vary" {
            assert_eq!(mark.language, self.language, "{text}");
        }
        if matches!(self.kind, "private" | "cookie") && mark.user.is_empty() {
            let owner = *owners.lock().unwrap().entry(text.to_owned()).or_insert(once);
            assert_eq!(owner, once, "{text} went to two");
        }
        let is_whole = faults::length(self.kind) == Some(rest.len());
        assert!(got.cut_short.is_some() || is_whole, "{} bytes of {text} look whole", rest.len());
    }
}

/// One client until the end of the round; how many requests it made.
async fn client(number: usize, seed: u64, proxy: SocketAddr, end: Instant, owners: Owners) -> usize {
    let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
    let mut made = 0;
    while Instant::now() < end {
        let wish = wish(&mut dice);
        let once = number * 1_000_000 + made;
        let work = async {
            match dice.below(10) {
                0 => leave(&wish, proxy, seconds(0.001 * dice.below(100) as f64)).await,
                1 => dawdle(&wish, proxy, dice.below(20)).await,
                _ => {
                    // A connection that ends without an answer is a cut, too.
                    if let Ok(got) = wish.request.try_send(proxy).await {
                        wish.judge(&got, once, &owners);
                    }
                }
            }
        };
        let in_time = tokio::time::timeout(BOUND, work).await;
        assert!(in_time.is_ok(), "no end of {:?} within {BOUND:?}", wish.request);
        made += 1;
    }
    made
}

/// Sends a request and goes away before long, whatever has come by then.
async fn leave(wish: &Wish, proxy: SocketAddr, after: Duration) {
    let _ = tokio::time::timeout(after, wish.request.try_send(proxy)).await;
}

/// Reads a little now and then, and goes away.
async fn dawdle(wish: &Wish, proxy: SocketAddr, times: usize) {
    let mut connection = Connection::open(proxy).await;
    connection.send(wish.request.bytes()).await;
    for _ in 0..times {
        tokio::time::sleep(seconds(0.05)).await;
        let piece = tokio::time::timeout(seconds(0.05), connection.wire.some(1024)).await;
        if matches!(piece, Ok(Ok(None) | Err(_))) {
            return;
        }
    }
}

/// Neither requests nor permits are held any more, and nothing has panicked.
async fn nothing_is_held(proxy: &Proxy) {
    for name in ["forebay_requests_in_progress", "forebay_in_flight", "forebay_queue_depth"] {
        proxy.wait_for_metric(name, &[], 0.0).await;
    }
    assert_eq!(proxy.metric("forebay_panics_total", &[]).await, 0.0);
}

/// As `nothing_is_held`, and what may stay is within its bounds.
async fn assert_settled(proxy: &Proxy, origin: &Origin, before: u64) {
    nothing_is_held(proxy).await;
    wait_until("the origin is left alone", || async { origin.active("*") == 0 }).await;
    let stored = proxy.metric("forebay_cache_bytes", &[]).await;
    assert!(stored <= 8.8 * MIB as f64, "{stored} bytes are stored");
    let grown = proxy.resident().saturating_sub(before) / MIB;
    assert!(grown < 96, "resident memory grew by {grown} MiB");
    assert!(proxy.descriptors() < 200, "{} descriptors are open", proxy.descriptors());
}

fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "goes on for as long as FOREBAY_SOAK says: script/soak"]
async fn nothing_breaks_however_long_it_goes_on() {
    let (length, seed) = (variable("FOREBAY_SOAK", 60), variable("FOREBAY_SEED", 1));
    let origin = faults::origin();
    let proxy = Proxy::start(&origin, CONFIG).await;
    let (began, before, mut total) = (Instant::now(), proxy.resident(), 0);
    for round in 0.. {
        let (address, owners, end) = (proxy.address, Owners::default(), Instant::now() + ROUND);
        let made = concurrently(CLIENTS, move |number| {
            client(number, seed + round, address, end, Arc::clone(&owners))
        });
        total += made.await.iter().sum::<usize>();
        assert_settled(&proxy, &origin, before).await;
        eprintln!(
            "{:>5} s: {total} requests, {} reached the origin in this round, {} MiB resident",
            began.elapsed().as_secs(),
            origin.count("*"),
            proxy.resident() / MIB,
        );
        origin.forget();
        if began.elapsed().as_secs() >= length {
            return;
        }
    }
}
