//! How many may be at work at once: refusal, the queue, and the permit that always comes back.

mod permits;
mod queue;

use std::time::{Duration, Instant};

use crate::harness::client::Request;
use crate::harness::{Connection, Gate, Origin, Proxy, Script, concurrently, request, wait_until};

/// The pool `scans` with these settings on every path.
fn pool(settings: &str) -> String {
    format!(
        "listener.trusted_proxies = ['127.0.0.1/32']
        in_flight.scans = {{ {settings} }}
        routes = [{{ name = 'all', match = '/{{*rest}}', in_flight = 'scans' }}]"
    )
}

fn scan(number: usize) -> Request {
    request(&format!("POST /scan/{number}"))
}

/// An origin whose requests wait for the gate.
fn gated() -> (Origin, Gate) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("*", Script::ok("done").when(&gate));
    (origin, gate)
}

const IN_FLIGHT: (&str, &[&str]) = ("forebay_in_flight", &["pool=\"scans\""]);

#[tokio::test]
async fn of_fifty_at_once_two_reach_the_origin_and_the_rest_are_refused_at_once() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 2")).await;
    let address = proxy.address;
    let all = tokio::spawn(concurrently(50, move |number| async move { scan(number).send(address).await }));
    // The gate is still closed: whoever has an answer was not waiting for the origin.
    wait_until("48 are refused", || async { proxy.metric("forebay_shed_total", &[]).await == 48.0 }).await;
    wait_until("two run", || async { origin.active("*") == 2 }).await;
    gate.open();
    let responses = all.await.unwrap();
    assert_eq!(responses.iter().filter(|response| response.status() == 200).count(), 2);
    for refused in responses.iter().filter(|response| response.status() != 200) {
        assert_eq!(refused.assert_problem(429)["limit"], "scans");
        assert!(refused.retry_after().as_secs() >= 1);
    }
    assert_eq!((origin.count("*"), origin.most_at_once("*")), (2, 2));
}

#[tokio::test]
async fn a_second_cap_counts_by_key() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 3, per = { key = 'client_ip', max = 1 }")).await;
    let from = |number: usize, address: &str| scan(number).field("X-Forwarded-For", address);
    let first = proxy.begin(&from(1, "192.0.2.1"));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    assert_eq!(proxy.send(&from(2, "192.0.2.1")).await.status(), 429);
    let others = ["192.0.2.2", "192.0.2.3"].map(|address| proxy.begin(&from(3, address)));
    wait_until("others run beside it", || async { origin.active("*") == 3 }).await;
    assert_eq!(proxy.send(&from(4, "192.0.2.4")).await.status(), 429);
    gate.open();
    assert_eq!(first.await.unwrap().status(), 200);
    for other in others {
        assert_eq!(other.await.unwrap().status(), 200);
    }
    assert_eq!(origin.most_at_once("*"), 3);
}

#[tokio::test]
async fn observe_counts_and_never_refuses() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1, mode = 'observe'")).await;
    let running: Vec<_> = (0..5).map(|number| proxy.begin(&scan(number))).collect();
    wait_until("all of them run", || async { origin.active("*") == 5 }).await;
    assert_eq!(proxy.metric("forebay_shed_total", &["reason=\"would_refuse\""]).await, 4.0);
    gate.open();
    for one in running {
        assert_eq!(one.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn an_auto_cap_falls_when_the_origin_fails_and_rises_when_it_recovers() {
    let origin = Origin::start();
    origin.on("/broken", Script::status(503));
    origin.on("/well", Script::ok("done"));
    let config = "
        in_flight.scans = { max = 'auto', auto = { min = 1, max = 4 } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans', target = '60s' }]";
    let proxy = Proxy::start(&origin, config).await;
    let cap = || proxy.metric("forebay_in_flight_max", IN_FLIGHT.1);
    assert_eq!(cap().await, 4.0);
    for (path, expected) in [("/broken", 3.0), ("/broken", 2.0), ("/broken", 1.0), ("/well", 2.0)] {
        for _ in 0..8 {
            proxy.send(&request(&format!("POST {path}"))).await;
        }
        assert_eq!(cap().await, expected, "after {path}");
    }
    // One at a time does not need two.
    for _ in 0..16 {
        proxy.send(&request("POST /well")).await;
    }
    assert_eq!(cap().await, 2.0);
}

/// Whoever trickles its upload must not lower the cap of all others: neither by its pace nor by the route's `timeout`.
#[tokio::test]
async fn a_clients_slow_upload_is_not_taken_for_a_slow_origin() {
    let origin = Origin::start();
    origin.on("*", Script::ok("done"));
    let config = "
        in_flight.scans = { max = 'auto', auto = { min = 1, max = 4 } }
        routes = [
            { name = 'all', match = '/{*rest}', in_flight = 'scans', target = '300ms' },
            { name = 'hasty', match = '/hasty', in_flight = 'scans', target = '300ms', timeout = '1s' },
        ]";
    let proxy = Proxy::start(&origin, config).await;
    let cap = || proxy.metric("forebay_in_flight_max", IN_FLIGHT.1);
    let mut slow = Vec::new();
    for path in ["/slow", "/hasty"] {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")).await;
        slow.push(connection);
    }
    for _ in 0..6 {
        proxy.send(&request("POST /quick").body("1")).await;
    }
    assert_eq!(slow[1].response("POST").await.status(), 504);
    let began = Instant::now();
    wait_until("time passes", || async { began.elapsed() > Duration::from_secs(2) }).await;
    slow[0].send("2").await;
    assert_eq!(slow[0].response("POST").await.status(), 200);
    for _ in 0..2 {
        proxy.send(&request("POST /quick").body("1")).await;
    }
    assert_eq!(cap().await, 4.0);
}

#[tokio::test]
async fn a_fresh_hit_needs_no_permit() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("slow").when(&gate));
    let config = "
        in_flight.scans = { max = 1 }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        in_flight = 'scans'
        cache = { mode = 'force', ttl = '1h' }";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/stored").await.status(), 200);
    let slow = proxy.begin(&request("GET /slow"));
    wait_until("the pool is full", || async { origin.active("/slow") == 1 }).await;
    assert!(proxy.get("/stored").await.cache_says("hit"));
    assert_eq!(proxy.get("/other").await.status(), 429);
    gate.open();
    assert_eq!(slow.await.unwrap().text(), "slow");
    assert_eq!(origin.count("/other"), 0);
}

#[tokio::test]
async fn the_limits_page_tells_what_is_held() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 2, queue = { size = 5, timeout = '60s' }")).await;
    let running: Vec<_> = (0..3).map(|number| proxy.begin(&scan(number))).collect();
    proxy.wait_for_metric("forebay_queue_depth", &["pool=\"scans\""], 1.0).await;
    assert_eq!(proxy.metric(IN_FLIGHT.0, IN_FLIGHT.1).await, 2.0);
    assert_eq!(proxy.metric("forebay_in_flight_max", IN_FLIGHT.1).await, 2.0);
    let page = proxy.admin_get("/api/limits").await.json().to_string();
    assert!(page.contains("scans"), "{page}");
    gate.open();
    for one in running {
        assert_eq!(one.await.unwrap().status(), 200);
    }
}
