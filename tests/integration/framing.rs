//! Messages whose limits are in doubt: refused at the edge, so that nobody behind it can read them differently.

use crate::harness::client::send_raw;
use crate::harness::origin::Body;
use crate::harness::{Connection, Origin, Proxy, Script, request, wait_until};

/// Sends each head with the body `hello` and requires a refusal, the close, and an origin that saw nothing.
async fn assert_refused(heads: &[&str], statuses: &[u16]) {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for head in heads {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(format!("{head}\r\n\r\nhello")).await;
        let response = connection.response("POST").await;
        assert!(statuses.contains(&response.status()), "{head:?} is answered by {}", response.status());
        connection.assert_closes().await;
        assert_eq!(origin.count("*"), 0, "{head:?} reached the origin");
    }
    assert_eq!(proxy.get("/after").await.status(), 200);
}

#[tokio::test]
async fn a_content_length_that_is_not_one_number_is_refused() {
    let heads = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: five",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999",
    ];
    assert_refused(&heads, &[400]).await;
}

#[tokio::test]
async fn a_transfer_encoding_other_than_chunked_is_refused() {
    let heads = [
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked",
    ];
    assert_refused(&heads, &[400, 501]).await;
}

#[tokio::test]
async fn a_malformed_head_is_refused() {
    let heads = [
        "GET / HTTP/1.1\r\nHost: a\r\nX-Folded: one\r\n two",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Null: a\0b",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Return: a\rb",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Space : 1",
        "GET / HTTP/1.1\r\nHost: a\r\nX(bad): 1",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon",
        "GET /a b HTTP/1.1\r\nHost: a",
        "GET / HTTP/3.7\r\nHost: a",
        "GET  / HTTP/1.1\r\nHost: a",
        "GET /\r\nHost: a",
        " GET / HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\n Host: a",
        "GET / HTTP/1.1\r\nHost\t: a",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer\u{b}-Encoding: chunked",
        "GET / HTTP/1.1\r\nHost: a\r\n: empty",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Control: a\u{1}b",
        "GET /\u{1} HTTP/1.1\r\nHost: a",
        "G\0ET / HTTP/1.1\r\nHost: a",
        "GET / HTTP/01.1\r\nHost: a",
        "GET / HTTP/2.0\r\nHost: a",
        "GET / http/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\r\nHost: a",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
    ];
    assert_refused(&heads, &[400, 505]).await;
}

#[tokio::test]
async fn what_cannot_be_read_as_http_is_answered_without_a_body_and_counted() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let fields = |count: usize| (0..count).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    let heads = [
        ("GARBAGE\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, foo\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}", fields(100)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n", "x".repeat(64 * 1024)), 431),
    ];
    for (head, status) in &heads {
        let response = send_raw(proxy.address, format!("{head}\r\n")).await;
        assert_eq!((response.status(), response.text()), (*status, ""), "{head:?}");
        assert_eq!((response.field("proxy-status"), response.field("x-request-id")), (None, None));
    }
    // What is read and refused is another matter.
    let coded = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo, chunked\r\n\r\n0\r\n\r\n";
    send_raw(proxy.address, coded).await.assert_problem(501);
    let most = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(99));
    assert_eq!(send_raw(proxy.address, most).await.status(), 200);
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    proxy.wait_for_metric("forebay_http_parse_errors_total", &[], heads.len() as f64).await;
    assert_eq!(proxy.metric("forebay_requests_total", &[]).await, 2.0);
}

