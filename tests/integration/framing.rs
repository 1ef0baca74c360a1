//! Messages whose limits are in doubt: refused at the edge, so that nobody behind it can read them differently.

use crate::harness::client::send_raw;
use crate::harness::origin::Body;
use crate::harness::{Connection, Origin, Proxy, request, wait_until};

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
    ];
    assert_refused(&heads, &[400, 505]).await;
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
    ];
    assert_refused(&heads, &[400]).await;
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
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for head in [
        "CONNECT scan.example:443 HTTP/1.1\r\nHost: scan.example:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        send_raw(proxy.address, head).await.assert_problem(405);
    }
    assert_eq!(origin.count("*"), 0);
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
    for seen in origin.seen("*") {
        assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None));
    }
}

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault_and_aborts_the_upload() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    let broken = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n";
    connection.send(broken).await;
    if let Ok(response) = connection.try_response("POST").await {
        assert_eq!(response.status(), 400, "{response:?}");
    }
    wait_until("the origin has seen the end of it", || async { origin.active("*") == 0 }).await;
    assert!(origin.seen("/up").iter().all(|seen| seen.body != Body::Whole), "{:?}", origin.seen("/up"));
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
