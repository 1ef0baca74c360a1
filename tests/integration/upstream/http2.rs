//! HTTP/2 towards servers: one connection for many, and every promise of HTTP/1.1 kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::net::TcpListener;

use super::assert_proxy_error;
use super::tls::believing;
use crate::harness::modern::Modern;
use crate::harness::tls::Authority;
use crate::harness::websocket::handshake;
use crate::harness::{Connection, H2, Proxy, concurrently, request, wait_until};

const ROUTE: &str = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off' }]";

async fn before(origin: &Modern, more: &str) -> Proxy {
    let config = format!("upstreams.origin = {{ servers = ['h2c://{}']{more} }}\n{ROUTE}", origin.address);
    Proxy::before(origin.address, &config).await
}

#[tokio::test]
async fn requests_are_translated_and_share_one_connection() {
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, "").await;
    let answer = proxy
        .send(
            &request("POST /up?a=b")
                .field("Connection", "x-hop")
                .field("X-Hop", "1")
                .chunked("x".repeat(300_000)),
        )
        .await
        .json();
    assert_eq!((&answer["version"], &answer["body_length"]), (&"HTTP/2.0".into(), &300_000.into()));
    assert_eq!(answer["uri"], "http://scan.example/up?a=b");
    let fields = answer["fields"].to_string();
    for absent in ["\"host\"", "\"connection\"", "transfer-encoding", "x-hop"] {
        assert!(!fields.contains(absent), "{absent} in {fields}");
    }
    let address = proxy.address;
    let waiting = concurrently(50, move |_| async move { request("GET /wait").send(address).await.status() });
    let opened = async {
        wait_until("all are at work", || async { origin.at_work().0 == 50 }).await;
        origin.shared.gate.open();
    };
    assert_eq!(tokio::join!(waiting, opened).0, [200; 50]);
    assert_eq!(origin.connections(), 1);
    let host_of_the_server = before(&origin, ", host = 'upstream'").await.get("/").await.json();
    assert_eq!(host_of_the_server["uri"], format!("http://{}/", origin.address));
}

#[tokio::test]
async fn beyond_its_streams_a_connection_has_a_second_one_and_then_a_line() {
    let origin = Modern::h2c(2).await;
    let proxy = before(&origin, ", max_connections = 2").await;
    assert_eq!(proxy.get("/settings-are-known-now").await.status(), 200);
    let address = proxy.address;
    let waiting = concurrently(10, move |_| async move { request("GET /wait").send(address).await.status() });
    let opened = async {
        wait_until("four are at work", || async { origin.at_work().0 == 4 }).await;
        origin.shared.gate.open();
    };
    assert_eq!(tokio::join!(waiting, opened).0, [200; 10]);
    assert_eq!((origin.connections(), origin.at_work()), (2, (0, 4)));
}

#[tokio::test]
async fn bodies_stream_trailers_pass_and_cuts_are_seen() {
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, "").await;
    assert_eq!(proxy.get("/bytes/5000000").await.body.len(), 5_000_000);
    let client = H2::open(proxy.address).await;
    let answer = client.get("/trailers", &[("te", "trailers")]).await;
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let cut = proxy.get("/cut").await;
    assert!(cut.status() == 502 || cut.cut_short.is_some(), "{cut:?}");
    assert_eq!(proxy.get("/after").await.status(), 200);
    assert_eq!(origin.connections(), 1, "a stream that was cut cuts no other");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_else_up() {
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, "").await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(proxy.address).await;
        connection.send(request("GET /bytes/20000000").bytes()).await;
        stalled.push(connection);
    }
    for connection in &mut stalled {
        assert_eq!(connection.head("GET").await.status(), 200);
    }
    for _ in 0..5 {
        assert_eq!(proxy.get("/bytes/300000").await.body.len(), 300_000);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_upgrade_in_the_clear_is_refused() {
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, "").await;
    assert_proxy_error(&proxy.send(&handshake("/ws")).await, 502, "http_upgrade_failed");
    assert_eq!(origin.count("/ws"), 0);
}

/// A WebSocket through `proxy`, on which a byte has been to the server and back.
async fn web_socket(proxy: &Proxy) -> Connection {
    let mut socket = Connection::open(proxy.address).await;
    socket.send(handshake("/ws").bytes()).await;
    assert_eq!(socket.head("GET").await.status(), 101);
    socket.send("x").await;
    assert_eq!(socket.wire.exactly(1).await.unwrap(), b"x");
    socket
}

