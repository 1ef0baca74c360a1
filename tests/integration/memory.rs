//! Resident memory stays within bounds, whatever streams through and however many names it bears.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::frames::{self, Frames, NO_WINDOW};
use crate::harness::{Connection, H2, Origin, Proxy, Script, concurrently, request, wait_until};

const MIB: u64 = 1024 * 1024;
/// What a stream may add, however long it is.
const GROWTH: u64 = 16 * MIB;

/// The full measures are taken with FOREBAY_LONG=1; otherwise smaller ones show the same in less time.
pub(crate) fn is_long() -> bool {
    std::env::var_os("FOREBAY_LONG").is_some_and(|value| value == "1")
}

fn streamed() -> u64 {
    if is_long() { 1024 * MIB } else { 256 * MIB }
}

/// The most that `proxy` has resident while `work` goes on, above what it had before.
async fn growth(proxy: &Proxy, work: impl Future<Output = ()>) -> u64 {
    let before = proxy.resident();
    let mut most = before;
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => return most.max(proxy.resident()) - before,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => most = most.max(proxy.resident()),
        }
    }
}

fn assert_within(growth: u64) {
    assert!(growth < GROWTH, "resident memory grew by {:.1} MiB", growth as f64 / MIB as f64);
}

#[tokio::test]
async fn a_large_download_streams_through() {
    let origin = Origin::start();
    origin.on("/large", Script::chunked().repeat(vec![b'x'; 65536], streamed() / 65536));
    // As much of it is kept, until it turns out to be too large to be stored.
    let config = "
        cache.max_object = '2MiB'
        routes = [{ name = 'all', match = '/{*rest}', cache = { mode = 'force', ttl = '1h' } }]";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let download = async {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(request("GET /large").bytes()).await;
        connection.head("GET").await;
        let mut length = 0;
        while let Some(data) = connection.data().await.unwrap() {
            length += data.len() as u64;
        }
        assert_eq!(length, streamed());
    };
    assert_within(growth(&proxy, download).await);
    assert_eq!(origin.count("/large"), 1);
}

#[tokio::test]
async fn a_large_upload_streams_through() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_body_bytes = '4GiB'").await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let upload = async {
        let mut connection = Connection::open(proxy.address).await;
        let head = format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", streamed());
        connection.send(head).await;
        let piece = vec![b'x'; 65536];
        for _ in 0..streamed() / 65536 {
            connection.send(&piece).await;
        }
        assert_eq!(connection.response("POST").await.status(), 200);
    };
    assert_within(growth(&proxy, upload).await);
    assert_eq!(origin.only("/large").body_length, streamed());
}

#[tokio::test]
async fn a_reader_that_stalls_holds_little() {
    let origin = Origin::start();
    origin.on("/endless", Script::chunked().repeat(vec![b'x'; 65536], 1_000_000));
    let config = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off' }]";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let mut stalled = Vec::new();
    let stall = async {
        for _ in 0..10 {
            let mut connection = Connection::open(proxy.address).await;
            connection.send(request("GET /endless").bytes()).await;
            connection.head("GET").await;
            stalled.push(connection);
        }
        wait_until("all ten stall", || async { origin.active("/endless") == 10 }).await;
    };
    assert_within(growth(&proxy, stall).await);
}

/// Answers of 10 MB that nobody takes: each holds what was read of it last, and a little ahead. Where more may join, half a
/// megabyte of each is kept for them, but no more than 16 MiB of all.
#[tokio::test]
async fn a_hundred_http_2_streams_without_a_window_are_bounded() {
    for (collapse, most) in [("off", 36 * MIB), ("identity", 56 * MIB)] {
        let grown = growth_by_a_hundred_stalled_streams(collapse).await;
        assert!(grown < most, "{collapse}: resident memory grew by {:.1} MiB", grown as f64 / MIB as f64);
    }
}

async fn growth_by_a_hundred_stalled_streams(collapse: &str) -> u64 {
    let origin = Origin::start();
    origin.on("/large*", Script::chunked().repeat(vec![b'x'; 65536], 160));
    let config = format!("routes = [{{ name = 'all', match = '/{{*rest}}', collapse = '{collapse}' }}]");
    let proxy = Proxy::start(&origin, &config).await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let stall = async {
        let mut client = Frames::open(proxy.address, &[NO_WINDOW]).await;
        for number in 0..100 {
            client.send(frames::get(2 * number + 1, &format!("/large/{number}"))).await;
        }
        for _ in 0..100 {
            client.until("a head", |frame| frame.kind == frames::HEADERS).await;
        }
        wait_until("all stall", || async { origin.active("/large*") == 100 }).await;
        client
    };
    growth(&proxy, async { drop(stall.await) }).await
}

#[tokio::test]
async fn distinct_urls_and_clients_stay_under_the_configured_bounds() {
    let origin = Origin::start();
    let proxy = Proxy::start(
        &origin,
        "listener.trusted_proxies = ['127.0.0.1/32']
        cache.max_bytes = '4MiB'
        rate_limits.wide = { key = 'client_ip', rates = ['1000/hour'], max_keys = 1000 }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        rate_limits = ['wide']
        cache = { mode = 'force', ttl = '1h' }",
    )
    .await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let each = if is_long() { 50_000 } else { 1_000 };
    let address = proxy.address;
    let ask = async {
        concurrently(20, move |client| async move {
            let connection = H2::open(address).await;
            for number in 0..each {
                let hop = format!("10.{client}.{}.{}", number / 250 % 250, number % 250);
                let path = format!("/{client}/{number}/{}", number / 62_500);
                connection.get(&path, &[("x-forwarded-for", &hop)]).await;
            }
        })
        .await;
    };
    let grown = growth(&proxy, ask).await;
    assert!(grown < 32 * MIB, "resident memory grew by {:.1} MiB", grown as f64 / MIB as f64);
    let metrics = proxy.metrics().await;
    assert!(metrics["forebay_cache_bytes"] <= 4.0 * MIB as f64, "{}", metrics["forebay_cache_bytes"]);
    assert!(proxy.metric("forebay_rate_limit_keys", &["limit=\"wide\""]).await <= 1000.0);
}

#[tokio::test]
async fn many_open_connections_cost_little_each() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let mut idle = Vec::new();
    let open = async {
        for _ in 0..400 {
            let mut connection = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
            connection.write_all(&request("GET /").bytes()).await.unwrap();
            assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
            idle.push(connection);
        }
    };
    let grown = growth(&proxy, open).await;
    assert!(grown < 400 * 40 * 1024, "400 connections hold {:.1} MiB", grown as f64 / MIB as f64);
}
