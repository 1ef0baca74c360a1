//! Starts that are the same: one is made, all who asked for it get its answer, and nobody else does.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::client::Request;
use crate::harness::{Connection, Gate, Origin, Proxy, Script, request, seconds, wait_until};

const BY_BODY: &str = "dedupe = { by = 'body', window = '60s' }";
const BY_KEY: &str = "dedupe = { by = 'header:Idempotency-Key', window = '60s' }";

fn config(dedupe: &str) -> String {
    format!(
        "listener.trusted_proxies = ['127.0.0.1/32']
        [[routes]]
        name = 'all'
        match = '/{{*rest}}'
        {dedupe}"
    )
}

/// An origin whose answers are numbered.
fn numbered() -> Origin {
    let origin = Origin::start();
    let number = AtomicUsize::new(0);
    origin.on_each("*", move |_| Script::ok(format!("scan {}", number.fetch_add(1, Ordering::SeqCst) + 1)));
    origin
}

fn start(user: &str, body: &str) -> Request {
    request("POST /scan").field("Authorization", user).body(body)
}

fn keyed(key: &str, body: &str) -> Request {
    start("ann", body).field("Idempotency-Key", key)
}

async fn count(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric("forebay_dedupe_requests_total", &[&*format!("result=\"{result}\"")]).await
}

#[tokio::test]
async fn two_clicks_are_one_start_and_both_get_its_answer() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("/scan", Script::ok("scan 1").field("x-job", "1").when(&gate));
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    let clicks = [proxy.begin(&start("ann", "{}")), proxy.begin(&start("ann", "{}"))];
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    gate.open();
    for click in clicks {
        let answer = click.await.unwrap();
        assert_eq!((answer.status(), answer.text(), answer.must("x-job")), (200, "scan 1", "1"));
    }
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 1");
    assert_eq!(origin.count("*"), 1);
    assert_eq!(origin.only("*").body_start, b"{}");
    assert_eq!(proxy.metric("forebay_upstream_requests_saved_total", &["by=\"dedupe\""]).await, 2.0);
}

#[tokio::test]
async fn other_bodies_other_users_and_other_addresses_start_their_own() {
    let origin = numbered();
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    let from = |address: &str| request("POST /scan").field("X-Forwarded-For", address).body("{}");
    let requests =
        [start("ann", "{}"), start("ann", "[]"), start("bob", "{}"), from("192.0.2.1"), from("192.0.2.2")];
    for (nth, request) in requests.iter().enumerate() {
        assert_eq!(proxy.send(request).await.text(), format!("scan {}", nth + 1));
    }
    for (nth, request) in requests.iter().enumerate() {
        assert_eq!(proxy.send(request).await.text(), format!("scan {}", nth + 1), "and get it again");
    }
    assert_eq!(origin.count("*"), 5);
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let origin = numbered();
    let proxy = Proxy::start(&origin, &config(BY_KEY)).await;
    assert_eq!(proxy.send(&keyed("k1", "{}")).await.text(), "scan 1");
    assert_eq!(proxy.send(&keyed("k1", "{}")).await.text(), "scan 1");
    proxy.send(&keyed("k1", "[]")).await.assert_problem(422);
    assert_eq!(proxy.send(&keyed("k2", "{}")).await.text(), "scan 2");
    // Without a key nothing is compared.
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 3");
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 4");
    assert_eq!((count(&proxy, "refused").await, count(&proxy, "skipped").await), (1.0, 2.0));
}

