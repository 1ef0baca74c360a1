//! Random traffic with faults for as long as one likes: `script/soak [SECONDS]`.
//!
//! Clients of several identities ask side by side, leave at any moment, read slowly, want parts and conditions, and
//! write; the origin resets, hangs, truncates, sets cookies and varies. All the while: every request is answered or cut
//! within bounds, every body names whom it was made for, memory stays where it is; and at the end of each round nothing
//! is held and nothing has panicked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::client::Request;
use crate::harness::{
    Connection, Origin, Proxy, Response, Script, concurrently, request, seconds, wait_until,
};

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
const KINDS: [&str; 20] = [
    "plain",
    "plain",
    "plain",
    "plain",
    "public",
    "public",
    "private",
    "private",
    "cookie",
    "cookie",
    "vary",
    "vary",
    "validated",
    "validated",
    "large",
    "crumbs",
    "crumbs",
    "reset",
    "truncated",
    "hang",
];
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

/// An origin whose bodies say whom they were made for: `/ROUTE/KIND/NUMBER`.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.on_each("/*", |seen| {
        let kind = seen.path().split('/').nth(2).unwrap_or_default().to_owned();
        let field = |name: &str| seen.field(name).unwrap_or_default().to_owned();
        let mark = format!(
            "[{} {} {} for={} lang={}]",
            seen.path(),
            seen.method,
            seen.nth,
            field("authorization"),
            field("accept-language"),
        );
        let script = |script: Script| script.after(seconds(0.001 * (seen.nth % 50) as f64));
        match kind.as_str() {
            "public" => {
                script(Script::ok(mark).field("cache-control", "public, max-age=1, stale-while-revalidate=1"))
            }
            "private" => script(Script::ok(mark).field("cache-control", "private")),
            "cookie" => script(Script::ok(mark).field("set-cookie", "session=1")),
            "vary" => script(
                Script::ok(mark).field("vary", "accept-language").field("cache-control", "public, max-age=1"),
            ),
            "validated" if seen.field("if-none-match").is_some() => {
                script(Script::status(304).field("etag", "\"1\""))
            }
            "validated" => {
                script(Script::ok(mark).field("etag", "\"1\"").field("cache-control", "public, max-age=0"))
            }
            "large" => script(Script::chunked().body(mark).repeat(vec![b'.'; 65536], 40)),
            "crumbs" => script(Script::chunked().body(mark).repeat(".", 2000)),
            "reset" => script(Script::chunked().body(mark).repeat(vec![b'.'; 9000], 3).reset()),
            "truncated" => script(Script::ok(mark).cut()),
            "hang" if seen.nth % 2 == 0 => Script::ok(mark).after(seconds(4.0)),
            "hang" => script(Script::chunked().body(mark).hang()),
            _ => script(Script::ok(mark)),
        }
    });
    origin
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
        (dice.of(&ROUTES), dice.of(&KINDS), dice.of(&USERS), dice.of(&["de", "en"]));
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
        let Some((mark, rest)) = text.split_once(']') else {
            assert!(got.cut_short.is_some(), "no mark in {got:?}");
            return;
        };
        let words: Vec<_> = mark.trim_start_matches('[').split(' ').collect();
        let [path, _, _, made_for, language] = words[..] else { panic!("a strange mark: {mark}") };
        let (made_for, language) = (&made_for["for=".len()..], &language["lang=".len()..]);
        assert_eq!(path, self.path);
        if !matches!(self.kind, "public" | "vary" | "validated") {
            assert_eq!(made_for, self.user, "{mark} went to {}", self.user);
        }
        if self.kind == "vary" {
            assert_eq!(language, self.language, "{mark}");
        }
        if matches!(self.kind, "private" | "cookie") && made_for.is_empty() {
            let owner = *owners.lock().unwrap().entry(mark.to_owned()).or_insert(once);
            assert_eq!(owner, once, "{mark} went to two");
        }
        let length = match self.kind {
            "large" => 40 * 65536,
            "crumbs" => 2000,
            "reset" | "truncated" | "hang" => usize::MAX,
            _ => 0,
        };
        assert!(got.cut_short.is_some() || rest.len() == length, "{} bytes of {mark} look whole", rest.len());
    }
}

/// One client until the end of the round; how many requests it made.
async fn client(
    number: usize,
    seed: u64,
    proxy: std::net::SocketAddr,
    end: Instant,
    owners: Owners,
) -> usize {
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
async fn leave(wish: &Wish, proxy: std::net::SocketAddr, after: Duration) {
    let _ = tokio::time::timeout(after, wish.request.try_send(proxy)).await;
}

/// Reads a little now and then, and goes away.
async fn dawdle(wish: &Wish, proxy: std::net::SocketAddr, times: usize) {
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

/// Nothing is held any more, and nothing went wrong inside.
async fn assert_settled(proxy: &Proxy, origin: &Origin, before: u64) {
    for name in ["forebay_requests_in_progress", "forebay_in_flight", "forebay_queue_depth"] {
        proxy.wait_for_metric(name, &[], 0.0).await;
    }
    wait_until("the origin is left alone", || async { origin.active("*") == 0 }).await;
    assert_eq!(proxy.metric("forebay_panics_total", &[]).await, 0.0);
    let stored = proxy.metric("forebay_cache_bytes", &[]).await;
    assert!(stored <= 8.8 * MIB as f64, "{stored} bytes are stored");
    let grown = proxy.resident().saturating_sub(before) / MIB;
    assert!(grown < 96, "resident memory grew by {grown} MiB");
    assert!(proxy.descriptors() < 200, "{} descriptors are open", proxy.descriptors());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "goes on for as long as FOREBAY_SOAK says: script/soak"]
async fn nothing_breaks_however_long_it_goes_on() {
    let length: u64 = std::env::var("FOREBAY_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let seed = std::env::var("FOREBAY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let origin = origin();
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
