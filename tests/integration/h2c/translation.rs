//! What of HTTP/2 has no equal in HTTP/1.1 is refused, the rest says the same to the origin.

use crate::harness::client::HOST;
use crate::harness::frames::*;
use crate::harness::origin::Body;
use crate::harness::{Origin, Proxy, Script, wait_until};

type Fields = Vec<(&'static str, &'static str)>;

/// The fields of a good request, in which `name` is replaced, or removed.
fn but(name: &str, value: Option<&'static str>) -> Fields {
    let fields = asking("GET", "/bad").into_iter();
    fields
        .filter_map(
            |(field, good)| {
                if field == name { value.map(|value| (field, value)) } else { Some((field, good)) }
            },
        )
        .collect()
}

/// The fields of a good request and one more at the end.
fn and(name: &'static str, value: &'static str) -> Fields {
    [asking("GET", "/bad"), vec![(name, value)]].concat()
}

/// RFC 9113 sections 8.2 and 8.3.
#[tokio::test]
async fn malformed_requests_are_refused_one_by_one() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for (what, fields) in [
        ("no method", but(":method", None)),
        ("an empty method", but(":method", Some(""))),
        ("a method that is none", but(":method", Some("GET /other HTTP/1.1"))),
        ("a method in lower case", but(":method", Some("get"))),
        ("no scheme", but(":scheme", None)),
        ("an empty scheme", but(":scheme", Some(""))),
        ("another scheme", but(":scheme", Some("ftp"))),
        ("a scheme that says more", but(":scheme", Some("http://other/?"))),
        ("no path", but(":path", None)),
        ("an empty path", but(":path", Some(""))),
        ("a path without a slash", but(":path", Some("bad"))),
        ("a path that is an asterisk", but(":path", Some("*"))),
        ("a path that is a whole target", but(":path", Some("http://other.example/bad"))),
        ("a path with a space", but(":path", Some("/bad HTTP/1.1"))),
        ("a path with a line", but(":path", Some("/bad\r\nx-smuggled: 1"))),
        ("a path with NUL", but(":path", Some("/bad\0"))),
        ("neither authority nor Host", but(":authority", None)),
        ("an empty authority", but(":authority", Some(""))),
        ("an authority with a name", but(":authority", Some("user@scan.example"))),
        ("an authority with a path", but(":authority", Some("scan.example/other"))),
        ("an authority with a line", but(":authority", Some("scan.example\r\nx-smuggled: 1"))),
        ("another Host", and("host", "other.example")),
        ("an empty Host besides", and("host", "")),
        ("two paths", and(":path", "/bad2")),
        ("two methods", and(":method", "GET")),
        ("a pseudo-header of responses", and(":status", "200")),
        ("a pseudo-header that nobody knows", and(":unknown", "1")),
        ("a protocol without CONNECT", and(":protocol", "websocket")),
        ("a name in upper case", and("X-Upper", "1")),
        ("an empty name", and("", "1")),
        ("a name with a colon", and("x:y", "1")),
        ("a name with a space", and("x y", "1")),
        ("a name with a line", and("x\r\ny", "1")),
        ("a value with CR LF", and("x-a", "1\r\nx-smuggled: 1")),
        ("a value with LF", and("x-a", "1\nx-smuggled: 1")),
        ("a value with CR", and("x-a", "1\r2")),
        ("a value with NUL", and("x-a", "1\0")),
        ("a value with a blank before it", and("x-api-key", " 1")),
        ("a value with a blank behind it", and("x-api-key", "1 ")),
        ("a value with a tab before it", and("x-api-key", "\t1")),
        ("a value with a tab behind it", and("cookie", "a=1\t")),
        ("a value that is a blank", and("x-api-key", " ")),
        ("connection", and("connection", "close")),
        ("keep-alive", and("keep-alive", "timeout=5")),
        ("proxy-connection", and("proxy-connection", "keep-alive")),
        ("transfer-encoding", and("transfer-encoding", "chunked")),
        ("upgrade", and("upgrade", "h2c")),
        ("te", and("te", "gzip")),
        ("a length without a body", and("content-length", "5")),
        ("a length that is no number", and("content-length", "+0")),
        ("two lengths", [and("content-length", "0"), vec![("content-length", "1")]].concat()),
        ("a pseudo-header after the others", [vec![("x-a", "1")], asking("GET", "/bad")].concat()),
        ("two Hosts", [but(":authority", None), vec![("host", HOST), ("host", HOST)]].concat()),
    ] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send(headers(END_STREAM, 1, &fields)).await;
        match client.outcome(1).await {
            Outcome::Status(400) | Outcome::Reset(PROTOCOL_ERROR) => {}
            // What is no field at all is an error of the whole connection.
            Outcome::GoneAway(PROTOCOL_ERROR) => continue,
            other => panic!("{what}: {other:?}; the origin saw {:?}", origin.seen("*")),
        }
        client.send(get(3, "/good")).await;
        assert_eq!(client.outcome(3).await, Outcome::Status(200), "after {what}");
    }
    assert_eq!(origin.count("*"), origin.count("/good"));
}

