//! A permit is held until the last byte, and comes back however the exchange ends.

use super::{IN_FLIGHT, gated, pool, scan};
use crate::harness::{Connection, Gate, Origin, Proxy, Script, concurrently, request, seconds, wait_until};

#[tokio::test]
async fn it_is_held_until_the_last_body_byte() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/scan/1", Script::chunked().body("first, ").wait(&gate).body("last"));
    let proxy = Proxy::start(&origin, &pool("max = 1")).await;
    let mut slow = Connection::open(proxy.address).await;
    slow.send(scan(1).bytes()).await;
    assert_eq!(slow.head("POST").await.status(), 200);
    assert_eq!(slow.data().await.unwrap().unwrap(), b"first, ");
    assert_eq!(proxy.send(&scan(2)).await.status(), 429);
    gate.open();
    assert_eq!(slow.data().await.unwrap().unwrap(), b"last");
    assert_eq!(slow.data().await.unwrap(), None);
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    assert_eq!(proxy.send(&scan(3)).await.status(), 200);
    assert_eq!(origin.count("/scan/2"), 0);
}

#[tokio::test]
async fn it_comes_back_when_the_origin_fails() {
    let origin = Origin::start();
    origin.on("/nothing", Script::nothing());
    origin.on("/cut", Script::ok("half").cut());
    origin.on("/reset", Script::ok("half").reset());
    origin.on("/garbage", Script::raw("this is not HTTP\r\n\r\n"));
    origin.on("/late", Script::ok("").after(seconds(60.0)));
    let config = format!("upstreams.origin.first_byte_timeout = '300ms'\n{}", pool("max = 1"));
    let proxy = Proxy::start(&origin, &config).await;
    for path in ["/nothing", "/cut", "/reset", "/garbage", "/late"] {
        let response = proxy.get(path).await;
        assert!(response.status() >= 502 || response.cut_short.is_some(), "{path}: {response:?}");
        proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    }
    assert_eq!(proxy.send(&scan(1)).await.status(), 200);
}

#[tokio::test]
async fn it_comes_back_when_the_client_leaves_in_the_middle_of_a_body() {
    let origin = Origin::start();
    origin.on("/endless", Script::chunked().repeat(vec![b'x'; 65536], 1_000_000));
    let proxy = Proxy::start(&origin, &pool("max = 1")).await;
    let mut leaving = Connection::open(proxy.address).await;
    leaving.send(request("GET /endless").bytes()).await;
    leaving.head("GET").await;
    assert_eq!(proxy.metric(IN_FLIGHT.0, IN_FLIGHT.1).await, 1.0);
    drop(leaving);
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    wait_until("the origin is let go", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn a_post_that_was_sent_keeps_it_although_its_client_left() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1")).await;
    let mut leaving = Connection::open(proxy.address).await;
    leaving.send(scan(1).bytes()).await;
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    drop(leaving);
    assert_eq!(proxy.send(&scan(2)).await.status(), 429);
    assert_eq!(proxy.metric(IN_FLIGHT.0, IN_FLIGHT.1).await, 1.0);
    gate.open();
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    assert!(!origin.only("/scan/1").abandoned);
}

#[tokio::test]
async fn nothing_leaks_through_thousands_of_random_disconnects() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let pause = seconds(0.001 * f64::from(u32::try_from(seen.head.start.len() % 7).unwrap()));
        Script::chunked().after(pause).body(vec![b'x'; 20_000]).pause(pause).body(vec![b'y'; 20_000])
    });
    let settings = "max = 20, queue = { size = 50, timeout = '2s' }";
    let proxy = Proxy::start(&origin, &pool(settings)).await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    let address = proxy.address;
    let clients = if crate::memory::is_long() { 10_000 } else { 2_000 };
    for round in 0..clients / 100 {
        concurrently(100, move |number| leave_at_random(address, round * 100 + number)).await;
    }
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    proxy.wait_for_metric("forebay_queue_depth", IN_FLIGHT.1, 0.0).await;
    proxy.wait_for_metric("forebay_requests_in_progress", &[], 0.0).await;
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 0.0).await;
    wait_until("the origin is idle", || async { origin.active("*") == 0 }).await;
    assert!(origin.most_at_once("*") >= 2, "the clients came one after another");
    wait_until("its descriptors are given back", || async { proxy.descriptors() < 120 }).await;
    assert_eq!(proxy.send(&scan(1)).await.status(), 200);
}

/// Asks and leaves after a while, before the answer, in the middle of it, or after it, as `number` decides.
async fn leave_at_random(address: std::net::SocketAddr, number: usize) {
    let draw = number.wrapping_mul(0x9E37_79B9).rotate_left(13);
    let method = if draw.is_multiple_of(5) { "POST" } else { "GET" };
    let mut connection = Connection::open(address).await;
    let asked =
        request(&format!("{method} /{}", "x".repeat(draw % 11))).field("X-Number", &number.to_string());
    let bytes = asked.bytes();
    let sent = if draw.is_multiple_of(17) { bytes.len() / 2 } else { bytes.len() };
    let _ = connection.wire.send(&bytes[..sent]).await;
    let patience = seconds(0.001 * f64::from(u32::try_from(draw % 40).unwrap()));
    let _ = tokio::time::timeout(patience, connection.try_response(method)).await;
}