#[tokio::test]
async fn the_first_client_may_leave_and_come_back_for_the_answer() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("/scan", Script::ok("scan 1").when(&gate));
    let proxy = Proxy::start(&origin, &config(BY_KEY)).await;
    let mut first = Connection::open(proxy.address).await;
    first.send(keyed("k1", "{}").bytes()).await;
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    drop(first);
    let again = proxy.begin(&keyed("k1", "{}"));
    wait_until("it waits", || async {
        proxy.metric("forebay_requests_in_progress", &["route=\"all\""]).await == 1.0
    })
    .await;
    gate.open();
    assert_eq!(again.await.unwrap().text(), "scan 1");
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn what_is_queued_and_wanted_by_nobody_is_never_sent() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("*", Script::ok("done").when(&gate));
    let text = format!(
        "in_flight.one = {{ max = 1, queue = {{ size = 9, timeout = '60s' }} }}\n{}",
        config("in_flight = 'one'\ndedupe = { by = 'body' }")
    );
    let proxy = Proxy::start(&origin, &text).await;
    let running = proxy.begin(&start("ann", "first"));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    let mut leaving = Connection::open(proxy.address).await;
    leaving.send(start("ann", "second").bytes()).await;
    proxy.wait_for_metric("forebay_queue_depth", &[], 1.0).await;
    drop(leaving);
    proxy.wait_for_metric("forebay_queue_depth", &[], 0.0).await;
    gate.open();
    assert_eq!(running.await.unwrap().status(), 200);
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn errors_are_not_repeated() {
    let origin = Origin::start();
    let tries = AtomicUsize::new(0);
    origin.on_each("*", move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Script::status(500),
        1 => Script::nothing(),
        _ => Script::ok("at last"),
    });
    let proxy = Proxy::start(&origin, &config(BY_KEY)).await;
    for expected in [500, 502, 200, 200] {
        assert_eq!(proxy.send(&keyed("k1", "{}")).await.status(), expected);
    }
    assert_eq!(origin.count("*"), 3);
}

#[tokio::test]
async fn a_start_that_is_not_answered_in_time_is_not_made_again_while_it_runs() {
    for dedupe in [BY_KEY, BY_BODY] {
        let (origin, gate) = (Origin::start(), Gate::closed());
        origin.on("/scan", Script::ok("scan 1").when(&gate));
        let text = format!("upstreams.origin.first_byte_timeout = '300ms'\n{}", config(dedupe));
        let proxy = Proxy::start(&origin, &text).await;
        for _ in 0..3 {
            proxy.send(&keyed("k1", "{}")).await.assert_problem(504);
        }
        assert_eq!((origin.count("*"), origin.active("*")), (1, 1), "{dedupe}");
        gate.open();
        wait_until("the next is made", || async { proxy.send(&keyed("k1", "{}")).await.status() == 200 })
            .await;
        assert_eq!(origin.count("*"), 2, "{dedupe}");
    }
}

#[tokio::test]
async fn who_shares_is_charged_nothing_and_needs_no_permit() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("*", Script::ok("done").when(&gate));
    let text = format!(
        "rate_limits.starts = {{ key = 'global', rates = ['1/hour'] }}\nin_flight.one = {{ max = 1 }}\n{}",
        config(&format!("rate_limits = ['starts']\nin_flight = 'one'\n{BY_BODY}"))
    );
    let proxy = Proxy::start(&origin, &text).await;
    let clicks = [0; 5].map(|_| proxy.begin(&start("ann", "{}")));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    gate.open();
    for click in clicks {
        assert_eq!(click.await.unwrap().status(), 200);
    }
    assert_eq!(proxy.send(&start("ann", "{}")).await.status(), 200);
    proxy.send(&start("ann", "another")).await.assert_problem(429);
    assert_eq!(origin.count("*"), 1);
    assert_eq!(proxy.metric("forebay_in_flight", &[]).await, 0.0);
}

#[tokio::test]
async fn what_is_personal_goes_to_nobody_else_behind_the_same_address() {
    let origin = Origin::start();
    origin.on("/cookie", Script::ok("yours").field("set-cookie", "sid=1"));
    origin.on("/private", Script::ok("yours").field("cache-control", "private"));
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    for path in ["/cookie", "/private"] {
        let anonymous = request(&format!("POST {path}")).body("{}");
        let known = request(&format!("POST {path}")).field("Authorization", "ann").body("{}");
        for request in [&anonymous, &anonymous, &known, &known] {
            assert_eq!(proxy.send(request).await.text(), "yours");
        }
        assert_eq!(origin.count(path), 3, "{path}: each anonymous one, and one of the known");
    }
}

#[tokio::test]
async fn what_is_too_large_to_keep_is_the_first_clients_and_its_key_stays_in_use() {
    let origin = Origin::start();
    let large = "x".repeat(3 << 20);
    origin.on("/length", Script::ok(large.clone()));
    origin.on("/chunked", Script::chunked().body(large.clone()));
    let proxy = Proxy::start(&origin, &config(BY_KEY)).await;
    for path in ["/length", "/chunked"] {
        let keyed = request(&format!("POST {path}")).field("Idempotency-Key", "k").body("{}");
        assert_eq!(proxy.send(&keyed).await.text().len(), large.len());
        proxy.send(&keyed).await.assert_problem(409);
        assert_eq!(origin.count(path), 1);
    }
    let upload = keyed("k9", &"x".repeat(2 << 20));
    for _ in 0..2 {
        assert_eq!(proxy.send(&upload).await.status(), 200);
    }
    assert_eq!(origin.count("/scan"), 2, "too large to compare");
}

