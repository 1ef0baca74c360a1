//! When the origin misbehaves: a clear answer in time, no byte of doubt, and no POST sent twice.

mod balance;
mod breaker;
mod health;
mod http2;
mod places;
mod restarts;
mod tls;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::origin::dead_address;
use crate::harness::{
    Connection, Gate, Origin, Proxy, Script, concurrently, request, seconds, wait_until, within,
};

/// A refusal with this status and an RFC 9209 error token in `Proxy-Status`.
fn assert_proxy_error(response: &crate::harness::Response, status: u16, error: &str) {
    response.assert_problem(status);
    let reason = response.must("proxy-status");
    assert!(reason.starts_with("forebay") && reason.contains(&format!("error={error}")), "{reason}");
}

#[tokio::test]
async fn nobody_listening_is_502() {
    let proxy = Proxy::before(dead_address(), "").await;
    assert_proxy_error(&proxy.get("/").await, 502, "connection_refused");
    assert_eq!(proxy.metric("forebay_upstream_requests_total", &["status=\"error\""]).await, 1.0);
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_502() {
    let origin = Origin::start();
    for (path, bytes) in [
        ("/garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("/status", "HTTP/1.1 abc OK\r\n\r\n"),
        ("/lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        ("/length", "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        ("/coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc"),
        (
            "/both",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        ("/twice", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        ("/list", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
        ("/bodiless", "HTTP/1.1 304 Not Modified\r\nContent-Length: three\r\n\r\n"),
        ("/half", "HTTP/1.1 200 OK\r\nContent-Le"),
    ] {
        origin.on(path, Script::raw(bytes));
    }
    let proxy = Proxy::start(&origin, "").await;
    let paths =
        ["/garbage", "/status", "/lengths", "/length", "/coding", "/both", "/twice", "/list", "/bodiless"];
    for path in paths.into_iter().chain(["/half"]) {
        let response = proxy.get(path).await;
        assert!(response.status() == 502 && response.field("proxy-status").is_some(), "{path}: {response:?}");
    }
    assert_eq!(proxy.get("/fine").await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_does_not_begin_is_504_in_time() {
    let origin = Origin::start();
    origin.on("/late", Script::ok("").after(seconds(60.0)));
    let proxy = Proxy::start(&origin, "upstreams.origin.first_byte_timeout = '500ms'").await;
    let response = proxy.get("/late").await;
    assert_proxy_error(&response, 504, "http_response_timeout");
    assert!(response.took >= seconds(0.45) && response.took < seconds(15.0), "{:?}", response.took);
    wait_until("the origin is let go", || async { origin.active("*") == 0 }).await;
    assert_eq!(origin.count("/late"), 1, "a timeout is not retried");
}

#[tokio::test]
async fn the_timeout_of_a_route_is_for_the_whole_exchange() {
    let origin = Origin::start();
    let dripping = (0..100).fold(Script::chunked(), |script, _| script.body("drop").pause(seconds(0.2)));
    origin.on("/drip", dripping);
    origin.on("/late", Script::ok("").after(seconds(60.0)));
    let proxy =
        Proxy::start(&origin, "routes = [{ name = 'all', match = '/{*rest}', timeout = '1s' }]").await;
    assert_eq!(proxy.get("/late").await.status(), 504);
    let response = proxy.get("/drip").await;
    assert!(response.cut_short.is_some() && response.took < seconds(15.0), "{response:?}");
    wait_until("the origin is let go", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn a_pause_between_chunks_has_its_own_deadline() {
    let origin = Origin::start();
    origin.on("/stuck", Script::chunked().body("first").hang());
    let proxy = Proxy::start(&origin, "upstreams.origin.body_timeout = '500ms'").await;
    let response = proxy.get("/stuck").await;
    assert_eq!((response.status(), response.body.as_slice()), (200, b"first".as_slice()));
    assert!(response.cut_short.is_some());
}

#[tokio::test]
async fn truncation_is_visible_in_every_framing() {
    let origin = Origin::start();
    let gates = [(); 4].map(|()| Gate::closed());
    origin.on("/length", Script::status(200).body("half").wait(&gates[0]).cut());
    origin.on("/reset", Script::status(200).body("half").wait(&gates[1]).reset());
    origin.on("/chunked", Script::chunked().body("half").wait(&gates[2]).cut());
    origin.on("/bad-chunk", Script::chunked().body("half").wait(&gates[3]).bad_chunk());
    let proxy = Proxy::start(&origin, "").await;
    for (path, gate) in ["/length", "/reset", "/chunked", "/bad-chunk"].iter().zip(&gates) {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(request(&format!("GET {path}")).bytes()).await;
        assert_eq!(connection.head("GET").await.status(), 200, "{path}");
        assert_eq!(connection.data().await.unwrap().unwrap(), b"half", "{path}");
        gate.open();
        assert!(connection.data().await.is_err(), "{path} looks whole");
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for number in 0..20 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status(), 200);
    }
    assert!(origin.seen("*").iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn an_origin_that_says_close_is_believed() {
    let origin = Origin::start();
    origin.on("*", Script::ok("last").closing());
    let proxy = Proxy::start(&origin, "").await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(proxy.send(&request(&format!("POST {path}"))).await.text(), "last");
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn an_idle_connection_is_given_up_after_its_timeout() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "upstreams.origin.idle_timeout = '500ms'").await;
    proxy.get("/1").await;
    proxy.wait_for_metric("forebay_upstream_connections", &["state=\"idle\""], 0.0).await;
    proxy.get("/2").await;
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_old_connection_is_recycled() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "upstreams.origin = { max_age = '1s', idle_timeout = '60s' }").await;
    proxy.get("/first").await;
    wait_until("another connection is opened", || async {
        proxy.get("/again").await;
        origin.connections() >= 2
    })
    .await;
}

#[tokio::test]
async fn a_stale_connection_costs_a_get_one_retry_that_nobody_sees() {
    let origin = Origin::start();
    origin.close_connections_after(1);
    let proxy = Proxy::start(&origin, "").await;
    for path in ["/1", "/2", "/3"] {
        assert_eq!(proxy.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(origin.connections(), 3);
    assert_eq!(proxy.metric("forebay_upstream_retries_total", &[]).await, 2.0);
}

#[tokio::test]
async fn what_is_sent_again_is_the_request_itself_and_never_the_one_before_it() {
    let origin = Origin::start();
    // The third request on a connection finds it closed.
    origin.close_connections_after(2);
    let proxy = Proxy::start(&origin, "").await;
    let get = async |nth: u32| {
        let (target, who) = (format!("/get/{nth}?of={nth}"), format!("who={nth}"));
        let answer = proxy.send(&request(&format!("GET {target}")).field("Cookie", &who)).await;
        let seen = origin.only(&format!("/get/{nth}"));
        assert_eq!((answer.status(), &*seen.target, seen.field("cookie")), (200, &*target, Some(&*who)));
    };
    get(1).await;
    get(2).await;
    proxy.send(&request("POST /post")).await.assert_problem(502);
    assert_eq!((origin.count("POST /post"), origin.count("/get/*"), origin.connections()), (0, 2, 1));
    for nth in 3..=5 {
        get(nth).await;
    }
    assert_eq!((origin.count("/get/*"), origin.connections()), (5, 3));
    assert_eq!(proxy.metric("forebay_upstream_retries_total", &[]).await, 1.0);
}

#[tokio::test]
async fn what_is_lost_on_a_new_connection_is_not_sent_again() {
    let origin = Origin::start();
    origin.on("/lost", Script::nothing());
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/lost").await.assert_problem(502);
    assert_eq!((origin.count("/lost"), origin.connections()), (1, 1));
    assert_eq!(proxy.metric("forebay_upstream_retries_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_second_sending_does_not_try_another_kept_connection() {
    let origin = Origin::start();
    origin.close_connections_after(1);
    let gate = Gate::closed();
    origin.on("/together/*", Script::ok("").when(&gate));
    let proxy = Proxy::start(&origin, "").await;
    let address = proxy.address;
    let together = concurrently(5, move |nth| async move {
        request(&format!("GET /together/{nth}")).send(address).await.status()
    });
    let opened = async {
        wait_until("five are at work", || async { origin.active("*") == 5 }).await;
        gate.open();
    };
    assert_eq!(tokio::join!(together, opened).0, [200; 5]);
    // Five connections are kept, and the origin closes each when it is used again.
    assert_eq!(proxy.get("/next").await.status(), 200);
    assert_eq!((origin.count("/next"), origin.connections()), (1, 6));
    assert_eq!(proxy.metric("forebay_upstream_retries_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nobody_anything() {
    let origin = Origin::start();
    origin.on(
        "/goodbye",
        Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok"),
    );
    let proxy = Proxy::start(&origin, "").await;
    for (method, path) in [("GET", "/1"), ("POST", "/2"), ("POST", "/3"), ("GET", "/4")] {
        let closed = origin.closed();
        assert_eq!(proxy.get("/goodbye").await.text(), "ok");
        // A request that crosses the close is another matter: a POST is not sent again then.
        wait_until("the origin has closed", || async { origin.closed() > closed }).await;
        let answer =
            within("an answer over a new connection", proxy.send(&request(&format!("{method} {path}"))))
                .await;
        assert_eq!((answer.status(), origin.count(path)), (200, 1), "{method} {path}");
    }
}

/// The HTTP library may have read beyond them.
#[tokio::test]
async fn after_trailers_a_connection_is_not_used_again() {
    let origin = Origin::start();
    origin.on("/trailers", Script::chunked().body("ok").trailer("X-Sum", "1"));
    origin.on(
        "/hidden",
        Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n2\r\nok\r\n0\r\n\nHTTP/1.1 200 OK\r\nX: y\r\n\r\n")
            .kept(),
    );
    let proxy = Proxy::start(&origin, "").await;
    for connections in 1..=3 {
        assert_eq!(proxy.get("/trailers").await.text(), "ok");
        assert_eq!(origin.connections(), connections);
    }
    for count in 1..=2 {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(request("GET /hidden").bytes()).await;
        connection.head("GET").await;
        while let Ok(data) = connection.data().await {
            assert!(data.is_some(), "it looks whole");
        }
        assert_eq!(origin.count("/hidden"), count, "it is not stored");
    }
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let origin = Origin::start();
    origin.close_connections_after(1);
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/warm").await.status(), 200);
    proxy.send(&request("POST /start").body("x")).await.assert_problem(502);
    assert_eq!((origin.count("/start"), origin.connections()), (0, 1));

    origin.close_connections_after(0);
    origin.on("/lost", Script::nothing());
    proxy.send(&request("POST /lost").body("x")).await.assert_problem(502);
    assert_eq!(origin.count("/lost"), 1);
}

#[tokio::test]
async fn an_idempotent_request_is_retried_once_and_no_more() {
    let origin = Origin::start();
    origin.on("/lost", Script::nothing());
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/lost").await.assert_problem(502);
    assert!((1..=2).contains(&origin.count("/lost")), "{} times", origin.count("/lost"));
    let count = origin.count("/lost");
    let proxy = Proxy::start(&origin, "upstreams.origin.retries = 0").await;
    proxy.get("/lost").await.assert_problem(502);
    assert_eq!(origin.count("/lost"), count + 1);
}

#[tokio::test]
async fn max_connections_holds_and_the_rest_wait_their_turn() {
    let origin = Origin::start();
    origin.on("*", Script::ok("").after(seconds(0.02)));
    let proxy = Proxy::start(&origin, "upstreams.origin.max_connections = 3").await;
    let address = proxy.address;
    let statuses = concurrently(40, move |number| async move {
        request(&format!("GET /{number}")).send(address).await.status()
    })
    .await;
    assert_eq!(statuses, [200; 40]);
    assert!(
        origin.connections() <= 3 && origin.most_at_once("*") <= 3,
        "{} connections",
        origin.connections()
    );
}

#[tokio::test]
async fn waiting_for_a_connection_ends_in_503() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("").when(&gate));
    let config = "upstreams.origin = { max_connections = 1, acquire_timeout = '300ms' }";
    let proxy = Proxy::start(&origin, config).await;
    let running = proxy.begin(&request("GET /slow"));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    let response = proxy.get("/other").await;
    response.assert_problem(503);
    assert!(response.field("retry-after").is_some());
    gate.open();
    assert_eq!(running.await.unwrap().status(), 200);
    assert_eq!(origin.count("/other"), 0);
    // It was no attempt.
    assert_eq!(proxy.metric("forebay_upstream_requests_total", &[]).await, 1.0);
    let server = proxy.admin_get("/api/pool/stats").await.json()["upstreams"][0]["servers"][0].clone();
    assert_eq!(
        (&server["requests"], &server["failures"], &server["timeouts"]),
        (&1.into(), &0.into(), &1.into())
    );
}

#[tokio::test]
async fn a_get_whose_client_left_is_called_off_and_a_post_is_not() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::ok("").when(&gate));
    let config = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off' }]";
    let proxy = Proxy::start(&origin, config).await;
    for line in ["GET /get", "POST /post"] {
        let mut leaving = Connection::open(proxy.address).await;
        leaving.send(request(line).bytes()).await;
        wait_until("it is at the origin", || async { origin.active(line) == 1 }).await;
    }
    wait_until("the GET is called off", || async { origin.active("/get") == 0 }).await;
    assert!(origin.only("/get").abandoned);
    assert_eq!(origin.active("/post"), 1);
    gate.open();
    wait_until("the POST is answered", || async { origin.active("/post") == 0 }).await;
    assert!(!origin.only("/post").abandoned);
}

/// Nobody could tell it from a client that has gone, and would keep a permit for it.
#[tokio::test]
async fn a_client_that_shuts_its_sending_side_counts_as_gone() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::ok("").when(&gate));
    let config = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off' }]";
    let proxy = Proxy::start(&origin, config).await;
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(&request("GET /get").bytes()).await.unwrap();
    wait_until("it is at the origin", || async { origin.active("/get") == 1 }).await;
    client.shutdown().await.unwrap();
    wait_until("it is called off", || async { origin.active("/get") == 0 }).await;
    assert!(origin.only("/get").abandoned);
    assert_eq!(within("its end", client.read(&mut [0; 8])).await.unwrap(), 0);
}

/// What forebay has counted is what the origin has seen, however the requests ended.
#[tokio::test]
async fn an_attempt_that_nobody_waits_for_any_more_is_counted_as_cancelled() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::ok("").when(&gate));
    let config = "
        upstreams.origin.max_connections = 3
        [[routes]]
        name = 'short'
        match = '/short'
        timeout = '1s'
        [[routes]]
        name = 'alone'
        match = '/alone'
        collapse = 'off'
        [[routes]]
        name = 'all'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    let counted = |status: &'static str| {
        let proxy = &proxy;
        async move { proxy.metric("forebay_upstream_requests_total", &[&format!("status=\"{status}\"")]).await }
    };
    for (number, path) in ["/flight", "/alone"].into_iter().enumerate() {
        let mut leaving = Connection::open(proxy.address).await;
        leaving.send(request(&format!("GET {path}")).bytes()).await;
        wait_until("it is at the origin", || async { origin.active(path) == 1 }).await;
        drop(leaving);
        wait_until("it is counted", || async { counted("cancelled").await == number as f64 + 1.0 }).await;
    }
    proxy.get("/short").await.assert_problem(504);
    wait_until("it is counted", || async { counted("cancelled").await == 3.0 }).await;
    // One that waits for a connection has cost the origin nothing.
    let writes: Vec<_> = (0..3).map(|_| proxy.begin(&request("POST /write"))).collect();
    wait_until("they are at the origin", || async { origin.active("/write") == 3 }).await;
    let mut leaving = Connection::open(proxy.address).await;
    leaving.send(request("GET /waits").bytes()).await;
    proxy.wait_for_metric("forebay_requests_in_progress", &[], 4.0).await;
    drop(leaving);
    proxy.wait_for_metric("forebay_requests_in_progress", &[], 3.0).await;
    gate.open();
    for write in writes {
        assert_eq!(write.await.unwrap().status(), 200);
    }
    assert_eq!((counted("200").await, counted("cancelled").await, counted("error").await), (3.0, 3.0, 0.0));
    assert_eq!(origin.count("*"), 6);
}

#[tokio::test]
async fn a_posts_timeout_answers_the_client_while_the_origin_goes_on() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/start", Script::ok("").when(&gate));
    let config = "
        in_flight.scans = { max = 1 }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans', timeout = '500ms' }]";
    let proxy = Proxy::start(&origin, config).await;
    proxy.send(&request("POST /start").body("x")).await.assert_problem(504);
    assert_eq!(origin.active("/start"), 1);
    assert_eq!(proxy.metric("forebay_in_flight", &[]).await, 1.0);
    gate.open();
    proxy.wait_for_metric("forebay_in_flight", &[], 0.0).await;
    assert!(!origin.only("/start").abandoned);
}

#[tokio::test]
async fn bytes_beyond_an_answer_reach_no_other_client() {
    let origin = Origin::start();
    let smuggled =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    origin.on_each("/extra", move |_| Script::raw(smuggled));
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/extra").await.text(), "ok");
    assert_eq!(proxy.get("/next").await.json()["target"], "/next");
}

#[tokio::test]
async fn an_early_answer_to_an_upload_is_passed_on() {
    let origin = Origin::start();
    origin.on("/up", Script::status(422).body("too early").without_reading());
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    connection.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nstart").await;
    let response = connection.response("POST").await;
    assert_eq!((response.status(), response.text()), (422, "too early"));
}