#[tokio::test]
async fn a_host_that_is_not_one_valid_authority_is_refused() {
    let heads = [
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a",
        "GET / HTTP/1.1\r\nHost: a, b",
        "GET / HTTP/1.1\r\nHost: a/b",
        "GET / HTTP/1.1\r\nHost: user@a",
        "GET / HTTP/1.1\r\nHost: a:port",
        "GET / HTTP/1.1\r\nHost: a b",
        "GET / HTTP/1.1\r\nHost:",
        "GET / HTTP/1.1\r\nHost: a:99999",
        "GET / HTTP/1.1\r\nHost: a..b",
        "GET / HTTP/1.1\r\nHost: .a",
        "GET / HTTP/1.1\r\nHost: [::1",
        "GET / HTTP/1.1\r\nHost: [fe80::1%eth0]",
        "GET / HTTP/1.1\r\nHost: ::1",
        "GET / HTTP/1.1\r\nHost: a%00",
        "GET / HTTP/1.1\r\nHost: http://a",
        "GET / HTTP/1.1\r\nHost: a#b",
        "GET / HTTP/1.1\r\nHost: a?b",
        "GET / HTTP/1.1\r\nHost: a\\b",
        "GET http://user@a/ HTTP/1.1\r\nHost: a",
        "GET http:///x HTTP/1.1\r\nHost: a",
        "GET http://a:99999/ HTTP/1.1\r\nHost: a",
        "GET ftp://a/ HTTP/1.1\r\nHost: a",
        "GET ws://a/ HTTP/1.1\r\nHost: a",
        "GET * HTTP/1.1\r\nHost: a",
        "GET a:80 HTTP/1.1\r\nHost: a",
        "GET x HTTP/1.1\r\nHost: a",
    ];
    assert_refused(&heads, &[400]).await;
    assert_refused(&[&format!("GET / HTTP/1.1\r\nHost: {}", "a".repeat(300))], &[400]).await;
}

#[tokio::test]
async fn an_expectation_that_nobody_knows_is_417_and_the_body_is_not_asked_for() {
    for expected in ["foo", "100-continue, foo", "y 100-continue", "100-continue\r\nExpect: foo"] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {expected}\r\nContent-Length: 5");
        assert_refused(&[&head], &[417]).await;
    }
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    // HTTP/1.0 has no expectations.
    let old = "POST /old HTTP/1.0\r\nHost: a\r\nExpect: foo\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(send_raw(proxy.address, old).await.status(), 200);
    let known = "POST /known HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello";
    let response = send_raw(proxy.address, known).await;
    assert_eq!((response.status(), response.interim.len()), (200, 1));
    for path in ["/old", "/known"] {
        assert_eq!(
            (origin.only(path).body_start, origin.only(path).field("expect")),
            (b"hello".to_vec(), None)
        );
    }
}

#[tokio::test]
async fn with_both_lengths_only_the_chunks_count_or_nothing_does() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let both = "POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = Connection::open(proxy.address).await;
    connection.send(both).await;
    let response = connection.response("POST").await;
    connection.assert_closes().await;
    assert_eq!(origin.count("/smuggled"), 0);
    if response.status() != 400 {
        let seen = origin.only("/both");
        assert_eq!((seen.body_start.as_slice(), seen.field("content-length")), (b"hello".as_slice(), None));
    }
}