#[tokio::test]
async fn bodies_that_do_not_come_take_no_more_than_their_room_and_hold_nobody_up() {
    let origin = numbered();
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    let mut slow = Vec::new();
    for number in 0..64 {
        let mut connection = Connection::open(proxy.address).await;
        let head = format!("POST /slow/{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
        connection.send(head).await;
        slow.push(connection);
    }
    proxy.wait_for_metric("forebay_requests_in_progress", &["route=\"all\""], 64.0).await;
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 1");
    assert_eq!(count(&proxy, "skipped").await, 1.0);
    drop(slow);
    proxy.wait_for_metric("forebay_requests_in_progress", &["route=\"all\""], 0.0).await;
    for _ in 0..2 {
        assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 2");
    }
}

#[tokio::test]
async fn an_answer_is_forgotten_after_its_window() {
    let origin = numbered();
    let proxy = Proxy::start(&origin, &config("dedupe = { by = 'body', window = '300ms' }")).await;
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 1");
    tokio::time::sleep(seconds(0.35)).await;
    assert_eq!(proxy.send(&start("ann", "{}")).await.text(), "scan 2");
}

#[tokio::test]
async fn observing_counts_and_shares_nothing() {
    let origin = numbered();
    let observe = "dedupe = { by = 'header:Idempotency-Key', window = '60s', mode = 'observe' }";
    let proxy = Proxy::start(&origin, &config(observe)).await;
    for body in ["{}", "{}", "[]"] {
        assert_eq!(proxy.send(&keyed("k1", body)).await.status(), 200);
    }
    assert_eq!(origin.count("*"), 3);
    assert_eq!((count(&proxy, "would_share").await, count(&proxy, "would_refuse").await), (1.0, 1.0));
    assert_eq!(proxy.metric("forebay_upstream_requests_saved_total", &["by=\"dedupe\""]).await, 0.0);
}

#[tokio::test]
async fn a_reload_forgets_no_start() {
    let (origin, gate) = (numbered(), Gate::closed());
    origin.on("/slow", Script::ok("the slow one").when(&gate));
    let proxy = Proxy::start(&origin, &config(BY_KEY)).await;
    let slow = request("POST /slow").field("Idempotency-Key", "k2").body("{}");
    assert_eq!(proxy.send(&keyed("k1", "{}")).await.text(), "scan 1");
    let running = proxy.begin(&slow);
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    proxy.rewrite(&format!("{}\nserver_timing = true", config(BY_KEY)));
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    let again = proxy.begin(&slow);
    wait_until("it waits", || async {
        proxy.metric("forebay_requests_in_progress", &["route=\"all\""]).await == 2.0
    })
    .await;
    assert_eq!(proxy.send(&keyed("k1", "{}")).await.text(), "scan 1");
    proxy.send(&keyed("k1", "[]")).await.assert_problem(422);
    gate.open();
    for answer in [running, again] {
        assert_eq!(answer.await.unwrap().text(), "the slow one");
    }
    assert_eq!((origin.count("/scan"), origin.count("/slow")), (1, 1));
}

#[tokio::test]
async fn a_request_for_another_method_in_disguise_shares_nothing() {
    let origin = numbered();
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    let disguised = start("ann", "{}").field("X-HTTP-Method-Override", "DELETE");
    let mut answers = Vec::new();
    for request in [&disguised, &disguised, &start("ann", "{}"), &disguised] {
        answers.push(proxy.send(request).await.text().to_owned());
    }
    assert_eq!(answers, ["scan 1", "scan 2", "scan 3", "scan 4"]);
}

/// The work for a body grows with its length, into however many crumbs it was cut.
#[tokio::test]
async fn an_answer_in_crumbs_costs_what_a_whole_one_does() {
    let origin = Origin::start();
    let crumbs = (0..60_000).fold(Script::chunked(), |script, _| script.body("x"));
    origin.on("*", crumbs);
    let proxy = Proxy::start(&origin, &config(BY_BODY)).await;
    let answer = tokio::time::timeout(seconds(20.0), proxy.send(&start("ann", "{}"))).await.unwrap();
    assert_eq!(answer.body.len(), 60_000);
}
