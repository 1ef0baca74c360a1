//! Old answers that are better than none: while another is fetched, and when the origin fails.

use super::cache;
use crate::harness::{Gate, Origin, Proxy, Script, concurrently, wait_until};

/// An origin whose first answer is free and whose later ones wait for the gate.
fn slow_from_the_second() -> (Origin, Gate) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/a", move |seen| {
        let answer = Script::ok(format!("answer {}", seen.nth));
        if seen.nth == 0 { answer } else { answer.when(&wait) }
    });
    (origin, gate)
}

#[tokio::test]
async fn while_revalidating_the_stale_answer_is_served_at_once() {
    let (origin, gate) = slow_from_the_second();
    let proxy =
        Proxy::start(&origin, &cache("mode = 'force', ttl = '1s', stale_while_revalidate = '1h'")).await;
    assert_eq!(proxy.get("/a").await.text(), "answer 0");
    wait_until("it is stale and being fetched", || async {
        assert_eq!(proxy.get("/a").await.text(), "answer 0");
        origin.count("/a") == 2
    })
    .await;
    // The origin holds the second answer back: these can only be the stale one.
    let address = proxy.address;
    let stale = concurrently(20, move |_| async move {
        crate::harness::request("GET /a").send(address).await.text().to_owned()
    })
    .await;
    assert!(stale.iter().all(|text| text == "answer 0"));
    assert_eq!(origin.count("/a"), 2);
    gate.open();
    wait_until("the fresh one is there", || async { proxy.get("/a").await.text() != "answer 0" }).await;
    assert!(proxy.metric("forebay_cache_requests_total", &["result=\"stale\""]).await >= 20.0);
}

#[tokio::test]
async fn while_revalidating_one_asks_even_where_nobody_shares() {
    let (origin, gate) = slow_from_the_second();
    let config = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off',
        cache = { mode = 'force', ttl = '1s', stale_while_revalidate = '1h' } }]";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/a").await.text(), "answer 0");
    wait_until("it is stale and being fetched", || async {
        proxy.get("/a").await;
        origin.count("/a") == 2
    })
    .await;
    let address = proxy.address;
    concurrently(20, move |_| async move { crate::harness::request("GET /a").send(address).await }).await;
    gate.open();
    wait_until("the fresh one is there", || async { proxy.get("/a").await.text() == "answer 1" }).await;
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn beyond_the_stale_window_the_client_waits() {
    let (origin, gate) = slow_from_the_second();
    gate.open();
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1s'")).await;
    assert_eq!(proxy.get("/a").await.text(), "answer 0");
    wait_until("it is fetched anew", || async { proxy.get("/a").await.text() == "answer 1" }).await;
}

#[tokio::test]
async fn if_the_origin_fails_the_stale_answer_stands_in() {
    let failures = [
        ("500", Script::status(500)),
        ("503", Script::status(503)),
        ("closed", Script::nothing()),
        ("garbage", Script::raw("not HTTP at all\r\n\r\n")),
    ];
    for (what, failure) in failures {
        let origin = Origin::start();
        origin.on("/a", Script::ok("good"));
        let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1s', stale_if_error = '1h'")).await;
        assert_eq!(proxy.get("/a").await.text(), "good");
        origin.on("/a", failure);
        wait_until(&format!("the origin is asked in vain: {what}"), || async {
            let response = proxy.get("/a").await;
            assert_eq!((response.status(), response.text()), (200, "good"), "{what}");
            origin.count("/a") > 1
        })
        .await;
    }
}

/// What the origin has read and not answered may have ended it. It is not asked again while there is a stale answer.
#[tokio::test]
async fn a_request_that_may_have_ended_the_origin_is_not_sent_again_where_a_stale_answer_serves() {
    let origin = Origin::start();
    origin.on_each("/a", |seen| match seen.nth {
        0 => Script::ok("old").field("Cache-Control", "max-age=60").field("Age", "61"),
        1 => Script::nothing(),
        _ => Script::status(500),
    });
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/a").await.text(), "old");
    let stale = proxy.get("/a").await;
    assert_eq!((stale.status(), stale.text(), origin.count("/a")), (200, "old", 2));
    assert_eq!(origin.connections(), 1, "it was a kept connection, which may close at any time");
}

#[tokio::test]
async fn without_stale_if_error_the_failure_is_told() {
    let origin = Origin::start();
    origin.on("/a", Script::ok("good"));
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1s'")).await;
    assert_eq!(proxy.get("/a").await.text(), "good");
    origin.on("/a", Script::status(500).body("broken"));
    wait_until("the failure is told", || async { proxy.get("/a").await.status() == 500 }).await;
    origin.on("/a", Script::ok("better"));
    wait_until("a failure is not kept", || async { proxy.get("/a").await.status() == 200 }).await;
}

#[tokio::test]
async fn the_origins_own_stale_directives_count_under_standard() {
    let origin = Origin::start();
    origin.on("/a", Script::ok("good").field("Cache-Control", "max-age=1, stale-if-error=3600"));
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/a").await.text(), "good");
    origin.on("/a", Script::status(500));
    wait_until("the origin is asked in vain", || async {
        assert_eq!(proxy.get("/a").await.status(), 200);
        origin.count("/a") > 1
    })
    .await;
}
