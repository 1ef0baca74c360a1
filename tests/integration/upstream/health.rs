//! Health checks: servers that are not well get no requests, and those who ask hear of it.

use super::assert_proxy_error;
use crate::harness::{Connection, Origin, Proxy, Script, request, seconds, wait_until};

const HEALTH: &str = "health = { path = '/health?deep=1', interval = '100ms', timeout = '1s', unhealthy_after = 2, \
                      healthy_after = 1 }";

#[tokio::test]
async fn a_server_that_fails_its_checks_gets_nothing_until_it_passes_them() {
    let (well, ill) = (Origin::start(), Origin::start());
    ill.on("/health", Script::status(500));
    let config = format!(
        "upstreams.two = {{ servers = ['http://{}', 'http://{}'], {HEALTH} }}\n\
         routes = [{{ name = 'all', match = '/{{*rest}}', collapse = 'off' }}]",
        well.address(),
        ill.address()
    );
    let proxy = Proxy::start(&well, &config).await;
    let server = format!("server=\"{}\"", ill.address());
    proxy.wait_for_metric("forebay_upstream_healthy", &[&server], 0.0).await;
    for number in 0..10 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status(), 200);
    }
    assert_eq!((well.count("*") - well.count("/health"), ill.count("*") - ill.count("/health")), (10, 0));
    assert_eq!(proxy.metric("forebay_upstream_requests_total", &[]).await, 10.0, "checks are not counted");
    assert!(
        proxy.metric("forebay_upstream_health_checks_total", &[&server, "result=\"failed\""]).await >= 2.0
    );
    let check = ill.seen("/health").remove(0);
    assert_eq!(check.field("host"), Some(&*ill.address().to_string()));
    assert_eq!(
        (check.target.as_str(), check.field("user-agent")),
        ("/health?deep=1", Some("forebay-health"))
    );
    assert_eq!(proxy.admin_get("/readyz").await.status(), 200);

    ill.on("/health", Script::status(204));
    proxy.wait_for_metric("forebay_upstream_healthy", &[&server], 1.0).await;
}

#[tokio::test]
async fn without_a_healthy_server_requests_are_refused_at_once_and_forebay_is_not_ready() {
    let mut origin = Origin::start();
    let proxy = Proxy::start(&origin, &format!("upstreams.origin = {{ {HEALTH} }}")).await;
    assert_eq!(proxy.get("/").await.status(), 200);
    assert_eq!(proxy.admin_get("/readyz").await.status(), 200);
    origin.stop();
    proxy.wait_for_metric("forebay_upstream_healthy", &[], 0.0).await;
    let refused = proxy.get("/").await;
    assert_proxy_error(&refused, 503, "destination_unavailable");
    assert!(refused.field("retry-after").is_some());
    let ready = proxy.admin_get("/readyz").await;
    assert_eq!((ready.status(), &ready.json()["reason"]), (503, &"no upstream has a healthy server".into()));
    origin.restart();
    wait_until("it is back", || async { proxy.get("/").await.status() == 200 }).await;
    assert_eq!(proxy.admin_get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn a_check_that_is_not_answered_in_time_fails() {
    let origin = Origin::start();
    origin.on("/health", Script::ok("").after(seconds(60.0)));
    let config = "upstreams.origin.health = { path = '/health', interval = '100ms', timeout = '200ms' }";
    let proxy = Proxy::start(&origin, config).await;
    proxy.wait_for_metric("forebay_upstream_healthy", &[], 0.0).await;
    assert!(origin.most_at_once("/health") <= 2, "checks do not pile up");
}

#[tokio::test]
async fn a_reload_without_checks_brings_an_unhealthy_server_back() {
    let origin = Origin::start();
    origin.on("/health", Script::status(500));
    let proxy = Proxy::start(&origin, &format!("upstreams.origin = {{ {HEALTH} }}")).await;
    proxy.wait_for_metric("forebay_upstream_healthy", &[], 0.0).await;
    proxy.rewrite("");
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn without_descriptors_requests_are_503_and_nothing_is_held_against_the_server() {
    let origin = Origin::start();
    origin.on("*", Script::ok("").closing());
    let config = "
        log.level = 'debug'
        [upstreams.origin]
        breaker = { failures = 1, open = '60s' }
        health = { path = '/health', interval = '100ms', timeout = '1s', unhealthy_after = 1 }";
    let proxy = Proxy::with_descriptors(&origin, config, 60).await;
    let mut early = Connection::open(proxy.address).await;
    assert_eq!(early.ask(&request("GET /")).await.status(), 200);
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(Connection::open(proxy.address).await);
    }
    // A check that ends gives its descriptor back, so that a request may find one still.
    let refused = loop {
        let answer = early.ask(&request("GET /")).await;
        if answer.status() != 200 {
            break answer;
        }
    };
    assert_proxy_error(&refused, 503, "connection_limit_reached");
    assert!(refused.text().contains("no-descriptors") && refused.field("retry-after").is_some());
    let checks_want_one =
        || async { proxy.log().iter().any(|line| line.contains("no file descriptors left")) };
    wait_until("a check finds none", checks_want_one).await;
    drop(open);
    wait_until("there are some again", || async { proxy.get("/").await.status() == 200 }).await;
    assert_eq!(proxy.metric("forebay_upstream_health_checks_total", &["result=\"failed\""]).await, 0.0);
    assert_eq!(proxy.metric("forebay_upstream_breaker_transitions_total", &["to=\"open\""]).await, 0.0);
}
