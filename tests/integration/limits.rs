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
    // Both belong to the route that they were meant for.
    let refused = ["route=\"all\"", "status=\"413\""];
    proxy.wait_for_metric("forebay_requests_total", &refused, 2.0).await;
}

#[tokio::test]
async fn a_refused_upload_can_read_its_refusal() {
    let origin = Origin::start();
    let config = "
        listener.max_body_bytes = '16MiB'
        rate_limits.none = { key = 'client_ip', rates = ['1/hour'] }
        [[routes]]
        name = 'limited'
        match = '/limited'
        rate_limits = ['none']
        [[routes]]
        name = 'large'
        match = '/large'";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/limited").await.status(), 200);
    for (target, status, sizes) in [
        ("POST /limited", 429, [500_000, 15_000_000]),
        ("POST /large", 413, [20_000_000, 30_000_000]),
        ("POST /nowhere", 404, [500_000, 15_000_000]),
    ] {
        for size in sizes {
            let body = vec![b'x'; size];
            proxy.send(&request(target).body(body.clone())).await.assert_problem(status);
            proxy.send(&request(target).chunked(body.clone())).await.assert_problem(status);
            // Who waits to be asked is not asked.
            let mut connection = Connection::open(proxy.address).await;
            let fields = format!("Host: a\r\nExpect: 100-continue\r\nContent-Length: {size}");
            connection.send(format!("{target} HTTP/1.1\r\n{fields}\r\n\r\n")).await;
            let response = connection.response("POST").await;
            response.assert_problem(status);
            assert_eq!((response.interim.len(), response.field("connection")), (0, Some("close")));
            connection.assert_closes().await;
        }
    }
    assert!(origin.seen("*").iter().all(|seen| seen.body != Body::Whole || seen.target == "/limited"));
}

#[tokio::test]
async fn a_small_refused_upload_does_not_cost_the_connection() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "routes = [{ name = 'one', match = '/one' }]").await;
    let mut connection = Connection::open(proxy.address).await;
    for size in [1, 1000, 60_000] {
        let body = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n".repeat(size / 32 + 1);
        connection.ask(&request("POST /nowhere").body(body.clone())).await.assert_problem(404);
        connection.ask(&request("POST /nowhere").chunked(body)).await.assert_problem(404);
    }
    assert_eq!(connection.ask(&request("GET /one")).await.status(), 200);
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

#[tokio::test]
async fn an_address_has_its_share_of_the_connections_and_no_more() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_connections_per_ip = 2").await;
    let mut first = Connection::open(proxy.address).await;
    let mut second = Connection::open(proxy.address).await;
    assert_eq!(first.ask(&request("GET /1")).await.status(), 200);
    assert_eq!(second.ask(&request("GET /2")).await.status(), 200);
    Connection::open(proxy.address).await.assert_closes().await;
    proxy.wait_for_metric("forebay_connections_refused_total", &["reason=\"address\""], 1.0).await;
    drop(first);
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 1.0).await;
    assert_eq!(proxy.get("/3").await.status(), 200);
    assert_eq!(second.ask(&request("GET /4")).await.status(), 200);
}

#[tokio::test]
async fn by_default_and_for_trusted_proxies_nothing_is_shared_out() {
    let origin = Origin::start();
    for config in [
        "listener.max_connections = 20",
        "listener = { max_connections_per_ip = 1, trusted_proxies = ['127.0.0.1'] }",
        "listener = { max_connections = 20, max_connections_per_ip = 0 }",
    ] {
        let proxy = Proxy::start(&origin, config).await;
        let mut open = Vec::new();
        for _ in 0..15 {
            let mut connection = Connection::open(proxy.address).await;
            assert_eq!(connection.ask(&request("GET /")).await.status(), 200, "{config}");
            open.push(connection);
        }
    }
}

#[tokio::test]
async fn without_descriptors_forebay_waits_and_goes_on_when_there_are_some() {
    let origin = Origin::start();
    let proxy = Proxy::with_descriptors(&origin, "", 60).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(request("GET /").bytes()).await;
        open.push(connection);
    }
    wait_until("descriptors run out", || async {
        proxy.log().iter().any(|line| line.contains("cannot accept connections"))
    })
    .await;
    drop(open);
    let start = Instant::now();
    assert_eq!(proxy.get("/after").await.status(), 200);
    assert!(start.elapsed() < seconds(3.0), "recovered after {:?}", start.elapsed());
    let told = proxy.log().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(told < 20, "told {told} times");
}

#[tokio::test]
async fn a_connection_that_has_rested_goes_on_as_before() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener = { header_timeout = '1s', idle_timeout = '20s' }").await;
    // A rest begins two ticks of an eighth of a second after the last answer; there is nothing to see from outside.
    let rest = || tokio::time::sleep(seconds(0.5));
    let mut connection = Connection::open(proxy.address).await;
    for (number, field) in ["short", "no", &"x".repeat(20_000)].iter().enumerate() {
        assert_eq!(connection.ask(&request("GET /").field("X-Field", field)).await.status(), 200, "{number}");
        rest().await;
    }
    // A head in pieces, and one that goes on with the next.
    let (head, next) = ("GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n", "GET /next HTTP/1.1\r\nHost: a\r\n");
    connection.send(&head[..3]).await;
    connection.send(&head[3..]).await;
    assert_eq!(connection.response("GET").await.status(), 200);
    rest().await;
    connection.send(format!("{head}{next}")).await;
    assert_eq!(connection.response("GET").await.status(), 200);
    connection.send("\r\n").await;
    assert_eq!(connection.response("GET").await.status(), 200);
    rest().await;
    // A pause in the middle of the next head, of which more has come than is read after a rest.
    assert_eq!(connection.ask(&request("GET /awake")).await.status(), 200);
    connection.send(format!("{head}{next}X-Field: {}", "x".repeat(300))).await;
    assert_eq!(connection.response("GET").await.status(), 200);
    rest().await;
    connection.send("y\r\n\r\n").await;
    assert_eq!(connection.response("GET").await.status(), 200);
    let field = origin.seen("/next").last().unwrap().field("x-field").unwrap().to_owned();
    assert_eq!(field, format!("{}y", "x".repeat(300)));
    rest().await;
    // A head that does not come to its end after a rest.
    connection.send("GET / HTTP/1.1\r\n").await;
    connection.assert_closes().await;
    assert_eq!((origin.count("/pieces"), origin.count("/next"), origin.count("*")), (3, 2, 9));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_and_never_looks_whole() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "upstreams.origin.body_timeout = '1s'").await;
    for body in ["Content-Length: 1000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{body}")).await;
        connection.response("POST").await.assert_problem(408);
        connection.assert_closes().await;
    }
    wait_until("both uploads are over", || async { origin.active("/up") == 0 }).await;
    assert!(origin.seen("/up").iter().all(|seen| seen.body == Body::Broken), "{:?}", origin.seen("/up"));
}

#[tokio::test]
async fn what_is_left_of_an_upload_is_never_taken_for_a_request() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener = { header_timeout = '1s', idle_timeout = '20s' }").await;
    let mut connection = Connection::open(proxy.address).await;
    let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", next.len());
    connection.send(head).await;
    tokio::time::sleep(seconds(0.5)).await;
    connection.send(next).await;
    assert_eq!(connection.response("POST").await.status(), 200);
    tokio::time::sleep(seconds(0.5)).await;
    assert_eq!(connection.ask(&request("GET /after")).await.status(), 200);
    assert_eq!(origin.only("/up").body_start, next.as_bytes());
    assert_eq!(origin.count("/smuggled"), 0);
}
