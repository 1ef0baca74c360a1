//! Many requests, one fetch: followers get the leader's bytes, and never anybody else's.

mod boarding;
mod failing;
mod leaving;

use crate::harness::client::Request;
use crate::harness::{
    Connection, Gate, H2, Origin, Proxy, Script, concurrently, request, seconds, wait_until,
};

/// An origin that numbers its answers to `/slow`, each of which waits for the gate.
fn gated() -> (Origin, Gate) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/slow", move |seen| Script::ok(format!("answer {}", seen.nth)).when(&wait));
    (origin, gate)
}

/// An origin whose answers to `/slow` come at once but for their end, which waits for the gate: who has not joined before
/// the head came may do so then.
fn unfinished(status: u16) -> (Origin, Gate) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/slow", move |seen| {
        Script { status, ..Script::chunked() }.body(format!("answer {}", seen.nth)).wait(&wait)
    });
    (origin, gate)
}

/// Waits until this many requests have joined the fetch of another one.
async fn wait_collapsed(proxy: &Proxy, count: f64) {
    proxy.wait_for_metric("forebay_cache_requests_total", &["result=\"collapsed\""], count).await;
}

/// A forebay of one thread: whoever is inside has joined its flight before anything else happens.
async fn on_one_thread(origin: &Origin, config: &str) -> Proxy {
    Proxy::start(origin, &format!("listener.workers = 1\n{config}")).await
}

/// Waits until this many requests are inside forebay.
async fn wait_inside(proxy: &Proxy, count: f64) {
    proxy.wait_for_metric("forebay_requests_in_progress", &[], count).await;
}

#[tokio::test]
async fn a_thousand_requests_for_one_cold_resource_are_one_at_the_origin() {
    let (origin, gate) = unfinished(200);
    let proxy = Proxy::start(&origin, "").await;
    let address = proxy.address;
    let on_own_connections =
        tokio::spawn(concurrently(300, move |_| async move { request("GET /slow").send(address).await }));
    let streams = concurrently(7, move |_| async move {
        let client = H2::open(address).await;
        concurrently(100, move |_| {
            let client = client.clone();
            async move { client.get("/slow", &[]).await }
        })
        .await
    });
    let streams = tokio::spawn(streams);
    wait_collapsed(&proxy, 999.0).await;
    gate.open();
    let mut responses = on_own_connections.await.unwrap();
    responses.extend(streams.await.unwrap().into_iter().flatten());
    assert!(responses.iter().all(|response| response.text() == "answer 0"));
    let collapsed = responses.iter().filter(|response| response.cache_says("collapsed")).count();
    assert_eq!((origin.count("/slow"), collapsed), (1, 999));
    assert_eq!(proxy.metric("forebay_upstream_requests_saved_total", &["by=\"collapse\""]).await, 999.0);
}

#[tokio::test]
async fn followers_get_the_whole_answer_when_the_leader_leaves() {
    let origin = Origin::start();
    let (head, rest) = (Gate::closed(), Gate::closed());
    origin.on("/slow", Script::chunked().when(&head).body("first, ").wait(&rest).body("last"));
    let proxy = on_one_thread(&origin, "").await;
    let mut leader = Connection::open(proxy.address).await;
    leader.send(request("GET /slow").bytes()).await;
    wait_until("the leader is at the origin", || async { origin.active("/slow") == 1 }).await;
    let followers: Vec<_> = (0..5).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 6.0).await;
    head.open();
    leader.head("GET").await;
    drop(leader);
    wait_inside(&proxy, 5.0).await;
    rest.open();
    for follower in followers {
        assert_eq!(follower.await.unwrap().text(), "first, last");
    }
    assert!(!origin.only("/slow").abandoned);
}

