//! What a client gets compressed, and what stays as it was.

use std::io::Read as _;

use crate::harness::{Connection, Gate, Origin, Proxy, Response, Script, request, wait_until};

const COMPRESSING: &str = "routes = [{ name = 'all', match = '/{*rest}', compress = true, cache = { mode = 'force', ttl = '1h' } }]";

/// Long enough to be worth it.
fn json() -> String {
    format!(r#"{{"scans":[{}]}}"#, r#"{"state":"running"},"#.repeat(500).trim_end_matches(','))
}

fn long() -> Script {
    Script::ok(json()).field("content-type", "application/json").field("etag", "\"v1\"")
}

/// The body as the client reads it.
fn read(answer: &Response) -> String {
    let mut text = String::new();
    match answer.field("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text),
        Some("br") => brotli::Decompressor::new(&*answer.body, 4096).read_to_string(&mut text),
        Some("zstd") => zstd::stream::read::Decoder::new(&*answer.body).unwrap().read_to_string(&mut text),
        other => panic!("{other:?} is no coding of ours"),
    }
    .unwrap();
    text
}

async fn get(proxy: &Proxy, path: &str, codings: &str) -> Response {
    proxy.send(&request(&format!("GET {path}")).field("accept-encoding", codings)).await
}

#[tokio::test]
async fn one_stored_body_serves_every_coding() {
    let origin = Origin::start();
    origin.on("*", long());
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    wait_until("it is stored", || async { proxy.get("/a").await.cache_says("hit") }).await;
    for (codings, coding) in
        [("gzip", "gzip"), ("br;q=0.9, gzip;q=0.5", "br"), ("gzip, deflate, br, zstd", "zstd")]
    {
        for _ in 0..2 {
            let answer = get(&proxy, "/a", codings).await;
            assert_eq!(answer.field("content-encoding"), Some(coding), "{:?}", answer.head);
            assert_eq!(read(&answer), json());
            assert!(answer.cache_says("hit") && answer.body.len() < json().len() / 4, "{:?}", answer.head);
            assert_eq!((answer.must("etag"), answer.must("vary")), ("W/\"v1\"", "Accept-Encoding"));
        }
        let length: usize = get(&proxy, "/a", codings).await.must("content-length").parse().unwrap();
        assert!(length < json().len() / 4, "a copy in the coding is kept, and its length known");
    }
    let plain = proxy.get("/a").await;
    assert_eq!(
        (plain.text(), plain.must("etag"), plain.must("vary")),
        (&*json(), "\"v1\"", "Accept-Encoding")
    );
    assert_eq!(plain.field("content-encoding"), None);
    assert_eq!(origin.only("*").field("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn what_streams_is_compressed_as_it_comes() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let slow = Script::chunked().field("content-type", "application/json").body("[1,");
    origin.on("*", slow.wait(&gate).body("2]"));
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    for coding in ["gzip", "br", "zstd"] {
        let mut client = Connection::open(proxy.address).await;
        client.send(request(&format!("GET /{coding}")).field("accept-encoding", coding).bytes()).await;
        let head = client.head("GET").await;
        assert_eq!(head.field("content-encoding"), Some(coding));
        assert!(client.data().await.unwrap().unwrap().len() > 3, "the first part is there before the rest");
    }
    gate.open();
    let whole = get(&proxy, "/gzip", "gzip").await;
    assert_eq!(
        if whole.field("content-encoding").is_some() { read(&whole) } else { whole.text().into() },
        "[1,2]"
    );
}

#[tokio::test]
async fn a_client_that_has_it_is_told_so_under_the_validator_that_it_has() {
    let origin = Origin::start();
    origin.on("*", long());
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    wait_until("it is stored", || async { proxy.get("/a").await.cache_says("hit") }).await;
    for (has, told) in [("W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\"")] {
        let ask = request("GET /a").field("accept-encoding", "gzip").field("if-none-match", has);
        let answer = proxy.send(&ask).await;
        assert_eq!((answer.status(), answer.must("etag")), (304, told), "{:?}", answer.head);
        assert_eq!(answer.must("vary"), "Accept-Encoding");
        assert!(answer.body.is_empty() && answer.field("content-encoding").is_none(), "{:?}", answer.head);
    }
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn a_head_says_what_a_get_would() {
    let origin = Origin::start();
    origin.on("*", long());
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    wait_until("it is stored", || async { proxy.get("/a").await.cache_says("hit") }).await;
    let head = proxy.send(&request("HEAD /a").field("accept-encoding", "br")).await;
    assert_eq!((head.must("content-encoding"), head.must("etag")), ("br", "W/\"v1\""));
    assert_eq!((head.field("content-length"), head.must("vary")), (None, "Accept-Encoding"));
}

#[tokio::test]
async fn what_may_not_be_changed_or_gains_nothing_stays_as_it_is() {
    let origin = Origin::start();
    let text = || Script::ok(json()).field("content-type", "text/plain");
    origin.on("/short", Script::ok("x".repeat(1023)).field("content-type", "text/plain"));
    origin.on("/image", Script::ok(json()).field("content-type", "image/png"));
    origin.on("/untold", Script::ok(json()));
    origin.on("/cookie", text().field("set-cookie", "session=1"));
    origin.on("/no-transform", text().field("cache-control", "no-transform"));
    origin.on("/encoded", text().field("content-encoding", "deflate"));
    origin.on("/events", Script::ok(json()).field("content-type", "text/event-stream"));
    origin.on("/digest", text().field("content-digest", "sha-256=:x:"));
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    for path in ["/short", "/image", "/untold", "/cookie", "/no-transform", "/encoded", "/events", "/digest"]
    {
        let answer = get(&proxy, path, "gzip").await;
        let coding = (path == "/encoded").then_some("deflate");
        assert_eq!(answer.field("content-encoding"), coding, "{path}");
        assert_eq!(answer.field("vary"), None, "{path}");
        assert!(answer.text().len() == json().len() || path == "/short", "{path}");
    }
    let insisting = get(&proxy, "/short", "gzip, identity;q=0").await;
    assert_eq!(read(&insisting), "x".repeat(1023), "who takes nothing else gets it coded");
    origin.on("/plain", text());
    let ask = request("GET /plain").field("accept-encoding", "gzip").field("cache-control", "no-transform");
    let unchanged = proxy.send(&ask).await;
    assert_eq!((unchanged.field("content-encoding"), unchanged.text()), (None, &*json()));
    assert_eq!(read(&get(&proxy, "/plain", "gzip").await), json(), "who does not mind gets it coded");
}

#[tokio::test]
async fn a_part_is_a_part_of_what_is_stored() {
    let origin = Origin::start();
    origin.on("*", long().field("accept-ranges", "bytes"));
    let proxy = Proxy::start(&origin, COMPRESSING).await;
    wait_until("it is stored", || async { proxy.get("/a").await.cache_says("hit") }).await;
    let part =
        proxy.send(&request("GET /a").field("range", "bytes=0-8").field("accept-encoding", "gzip")).await;
    assert_eq!((part.status(), part.text(), part.field("content-encoding")), (206, r#"{"scans":"#, None));
    let whole = get(&proxy, "/a", "gzip").await;
    assert_eq!(whole.field("accept-ranges"), None, "no parts of other bytes");
}

#[tokio::test]
async fn a_route_that_does_not_say_so_compresses_nothing() {
    let origin = Origin::start();
    origin.on("*", long());
    let proxy = Proxy::start(&origin, "").await;
    let answer = get(&proxy, "/a", "gzip").await;
    assert_eq!((answer.field("content-encoding"), answer.text()), (None, &*json()));
    assert_eq!(origin.only("*").field("accept-encoding"), Some("gzip"));
}

/// Each answer on its way in a coding holds its encoder, whether its client reads or not.
#[tokio::test]
async fn beyond_so_many_at_a_time_answers_stay_as_they_are() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("*", Script::chunked().field("content-type", "text/plain").body(json()).wait(&gate).body("!"));
    let config = "
        upstreams.origin.max_connections = 0
        routes = [{ name = 'all', match = '/{*rest}', compress = true }]";
    let proxy = Proxy::start(&origin, config).await;
    let mut open = Vec::new();
    for number in 0..132 {
        let mut connection = Connection::open(proxy.address).await;
        let asked = request(&format!("GET /{number}")).field("accept-encoding", "gzip");
        connection.send(asked.bytes()).await;
        let head = connection.head("GET").await;
        let coding = (number < 128).then_some("gzip");
        assert_eq!(head.field("content-encoding"), coding, "{number}");
        assert_eq!(head.field("vary"), Some("Accept-Encoding"));
        open.push(connection);
    }
    let mut plain = open.pop().unwrap();
    gate.open();
    let mut text = Vec::new();
    while let Some(data) = plain.data().await.unwrap() {
        text.extend(data);
    }
    assert_eq!(text, format!("{}!", json()).into_bytes());
    drop((open, plain));
    wait_until("there is room again", || async {
        get(&proxy, "/again", "gzip").await.field("content-encoding") == Some("gzip")
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_on_its_way_is_stored_without_a_coding() {
    let origin = Origin::start();
    origin.on("*", long().field("cache-control", "max-age=60").field("content-location", "/a"));
    let config = "routes = [{ name = 'all', match = '/{*rest}', compress = true }]";
    let proxy = Proxy::start(&origin, config).await;
    for (asked, path) in [(request("POST /a"), "/a"), (request("GET /b").field("range", "bytes=0-9"), "/b")] {
        let answer = proxy.send(&asked.field("accept-encoding", "gzip")).await;
        assert_eq!((answer.status(), read(&answer)), (200, json()), "{path}");
        let hit = proxy.get(path).await;
        assert_eq!((hit.text(), hit.cache_says("hit")), (&*json(), true), "{path}");
    }
}
