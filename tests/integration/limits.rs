//! Bounds on what one client may send, and how long it may take.

use std::time::Instant;

use crate::harness::origin::Body;
use crate::harness::{Connection, Origin, Proxy, request, seconds, wait_until, within};

#[tokio::test]
async fn a_head_beyond_its_bound_is_431() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let one_large = request("GET /").field("X-Large", &"x".repeat(40 * 1024));
    assert_eq!(proxy.send(&one_large).await.status(), 431);
    let many = (0..1000).fold(request("GET /"), |request, _| request.field("x-n", "1"));
    assert_eq!(proxy.send(&many).await.status(), 431);
    let too_long = "x".repeat(17 * 1024);
    for target in [format!("/{too_long}"), format!("/?{too_long}"), format!("http://a/{too_long}")] {
        proxy.get(&target).await.assert_problem(414);
    }
    assert_eq!(proxy.get(&format!("/{}", "x".repeat(40 * 1024))).await.status(), 431);
    assert_eq!(origin.count("*"), 0);
    let within = request("GET /").field("X-Large", &"x".repeat(20 * 1024));
    assert_eq!(proxy.send(&within).await.status(), 200);
}

#[tokio::test]
async fn max_header_bytes_is_the_bound() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_header_bytes = '64KiB'").await;
    let asked = |size: usize| request("GET /").field("X-Large", &"x".repeat(size));
    assert_eq!(proxy.send(&asked(60 * 1024)).await.status(), 200);
    assert_eq!(proxy.send(&asked(70 * 1024)).await.status(), 431);
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_413_in_either_framing() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_body_bytes = '64KiB'").await;
    let (fits, too_large) = (vec![b'x'; 64 * 1024], vec![b'x'; 64 * 1024 + 1]);
    assert_eq!(proxy.send(&request("POST /fits").body(fits.clone())).await.status(), 200);
    assert_eq!(proxy.send(&request("POST /fits").chunked(fits)).await.status(), 200);
    proxy.send(&request("POST /length").body(too_large.clone())).await.assert_problem(413);
    assert_eq!(origin.count("/length"), 0);
    assert_eq!(proxy.send(&request("POST /chunked").chunked(too_large)).await.status(), 413);
    wait_until("the origin has seen the end of it", || async { origin.active("*") == 0 }).await;
    assert!(origin.seen("/chunked").iter().all(|seen| seen.body != Body::Whole));
}

#[tokio::test]
async fn a_refused_upload_can_read_its_refusal() {
    let origin = Origin::start();
    let config = "
        rate_limits.none = { key = 'client_ip', rates = ['1/hour'] }
        routes = [{ name = 'all', match = '/{*rest}', rate_limits = ['none'] }]";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/").await.status(), 200);
    for size in [1000, 60_000, 1_000_000] {
        let refused = proxy.send(&request("POST /").body(vec![b'x'; size])).await;
        refused.assert_problem(429);
    }
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn the_header_timeout_is_for_the_whole_head_not_for_each_read() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.header_timeout = '1s'").await;
    let mut connection = Connection::open(proxy.address).await;
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let start = Instant::now();
    within("the cut of a dripping client", async {
        while connection.wire.send("x").await.is_ok() {
            if tokio::time::timeout(seconds(0.1), connection.wire.closed()).await.is_ok() {
                break;
            }
        }
    })
    .await;
    assert!(start.elapsed() > seconds(0.5), "cut after {:?}", start.elapsed());
    assert_eq!(origin.count("*"), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_preface_is_cut() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener = { header_timeout = '1s', idle_timeout = '1s' }").await;
    for start in ["", "P", "PRI * HTTP", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(start).await;
        within(&format!("the cut of a client that sent {start:?}"), connection.wire.some(u64::MAX))
            .await
            .ok();
    }
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 0.0).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_timeout() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.idle_timeout = '1s'").await;
    let mut connection = Connection::open(proxy.address).await;
    assert_eq!(connection.ask(&request("GET /1")).await.status(), 200);
    assert_eq!(connection.ask(&request("GET /2")).await.status(), 200);
    connection.assert_closes().await;
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_connections = 2").await;
    let mut first = Connection::open(proxy.address).await;
    let mut second = Connection::open(proxy.address).await;
    assert_eq!(first.ask(&request("GET /1")).await.status(), 200);
    assert_eq!(second.ask(&request("GET /2")).await.status(), 200);
    let third = proxy.begin(&request("GET /3"));
    // That nothing happens can only be shown by some time in which it does not.
    assert!(tokio::time::timeout(seconds(0.3), second.wire.closed()).await.is_err());
    assert_eq!((third.is_finished(), origin.count("/3")), (false, 0));
    drop(first);
    assert_eq!(third.await.unwrap().status(), 200);
}
