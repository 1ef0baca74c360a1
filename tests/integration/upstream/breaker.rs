//! The breaker: a server that fails again and again is left alone for a while.

use super::assert_proxy_error;
use crate::harness::origin::dead_address;
use crate::harness::{Connection, Gate, Origin, Proxy, Script, concurrently, request, seconds, wait_until};

const ROUTE: &str = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off' }]";

fn breaker(open: &str) -> String {
    format!("upstreams.origin.breaker = {{ failures = 3, open = '{open}' }}\n{ROUTE}")
}

#[tokio::test]
async fn so_many_failures_in_a_row_take_a_server_out_and_one_request_brings_it_back() {
    let origin = Origin::start();
    origin.on("*", Script::status(503));
    let proxy = Proxy::start(&origin, &breaker("1s")).await;
    for path in ["/1", "/2", "/3"] {
        assert!(proxy.get(path).await.field("proxy-status").is_none(), "the origin's own answer");
    }
    let refused = proxy.get("/4").await;
    assert_proxy_error(&refused, 503, "destination_unavailable");
    assert!(refused.must("retry-after").parse::<u32>().unwrap() <= 2);
    proxy.send(&request("POST /5").body("x")).await.assert_problem(503);
    assert_eq!(origin.count("*"), 3);
    assert_eq!(
        proxy.admin_get("/api/pool/stats").await.json()["upstreams"][0]["servers"][0]["state"],
        "open"
    );

    let gate = Gate::closed();
    origin.on("*", Script::ok("back").when(&gate));
    proxy.wait_for_metric("forebay_upstream_healthy", &[], 0.0).await;
    wait_until("the breaker's time is over", || async { proxy.admin_get("/readyz").await.status() == 200 })
        .await;
    let trying = proxy.begin(&request("GET /try"));
    wait_until("one request tries", || async { origin.active("/try") == 1 }).await;
    let address = proxy.address;
    let others =
        concurrently(10, move |_| async move { request("GET /herd").send(address).await.status() }).await;
    assert_eq!((others, origin.count("/herd")), (vec![503; 10], 0));
    gate.open();
    assert_eq!(trying.await.unwrap().text(), "back");
    assert_eq!(proxy.get("/after").await.text(), "back");
    for to in ["open", "half_open", "closed"] {
        let labels = [&*format!("to=\"{to}\"")];
        assert_eq!(proxy.metric("forebay_upstream_breaker_transitions_total", &labels).await, 1.0, "{to}");
    }
}

#[tokio::test]
async fn uploads_that_clients_break_off_say_nothing_of_the_server() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &breaker("60s")).await;
    for number in 1..=4 {
        let mut connection = Connection::open(proxy.address).await;
        connection.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello").await;
        wait_until("it has reached the origin", || async { origin.count("/up") == number }).await;
        drop(connection);
        wait_until("it is over", || async { origin.active("/up") == 0 }).await;
    }
    wait_until("all are judged", || async {
        proxy.admin_get("/api/pool/stats").await.json()["upstreams"][0]["servers"][0]["failures"] == 4
    })
    .await;
    assert_eq!(proxy.get("/fine").await.status(), 200);
}

#[tokio::test]
async fn a_try_that_fails_keeps_the_server_out() {
    let origin = Origin::start();
    origin.on("*", Script::status(500 + 2));
    let proxy = Proxy::start(&origin, &breaker("500ms")).await;
    let tried = |count: usize| {
        let (proxy, origin) = (&proxy, &origin);
        async move {
            proxy.get("/").await;
            origin.count("*") >= count
        }
    };
    wait_until("it was tried and found wanting", || tried(6)).await;
    assert!(proxy.metric("forebay_upstream_breaker_transitions_total", &["to=\"open\""]).await >= 3.0);
    assert_eq!(proxy.metric("forebay_upstream_breaker_transitions_total", &["to=\"closed\""]).await, 0.0);
}

#[tokio::test]
async fn refused_connections_resets_and_timeouts_count_and_answers_do_not() {
    let origin = Origin::start();
    origin.on("/reset", Script::nothing());
    origin.on("/late", Script::ok("").after(seconds(60.0)));
    origin.on("/500", Script::status(500));
    origin.on("/504", Script::status(504));
    for (path, is_counted) in
        [("/reset", true), ("/late", true), ("/504", true), ("/500", false), ("/fine", false)]
    {
        let config = breaker("60s") + "\nupstreams.origin.first_byte_timeout = '200ms'";
        let proxy = Proxy::start(&origin, &config.replace("\nroutes", "\n#")).await;
        for _ in 0..3 {
            proxy.get(path).await;
        }
        let expected = if is_counted { 503 } else { 200 };
        assert_eq!(proxy.get("/fine").await.status(), expected, "{path}");
    }
    let proxy = Proxy::before(dead_address(), &breaker("60s")).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status(), 502);
    }
    assert_proxy_error(&proxy.get("/").await, 503, "destination_unavailable");
}

#[tokio::test]
async fn without_a_breaker_every_request_is_sent() {
    let origin = Origin::start();
    origin.on("*", Script::status(503));
    let proxy = Proxy::start(&origin, ROUTE).await;
    for number in 1..=20 {
        proxy.get("/").await;
        assert_eq!(origin.count("*"), number);
    }
}

#[tokio::test]
async fn with_all_servers_out_a_stale_answer_serves_where_it_may_and_nobody_waits_in_a_queue() {
    let mut origin = Origin::start();
    origin.on("/stored", Script::ok("stored"));
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("").when(&gate));
    let config = "
        upstreams.origin.breaker = { failures = 3, open = '60s' }
        in_flight.one = { max = 1, queue = { size = 10, timeout = '60s' } }
        [[routes]]
        name = 'stored'
        match = '/stored'
        in_flight = 'one'
        cache = { mode = 'force', ttl = '1ms', stale_if_error = '1h' }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        in_flight = 'one'";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/stored").await.text(), "stored");
    origin.stop();
    for _ in 0..3 {
        assert_eq!(proxy.get("/gone").await.status(), 502);
    }
    for _ in 0..3 {
        let stale = proxy.get("/stored").await;
        assert_eq!((stale.status(), stale.text()), (200, "stored"));
        assert!(stale.must("cache-status").contains("stale-if-error"), "{stale:?}");
        assert_proxy_error(&proxy.get("/gone").await, 503, "destination_unavailable");
    }
}

#[tokio::test]
async fn others_do_the_work_of_a_server_that_is_out_and_it_comes_back_slowly() {
    let (well, ill) = (Origin::start(), Origin::start());
    ill.on("*", Script::status(503));
    let config = format!(
        "upstreams.two = {{ servers = ['http://{}', 'http://{}'], balance = 'round_robin', \
         breaker = {{ failures = 3, open = '1s' }} }}\n{ROUTE}",
        well.address(),
        ill.address()
    );
    let proxy = Proxy::start(&well, &config).await;
    wait_until("the ill one is out", || async {
        proxy.get("/").await;
        ill.count("*") == 3
    })
    .await;
    ill.on("*", Script::ok(""));
    for _ in 0..5 {
        assert_eq!(proxy.get("/meanwhile").await.status(), 200);
    }
    wait_until("it is tried", || async {
        assert_eq!(proxy.get("/").await.status(), 200);
        ill.count("*") > 3
    })
    .await;
    let before = (well.count("*"), ill.count("*"));
    for _ in 0..40 {
        assert_eq!(proxy.get("/").await.status(), 200);
    }
    let (well, ill) = (well.count("*") - before.0, ill.count("*") - before.1);
    assert!(ill * 2 < well, "{ill} of {} requests right after the return", well + ill);
}