/// RFC 9113 section 8.1.1: a length that DATA contradicts never looks like a whole upload.
#[tokio::test]
async fn a_body_that_is_not_as_long_as_was_said_is_no_upload() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let post = |path, length| [asking("POST", path), vec![("content-length", length)]].concat();
    let fields = block(&[("x-sum", "1")]);
    for (path, length, rest) in [
        ("/short", "5", frame(DATA, END_STREAM, 1, b"abc")),
        ("/long", "2", frame(DATA, END_STREAM, 1, b"abc")),
        ("/nothing", "5", frame(DATA, END_STREAM, 1, b"")),
        ("/short-with-trailers", "5", [frame(DATA, 0, 1, b"abc"), frame(HEADERS, 5, 1, &fields)].concat()),
        ("/cancelled", "5", [frame(DATA, 0, 1, b"abc"), reset(1)].concat()),
    ] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send(headers(0, 1, &post(path, length))).await;
        wait_until("the request is under way", || async { origin.count(path) == 1 }).await;
        client.send(rest).await;
        if path != "/cancelled" {
            let outcome = client.outcome(1).await;
            assert!(matches!(outcome, Outcome::Status(400) | Outcome::Reset(_)), "{path}: {outcome:?}");
        }
        wait_until("the origin sees the end", || async { origin.active(path) == 0 }).await;
        assert_ne!(origin.only(path).body, Body::Whole, "{path}");
        client.send(get(3, "/good")).await;
        assert_eq!(client.outcome(3).await, Outcome::Status(200), "after {path}");
    }
}

/// The protocol machine takes them out; the upload goes on.
#[tokio::test]
async fn pseudo_headers_in_trailers_reach_nobody() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let trailers = block(&[(":path", "/other"), (":authority", "other.example"), ("x-sum", "1")]);
    let mut client = Frames::open(proxy.address, &[]).await;
    client.send([headers(0, 1, &asking("POST", "/up")), frame(DATA, 0, 1, b"abc")].concat()).await;
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers)).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    let seen = origin.only("/up");
    assert_eq!((seen.body, seen.field("host")), (Body::Whole, Some("scan.example")));
    assert!(seen.trailers.iter().all(|(name, _)| name == "x-sum"), "{seen:?}");
}

#[tokio::test]
async fn tunnels_are_not_offered() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let connect = vec![(":method", "CONNECT"), (":authority", HOST)];
    let websocket = [asking("CONNECT", "/ws"), vec![(":protocol", "websocket")]].concat();
    for (fields, wanted) in [
        (connect, [Outcome::Status(405); 2]),
        (websocket, [Outcome::Status(405), Outcome::Reset(PROTOCOL_ERROR)]),
    ] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send([headers(0, 1, &fields), frame(DATA, 0, 1, b"through")].concat()).await;
        let outcome = client.outcome(1).await;
        assert!(wanted.contains(&outcome), "{fields:?}: {outcome:?}");
        client.send(get(3, "/good")).await;
        assert_eq!(client.outcome(3).await, Outcome::Status(200));
    }
    assert_eq!(origin.count("*"), origin.count("/good"));
}

#[tokio::test]
async fn good_requests_that_look_odd_are_forwarded() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for fields in [
        but(":scheme", Some("https")),
        but(":authority", Some("SCAN.example:80")),
        [but(":authority", None), vec![("host", HOST)]].concat(),
        and("host", "scan.example:80"),
        and("te", "trailers"),
        and("expect", "100-continue"),
        and("x-empty", ""),
    ] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send(headers(END_STREAM, 1, &fields)).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(200), "{fields:?}");
    }
    for seen in origin.seen("/bad") {
        assert_eq!(seen.field("host"), Some("scan.example"), "{seen:?}");
    }
    let mut client = Frames::open(proxy.address, &[]).await;
    client.send(headers(END_STREAM, 1, &asking("OPTIONS", "*"))).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(204));
}

#[tokio::test]
async fn an_upload_that_waits_for_100_is_sent_all_the_same() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let fields = [asking("POST", "/up"), vec![("expect", "100-continue"), ("content-length", "5")]].concat();
    let mut client = Frames::open(proxy.address, &[]).await;
    client.send([headers(0, 1, &fields), frame(DATA, END_STREAM, 1, b"hello")].concat()).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    assert_eq!(origin.only("/up").body_start, b"hello");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let origin = Origin::start();
    origin.on("/204", Script::status(204));
    origin.on("/304", Script::status(304).field("etag", "\"1\""));
    origin.on("/early", Script::ok("x").informational("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"));
    let proxy = Proxy::start(&origin, "").await;
    for (method, path, status, has_body) in [
        ("HEAD", "/", 200, false),
        ("GET", "/204", 204, false),
        ("GET", "/304", 304, false),
        ("GET", "/early", 200, true),
    ] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send(headers(END_STREAM, 1, &asking(method, path))).await;
        let head = client.until("a head", |frame| frame.kind == HEADERS).await;
        assert_eq!((head.status(), head.flags & END_STREAM == 0), (status, has_body), "{method} {path}");
    }
}