#[tokio::test]
async fn a_late_joiner_gets_everything_from_the_first_byte() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::chunked().body("first, ").wait(&gate).body("last"));
    let proxy = Proxy::start(&origin, "").await;
    let mut early = Connection::open(proxy.address).await;
    early.send(request("GET /slow").bytes()).await;
    early.head("GET").await;
    assert_eq!(early.data().await.unwrap().unwrap(), b"first, ");
    let mut late = Connection::open(proxy.address).await;
    late.send(request("GET /slow").bytes()).await;
    late.head("GET").await;
    assert_eq!(late.data().await.unwrap().unwrap(), b"first, ");
    gate.open();
    for mut connection in [early, late] {
        assert_eq!(connection.data().await.unwrap().unwrap(), b"last");
        assert_eq!(connection.data().await.unwrap(), None);
    }
    assert_eq!(origin.count("/slow"), 1);
}

/// Sends the requests side by side; how many of them reach the origin.
async fn flights_of(config: &str, requests: &[Request]) -> usize {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, config).await;
    let begun: Vec<_> = requests.iter().map(|request| proxy.begin(request)).collect();
    proxy.wait_for_metric("forebay_requests_in_progress", &[], requests.len() as f64).await;
    // Those that may share are waiting for one another; those that may not are on their way.
    let (mut count, mut settled) = (0, 0);
    wait_until("no more of them arrive", || async { origin.active("*") >= 1 }).await;
    while settled < 20 {
        tokio::time::sleep(seconds(0.01)).await;
        settled = if origin.count("*") == count { settled + 1 } else { 0 };
        count = origin.count("*");
    }
    gate.open();
    for one in begun {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    origin.count("*")
}

#[tokio::test]
async fn different_identities_never_share() {
    for name in ["Authorization", "Cookie", "X-Api-Key"] {
        let ask = |user: &str| request("GET /slow").field(name, user);
        let requests = [ask("one"), ask("one"), ask("two"), ask("two"), request("GET /slow")];
        assert_eq!(flights_of("", &requests).await, 3, "{name}");
    }
}

#[tokio::test]
async fn shared_says_that_identity_does_not_matter_and_off_that_nobody_shares() {
    let ask = |user: &str| request("GET /slow").field("Cookie", user);
    let requests = [ask("one"), ask("two"), request("GET /slow")];
    let config = |collapse: &str| {
        format!("routes = [{{ name = 'all', match = '/{{*rest}}', collapse = '{collapse}' }}]")
    };
    assert_eq!(flights_of(&config("shared"), &requests).await, 1);
    assert_eq!(flights_of(&config("off"), &[request("GET /slow"), request("GET /slow")]).await, 2);
}

#[tokio::test]
async fn what_cannot_be_shared_is_not_collapsed() {
    let requests = [
        request("GET /slow").body("query"),
        request("GET /slow").body("query"),
        request("GET /slow").field("Range", "bytes=0-3"),
        request("GET /slow").field("Range", "bytes=0-3"),
        request("POST /slow"),
        request("POST /slow"),
    ];
    assert_eq!(flights_of("", &requests).await, 6);
}

#[tokio::test]
async fn an_answer_for_one_releases_its_followers_together_and_is_remembered() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let wait = gate.clone();
    origin.on_each("/slow", move |seen| {
        Script::ok(format!("answer {}", seen.nth)).field("Set-Cookie", "session=1").when(&wait)
    });
    let proxy = on_one_thread(&origin, "").await;
    let first: Vec<_> = (0..10).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 10.0).await;
    wait_until("one asks for all", || async { origin.count("/slow") == 1 }).await;
    gate.open();
    let mut texts = Vec::new();
    for one in first {
        texts.push(one.await.unwrap().text().to_owned());
    }
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), origin.count("/slow")), (10, 10), "each got an answer of its own");

    let second = Gate::closed();
    let wait = second.clone();
    origin.on_each("/slow", move |_| Script::ok("").field("Set-Cookie", "session=2").when(&wait));
    let next: Vec<_> = (0..10).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_until("nobody queues behind it again", || async { origin.active("/slow") == 10 }).await;
    second.open();
    for one in next {
        assert_eq!(one.await.unwrap().status(), 200);
    }
}

