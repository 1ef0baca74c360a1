//! HTTP/2 with prior knowledge in the clear, forwarded as HTTP/1.1.

mod floods;
mod translation;
mod windows;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Connection, H2, Origin, Proxy, Script, concurrently, frames, request, seconds};

#[tokio::test]
async fn a_get_and_a_post_arrive_as_http_1_1() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let client = H2::open(proxy.address).await;
    let got = client.get("/a?b=1", &[("x-tag", "one")]).await;
    assert_eq!((got.status(), &got.json()["target"]), (200, &"/a?b=1".into()));
    let posted = client.send("POST", "/up", &[], "hello").await;
    assert_eq!(posted.json()["body"], "hello");

    let seen = origin.only("/a");
    assert!(seen.head.start.ends_with("HTTP/1.1"), "{seen:?}");
    assert_eq!(seen.field("host"), Some("scan.example"));
    assert_eq!(seen.field("x-tag"), Some("one"));
    assert_eq!(seen.field("via"), Some("2 forebay"));
    assert_eq!(origin.only("/up").body_start, b"hello");
}

#[tokio::test]
async fn cookie_lines_are_joined() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let client = H2::open(proxy.address).await;
    client.get("/", &[("cookie", "a=1"), ("cookie", "b=2")]).await;
    assert_eq!(origin.only("/").field("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn fields_of_an_http_1_1_connection_do_not_reach_http_2() {
    let origin = Origin::start();
    let answer = Script::chunked().body("x").field("Connection", "X-Hop").field("X-Hop", "1");
    origin.on("/", answer.field("Keep-Alive", "timeout=5"));
    let proxy = Proxy::start(&origin, "").await;
    let response = H2::open(proxy.address).await.get("/", &[]).await;
    assert_eq!(response.text(), "x");
    for name in ["connection", "keep-alive", "transfer-encoding", "x-hop"] {
        assert_eq!(response.field(name), None, "{name}");
    }
}

#[tokio::test]
async fn trailers_cross_from_http_1_1() {
    let origin = Origin::start();
    origin.on("/", Script::chunked().field("Trailer", "X-Sum").body("data").trailer("X-Sum", "42"));
    let proxy = Proxy::start(&origin, "").await;
    let response = H2::open(proxy.address).await.get("/", &[("te", "trailers")]).await;
    assert_eq!(response.text(), "data");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let client = H2::open(proxy.address).await;
    let responses = concurrently(200, |number| {
        let client = client.clone();
        async move { client.get(&format!("/{number}"), &[]).await }
    })
    .await;
    for (number, response) in responses.iter().enumerate() {
        assert_eq!(response.json()["target"], format!("/{number}"));
    }
    assert_eq!(proxy.metric("forebay_connections", &["listener=\"public\""]).await, 1.0);
}

/// RFC 9113 section 6.5.2.
#[tokio::test]
async fn a_client_is_told_how_many_streams_it_may_open() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let [_, _, length, kind, ..] = head;
    assert_eq!(kind, 4, "the first frame is SETTINGS: {head:?}");
    let mut settings = vec![0; length.into()];
    stream.read_exact(&mut settings).await.unwrap();
    assert!(settings.chunks(6).any(|setting| *setting == [0, 3, 0, 0, 0, 100]), "{settings:?}");
}

/// RFC 9113 section 3.4.
#[tokio::test]
async fn a_preface_behind_a_request_is_not_obeyed() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let opening =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], &frames::get(1, "/smuggled")].concat();
    for is_pipelined in [false, true] {
        let mut connection = Connection::open(proxy.address).await;
        if is_pipelined {
            connection.send([request("GET /first").bytes(), opening.clone()].concat()).await;
            assert_eq!(connection.response("GET").await.status(), 200);
        } else {
            assert_eq!(connection.ask(&request("GET /first")).await.status(), 200);
            connection.send(&opening).await;
        }
        connection.assert_closes().await;
    }
    assert_eq!((origin.count("/first"), origin.count("*")), (2, 2));
}

#[tokio::test]
async fn the_bounds_of_http_1_1_hold_here_too() {
    let origin = Origin::start();
    let config = "
        listener.max_body_bytes = '1KiB'
        rate_limits.one = { key = 'client_ip', rates = ['1/hour'] }
        [[routes]]
        name = 'limited'
        match = '/limited'
        rate_limits = ['one']
        [[routes]]
        name = 'rest'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    let client = H2::open(proxy.address).await;
    assert_eq!(client.send("POST", "/up", &[], vec![b'x'; 1025]).await.status(), 413);
    assert_eq!(client.get("/limited", &[]).await.status(), 200);
    client.get("/%6Cimited", &[]).await.assert_problem(429);
    assert_eq!(origin.count("/limited"), 1);
}

#[tokio::test]
async fn a_truncated_answer_resets_the_stream() {
    let origin = Origin::start();
    origin.on("/cut", Script::chunked().body("half").pause(seconds(0.2)).cut());
    let proxy = Proxy::start(&origin, "").await;
    let client = H2::open(proxy.address).await;
    assert!(client.get("/cut", &[]).await.cut_short.is_some());
    assert_eq!(client.get("/after", &[]).await.status(), 200);
}
