//! In front of the FastAPI example: the home case of forebay, with a backend that knows nothing of it.

use std::time::Instant;

use crate::harness::backend::Backend;
use crate::harness::{Proxy, concurrently, request, seconds, wait_until};

const SCANNER: &str = "
    rate_limits.scan-start = { key = 'client_ip', rates = ['2/minute'] }
    in_flight.scans = { max = 2 }
    listener.trusted_proxies = ['127.0.0.1/32']
    [[routes]]
    name = 'start'
    match = 'POST /api/scan/execute'
    rate_limits = ['scan-start']
    in_flight = 'scans'
    invalidates = ['scans']
    [[routes]]
    name = 'status'
    match = 'GET /api/scan/status/{scan_id}'
    cache = { mode = 'force', ttl = '1s' }
    [[routes]]
    name = 'lists'
    match = 'GET /api/scans'
    cache = { mode = 'force', ttl = '1h', tags = ['scans'] }
    [[routes]]
    name = 'rest'
    match = '/{*rest}'";

/// Starts a scan from an address of its own; its id.
async fn start_scan(proxy: &Proxy, from: &str) -> String {
    let started = proxy.send(&request("POST /api/scan/execute").field("X-Forwarded-For", from)).await;
    assert_eq!(started.status(), 202, "{started:?}");
    started.json()["scan_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_scan_runs_from_its_start_to_its_result() {
    let backend = Backend::start(&[("SCAN_SECONDS", "1"), ("STATUS_MS", "20")]).await;
    let proxy = Proxy::before(backend.address(), SCANNER).await;
    let status = format!("/api/scan/status/{}", start_scan(&proxy, "192.0.2.1").await);
    let first = proxy.get(&status).await;
    assert_eq!(
        (&first.json()["status"], first.field("cache-control")),
        (&"running".into(), Some("no-store"))
    );
    wait_until("it is completed", || async { proxy.get(&status).await.json()["status"] == "completed" })
        .await;
    assert_eq!(proxy.get("/api/scan/status/unknown").await.status(), 404);
    assert_eq!(backend.counts().await["scans_most"], 1);
}

#[tokio::test]
async fn the_third_start_of_an_address_does_not_reach_it() {
    let backend = Backend::start(&[("SCAN_SECONDS", "1")]).await;
    let proxy = Proxy::before(backend.address(), SCANNER).await;
    for _ in 0..2 {
        start_scan(&proxy, "192.0.2.1").await;
    }
    let third = request("POST /api/scan/execute").field("X-Forwarded-For", "192.0.2.1");
    proxy.send(&third).await.assert_problem(429);
    start_scan(&proxy, "192.0.2.2").await;
    assert_eq!(backend.counts().await["requests"]["/api/scan/execute"], 3);
}

#[tokio::test]
async fn a_start_makes_the_list_fresh() {
    let backend = Backend::start(&[("SCAN_SECONDS", "30"), ("STATUS_MS", "20")]).await;
    let proxy = Proxy::before(backend.address(), SCANNER).await;
    assert_eq!(proxy.get("/api/scans").await.json()["scans"], serde_json::json!([]));
    assert!(proxy.get("/api/scans").await.cache_says("hit"));
    let id = start_scan(&proxy, "192.0.2.1").await;
    let list = proxy.get("/api/scans").await;
    assert_eq!(list.json()["scans"][0]["scan_id"], id);
    assert_eq!(backend.counts().await["requests"]["/api/scans"], 2);
}

#[tokio::test]
async fn a_hundred_tabs_cost_it_one_status_a_second_and_scan() {
    const SECONDS: f64 = 5.0;
    let backend = Backend::start(&[("SCAN_SECONDS", "60")]).await;
    let proxy = Proxy::before(backend.address(), SCANNER).await;
    let mut statuses = Vec::new();
    for number in 0..10 {
        let id = start_scan(&proxy, &format!("192.0.2.{number}")).await;
        statuses.push(format!("/api/scan/status/{id}"));
    }
    let (address, paths) = (proxy.address, statuses.clone());
    let start = Instant::now();
    let polls = concurrently(100, move |tab| {
        let poll = request(&format!("GET {}", paths[tab % 10]));
        async move {
            let mut polls = 0;
            // Every tab polls once a second, and no two of them at quite the same moment.
            while start.elapsed() < seconds(SECONDS) {
                assert_eq!(poll.send(address).await.json()["status"], "running");
                polls += 1;
                let next = seconds(f64::from(polls) + 0.01 * f64::from(u32::try_from(tab).unwrap()));
                tokio::time::sleep_until((start + next).into()).await;
            }
            polls
        }
    })
    .await;
    let took = start.elapsed().as_secs_f64();
    assert!(polls.iter().sum::<u32>() >= 300, "{polls:?}");
    let counts = backend.counts().await;
    // One fetch for each second that has begun, also on a machine on which the last poll came late.
    let allowed = took.ceil() + 1.0;
    for status in statuses {
        let asked = counts["requests"][&status].as_f64().unwrap();
        assert!(asked <= allowed, "{asked} requests for {status} in {took:.1} s: {counts}");
    }
}

#[tokio::test]
async fn its_events_arrive_as_they_happen() {
    let backend = Backend::start(&[]).await;
    let proxy = Proxy::before(backend.address(), "").await;
    let mut stream = crate::harness::Connection::open(proxy.address).await;
    stream.send(request("GET /api/events").field("Accept", "text/event-stream").bytes()).await;
    assert_eq!(stream.head("GET").await.status(), 200);
    for number in 1..=2 {
        let event = String::from_utf8(stream.data().await.unwrap().unwrap()).unwrap();
        assert!(event.starts_with(&format!("id: {number}\n")), "{event}");
    }
}