/// What four requests get that ask at once, and are answered with this field.
async fn answers_with(field: (&'static str, &'static str), request: Request) -> Vec<String> {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/slow", move |seen| {
        Script::ok(format!("answer {}", seen.nth)).field(field.0, field.1).when(&wait)
    });
    let proxy = on_one_thread(&origin, "").await;
    let all: Vec<_> = (0..4).map(|_| proxy.begin(&request)).collect();
    wait_inside(&proxy, 4.0).await;
    gate.open();
    let mut texts = Vec::new();
    for one in all {
        texts.push(one.await.unwrap().text().to_owned());
    }
    texts.sort();
    texts
}

#[tokio::test]
async fn a_private_answer_is_for_one() {
    let (anonymous, known) = (request("GET /slow"), request("GET /slow").field("Authorization", "Basic a"));
    let each = ["answer 0", "answer 1", "answer 2", "answer 3"];
    let private = ("Cache-Control", "private");
    assert_eq!(answers_with(private, anonymous).await, each);
    assert_eq!(answers_with(private, known).await, ["answer 0"; 4], "they are one");
}

#[tokio::test]
async fn an_answer_that_sets_a_cookie_is_for_one_request() {
    for asked in [request("GET /slow"), request("GET /slow").field("Authorization", "Basic a")] {
        let texts = answers_with(("Set-Cookie", "session=1"), asked).await;
        assert_eq!(texts, ["answer 0", "answer 1", "answer 2", "answer 3"]);
    }
}

#[tokio::test]
async fn a_fault_of_the_leader_is_its_own_and_not_remembered() {
    for status in [400, 401, 403, 429] {
        let (origin, gate) = (Origin::start(), Gate::closed());
        let wait = gate.clone();
        origin.on_each("/slow", move |seen| match seen.nth {
            0 => Script::status(status).when(&wait),
            nth => Script::ok(format!("answer {nth}")),
        });
        let proxy = on_one_thread(&origin, "").await;
        let all: Vec<_> = (0..3).map(|_| proxy.begin(&request("GET /slow"))).collect();
        wait_inside(&proxy, 3.0).await;
        gate.open();
        let mut statuses = Vec::new();
        for one in all {
            statuses.push(one.await.unwrap().status());
        }
        statuses.sort_unstable();
        assert_eq!((statuses, origin.count("/slow")), (vec![200, 200, status], 3));

        wait_inside(&proxy, 0.0).await;
        let second = Gate::closed();
        let wait = second.clone();
        origin.on_each("/slow", move |_| Script::ok("").when(&wait));
        let next: Vec<_> = (0..3).map(|_| proxy.begin(&request("GET /slow"))).collect();
        wait_inside(&proxy, 3.0).await;
        second.open();
        for one in next {
            assert_eq!(one.await.unwrap().status(), 200);
        }
        assert_eq!(origin.count("/slow"), 4);
    }
}

#[tokio::test]
async fn what_is_missing_is_missing_for_everybody() {
    for status in [404, 410, 500, 301] {
        let (origin, gate) = unfinished(status);
        let proxy = Proxy::start(&origin, "upstreams.origin.retries = 0").await;
        let all: Vec<_> = (0..3).map(|_| proxy.begin(&request("GET /slow"))).collect();
        wait_collapsed(&proxy, 2.0).await;
        gate.open();
        for one in all {
            assert_eq!(one.await.unwrap().status(), status);
        }
        assert_eq!(origin.count("/slow"), 1, "{status}");
    }
}

#[tokio::test]
async fn released_followers_go_through_the_pool() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/slow", move |_| {
        Script::ok("").field("Set-Cookie", "a=1").when(&wait).after(seconds(0.02))
    });
    let config = "
        in_flight.scans = { max = 2, queue = { size = 50, timeout = '60s' } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans' }]";
    let proxy = on_one_thread(&origin, config).await;
    let all: Vec<_> = (0..20).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 20.0).await;
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!((origin.count("/slow"), origin.most_at_once("/slow")), (20, 2));
}