#[tokio::test]
async fn received_framing_is_never_forwarded() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let extended = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;secret=extension\r\nhello\r\n0\r\n\r\n";
    assert_eq!(send_raw(proxy.address, extended).await.status(), 200);
    let seen = origin.only("/up");
    assert_eq!(seen.body_start, b"hello");
    assert!(
        seen.head.all("transfer-encoding").len() + seen.head.all("content-length").len() == 1,
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_method_in_lower_case_is_refused() {
    let heads = ["post / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", "Get / HTTP/1.1\r\nHost: a"];
    assert_refused(&heads, &[400]).await;
}

#[tokio::test]
async fn connect_and_trace_are_not_allowed() {
    // The body is what a client sends that takes the tunnel for granted.
    let heads = [
        "CONNECT scan.example:443 HTTP/1.1\r\nHost: scan.example:443",
        "CONNECT / HTTP/1.1\r\nHost: a",
        "TRACE / HTTP/1.1\r\nHost: a",
    ];
    assert_refused(&heads, &[405]).await;
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_never_forwarded() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let asked = request("GET /")
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    let response = proxy.send(&asked).await;
    assert!(response.status() == 200 || response.status() == 400, "{response:?}");
    proxy.send(&request("GET /").field("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")).await;
    for seen in origin.seen("*") {
        assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
    }
}

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault_and_aborts_the_upload() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let many_extensions = format!("1;{}\r\nx\r\n", "a".repeat(4000)).repeat(20);
    for (name, chunks) in [
        ("no number", "5\r\nhello\r\nzz\r\n"),
        ("a sign", "+5\r\nhello\r\n"),
        ("a prefix", "0x5\r\nhello\r\n"),
        ("an overflow", "10000000000000005\r\nhello\r\n"),
        ("no size", "\r\nhello\r\n"),
        ("an extension alone", ";x\r\nhello\r\n"),
        ("a bare LF after the size", "5\nhello\r\n"),
        ("a bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
        ("a bare CR after the size", "5\rhello\r\n"),
        ("a bare LF in an extension", "5;a\nb\r\nhello\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n"),
        ("a bare LF at the end", "5\r\nhello\r\n0\n\n"),
        ("a word after the size", "5 x\r\nhello\r\n"),
        ("too little data", "6\r\nhello\r\n0\r\n\r\n"),
        ("too much data", "4\r\nhello\r\n0\r\n\r\n"),
        ("a chunk that is not ended", "5\r\nhello0\r\n\r\n"),
        ("extensions without end", &many_extensions),
        ("a bare LF for trailers", "5\r\nhello\r\n0\r\n\n"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nabc\r\n\r\n"),
        ("a NUL in a trailer", "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n"),
        ("a trailer that is too long", &format!("0\r\nX: {}\r\n\r\n", "a".repeat(40_000))),
        ("too many trailers", &format!("0\r\n{}\r\n", "X: a\r\n".repeat(2000))),
    ] {
        let mut connection = Connection::open(proxy.address).await;
        let head = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        connection.send(format!("{head}{chunks}{next}")).await;
        assert_eq!(connection.response("POST").await.status(), 400, "{name}");
        connection.assert_closes().await;
        wait_until("the origin has seen the end of it", || async { origin.active("*") == 0 }).await;
        assert!(origin.seen("/up").iter().all(|seen| seen.body != Body::Whole), "{name}");
        assert_eq!(origin.count("/smuggled"), 0, "{name}");
    }
    let errors = proxy.metric("forebay_upstream_requests_total", &["status=\"error\""]).await;
    assert_eq!(errors, 0.0, "nor is it counted as the upstream's");
}

/// The HTTP library reads on to an empty line with CR and LF. What lies between is lost: nothing may come behind it.
#[tokio::test]
async fn what_is_taken_for_trailers_hides_no_request() {
    let origin = Origin::start();
    origin.on("/lost", Script::nothing());
    let proxy = Proxy::start(&origin, "routes = [{ name = 'up', match = ['/up', '/lost'] }]").await;
    for (path, status) in [("/up", 200), ("/refused", 404), ("/lost", 502)] {
        for trailers in ["X: a\r\n\r\n", "X: a\n\r\n", "X: a\n\n", "X: a\r\n\n"] {
            let mut connection = Connection::open(proxy.address).await;
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let next = "GET /up?hidden HTTP/1.1\r\nHost: a\r\n\r\nGET /up?next HTTP/1.1\r\nHost: a\r\n\r\n";
            connection.send(format!("{head}5\r\nhello\r\n0\r\n{trailers}{next}")).await;
            assert_eq!(connection.response("POST").await.status(), status, "{trailers:?}");
            connection.assert_closes().await;
        }
    }
    assert!(origin.seen("*").iter().all(|seen| seen.method == "POST"), "{:?}", origin.seen("*"));
    assert_eq!(origin.count("*"), 8);
}

#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_is_not_forwarded() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    connection.send("GET /a HTTP/1.1\nHost: a\nX-One: 1\r\nX-Two: 2\n\n").await;
    assert_eq!(connection.response("GET").await.status(), 200);
    let seen = origin.only("/a");
    assert_eq!((seen.field("x-one"), seen.field("x-two")), (Some("1"), Some("2")));
}

#[tokio::test]
async fn an_error_in_a_pipeline_ends_it_there() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for broken in [
        "GET /b HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET /b HTTP/1.1\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut connection = Connection::open(proxy.address).await;
        let (first, last) = ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /c HTTP/1.1\r\nHost: a\r\n\r\n");
        connection.send(format!("{first}{broken}{last}")).await;
        assert_eq!(connection.response("GET").await.status(), 200);
        assert_eq!(connection.response("GET").await.status(), 400, "{broken:?}");
        connection.assert_closes().await;
    }
    assert_eq!((origin.count("/a"), origin.count("*")), (4, 4));
}

#[tokio::test]
async fn an_upload_that_stops_midway_never_looks_whole_to_the_origin() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for head in ["Content-Length: 1000\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{head}")).await;
        wait_until("the upload is at the origin", || async { origin.active("/up") == 1 }).await;
        drop(connection);
        wait_until("the upload is over", || async { origin.active("/up") == 0 }).await;
    }
    let seen = origin.seen("/up");
    assert!(seen.iter().all(|seen| seen.body == Body::Broken), "{seen:?}");
}