#[tokio::test]
async fn a_web_socket_to_a_server_that_chooses_http_2_has_an_http_1_connection_of_its_own() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &["h2", "http/1.1"], false)).await;
    let limits = "{ max_connections = 3, acquire_timeout = '500ms', idle_timeout = '60s',";
    let config = believing(&authority, &origin, "").replacen('{', limits, 1);
    let proxy = Proxy::before(origin.address, &config).await;
    // Once while nothing is known of the server, and once on top of what is.
    let before = web_socket(&proxy).await;
    assert_eq!(proxy.get("/").await.json()["version"], "HTTP/2.0");
    let after = web_socket(&proxy).await;
    assert_eq!(origin.connections(), 3);
    assert_proxy_error(&proxy.send(&handshake("/ws")).await, 503, "connection_limit_reached");
    assert_eq!(proxy.get("/").await.json()["version"], "HTTP/2.0", "the others are not disturbed");
    let waiting = proxy.begin(&handshake("/ws/declined"));
    drop((before, after));
    assert_eq!(
        waiting.await.unwrap().json()["version"],
        "HTTP/1.1",
        "an upgrade that is declined is answered"
    );
}

#[tokio::test]
async fn a_web_socket_to_a_server_that_speaks_nothing_but_http_2_is_502() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &["h2"], false)).await;
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, "")).await;
    assert_eq!(proxy.get("/").await.json()["version"], "HTTP/2.0");
    assert_proxy_error(&proxy.send(&handshake("/ws")).await, 502, "tls_alert_received");
    assert_eq!(proxy.get("/").await.json()["version"], "HTTP/2.0");
}

#[tokio::test]
async fn old_and_idle_connections_are_replaced() {
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, ", max_age = '500ms', idle_timeout = '60s'").await;
    wait_until("another connection is opened", || async {
        assert_eq!(proxy.get("/").await.status(), 200);
        origin.connections() >= 3
    })
    .await;
    let origin = Modern::h2c(100).await;
    let proxy = before(&origin, ", idle_timeout = '200ms'").await;
    assert_eq!(proxy.get("/").await.status(), 200);
    proxy.wait_for_metric("forebay_upstream_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_server_that_speaks_http_1_over_tls_is_spoken_to_so() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &[], false)).await;
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, "")).await;
    assert_eq!(proxy.get("/").await.json()["version"], "HTTP/1.1");
}

/// A server that treats its first connection as `first` says and answers 200 on every other.
async fn fickle(first: Treatment) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((stream, _)) = listener.accept().await {
            let treatment = std::mem::replace(&mut is_first, false).then_some(first);
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut refused = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    counted.fetch_add(1, Ordering::SeqCst);
                    match treatment {
                        Some(Treatment::RefusesOneStream) if refused == 0 => {
                            refused += 1;
                            respond.send_reset(h2::Reason::REFUSED_STREAM);
                        }
                        Some(Treatment::SaysGoodbye) => {
                            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                            body.send_data(Bytes::from("bye"), true).unwrap();
                            connection.graceful_shutdown();
                        }
                        _ => {
                            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                            body.send_data(Bytes::from("ok"), true).unwrap();
                        }
                    }
                }
            });
        }
    });
    (address, requests)
}

#[derive(Debug, Clone, Copy)]
enum Treatment {
    RefusesOneStream,
    SaysGoodbye,
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_for_a_get_and_never_for_a_post() {
    for (line, status, requests) in [("GET /", 200, 2), ("POST /", 502, 1)] {
        let (address, counted) = fickle(Treatment::RefusesOneStream).await;
        let config = format!("upstreams.origin.servers = ['h2c://{address}']");
        let proxy = Proxy::before(address, &config).await;
        let answer = proxy.send(&request(line)).await;
        assert_eq!((answer.status(), counted.load(Ordering::SeqCst)), (status, requests), "{line}");
    }
}

#[tokio::test]
async fn after_a_goodbye_requests_go_to_another_connection() {
    let (address, counted) = fickle(Treatment::SaysGoodbye).await;
    let proxy = Proxy::before(address, &format!("upstreams.origin.servers = ['h2c://{address}']")).await;
    assert_eq!(proxy.get("/").await.text(), "bye");
    for number in 1..=5 {
        assert_eq!(proxy.send(&request(&format!("POST /{number}"))).await.text(), "ok");
    }
    assert_eq!(counted.load(Ordering::SeqCst), 6);
}