#[tokio::test]
async fn followers_hold_no_permit() {
    let (origin, gate) = gated();
    let config = "
        in_flight.scans = { max = 1 }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans' }]";
    let proxy = on_one_thread(&origin, config).await;
    let all: Vec<_> = (0..10).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 10.0).await;
    assert_eq!(proxy.metric("forebay_in_flight", &["pool=\"scans\""]).await, 1.0);
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().text(), "answer 0");
    }
}

#[tokio::test]
async fn the_time_in_the_queue_is_not_the_upstreams() {
    let origin = Origin::start();
    origin.on("/slow", Script::ok("").after(seconds(1.0)));
    for (path, field) in [("/shared", "public"), ("/own", "private")] {
        origin.on(path, Script::ok("").field("Cache-Control", field));
    }
    let config = "
        in_flight.scans = { max = 1, queue = { size = 9, timeout = '60s' } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans', server_timing = true }]";
    let proxy = Proxy::start(&origin, config).await;
    let first = proxy.begin(&request("GET /slow"));
    wait_until("the pool is full", || async { origin.active("/slow") == 1 }).await;
    let queued = ["GET /shared", "GET /own"].map(|line| proxy.begin(&request(line)));
    first.await.unwrap();
    for one in queued {
        let response = one.await.unwrap();
        let timing = response.must("server-timing");
        let times: Vec<f64> =
            timing.split(", ").filter_map(|entry| entry.split_once("dur=")?.1.parse().ok()).collect();
        assert!(times[0] >= 500.0 && times[1] < 500.0, "{timing}");
    }
}

#[tokio::test]
async fn a_failed_flight_starts_no_herd() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("/slow", Script::nothing().when(&gate));
    let config = "upstreams.origin.retries = 0";
    let proxy = on_one_thread(&origin, config).await;
    let all: Vec<_> = (0..50).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 50.0).await;
    gate.open();
    for one in all {
        one.await.unwrap().assert_problem(502);
    }
    assert!(origin.count("/slow") <= 2, "{} requests for one failure", origin.count("/slow"));
}

#[tokio::test]
async fn a_flight_that_breaks_off_looks_broken_to_every_follower() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("/slow", Script::chunked().body("half").wait(&gate).reset());
    let proxy = on_one_thread(&origin, "").await;
    let all: Vec<_> = (0..5).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 5.0).await;
    gate.open();
    for one in all {
        let response = one.await.unwrap();
        assert!(response.cut_short.is_some() || response.status() == 502, "{response:?}");
    }
    assert_eq!(origin.count("/slow"), 1);
}

#[tokio::test]
async fn a_reader_that_stalls_is_cut_and_delays_nobody_for_long() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/large", Script::chunked().when(&gate).repeat(vec![b'x'; 65536], 320));
    let proxy = Proxy::start(&origin, "upstreams.origin.body_timeout = '1s'").await;
    let mut stalled = Connection::open(proxy.address).await;
    stalled.send(request("GET /large").bytes()).await;
    wait_until("it leads", || async { origin.active("/large") == 1 }).await;
    let quick = proxy.begin(&request("GET /large"));
    wait_inside(&proxy, 2.0).await;
    gate.open();
    let response = quick.await.unwrap();
    assert_eq!((response.body.len(), response.cut_short), (320 * 65536, None));
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_ends_though_the_origin_says_nothing() {
    let origin = Origin::start();
    origin.on("/slow", Script::chunked().body("half").hang());
    let proxy = Proxy::start(&origin, "upstreams.origin.body_timeout = '60s'").await;
    let mut only = Connection::open(proxy.address).await;
    only.send(request("GET /slow").bytes()).await;
    only.head("GET").await;
    drop(only);
    wait_until("the origin is let go", || async { origin.active("/slow") == 0 }).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_no_failure_of_ours() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, "").await;
    let mut only = Connection::open(proxy.address).await;
    only.send(request("GET /slow").bytes()).await;
    wait_until("it is at the origin", || async { origin.active("/slow") == 1 }).await;
    drop(only);
    proxy.wait_for_metric("forebay_requests_total", &["status=\"499\""], 1.0).await;
    gate.open();
}
