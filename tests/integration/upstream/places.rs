//! Where servers are: names with several addresses, sockets of the same machine, and connections of a certain age.

use tokio::net::{TcpStream, UnixListener};

use super::assert_proxy_error;
use crate::harness::{Origin, Proxy, Scratch, Script, request};

#[tokio::test]
async fn a_name_with_several_addresses_is_reached_at_the_one_that_answers() {
    // The origin listens on 127.0.0.1 only; `localhost` is often ::1 as well.
    let origin = Origin::start();
    let server = format!("http://localhost:{}", origin.address().port());
    let proxy = Proxy::start(&origin, &format!("upstreams.origin.servers = ['{server}']")).await;
    for number in 0..4 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status(), 200);
    }
    assert!(proxy.metric("forebay_upstream_look_ups_total", &["result=\"found\""]).await >= 1.0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_502_and_does_not_hang() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "upstreams.origin.servers = ['http://nobody.invalid']").await;
    let response = proxy.get("/").await;
    assert_proxy_error(&response, 502, "dns_error");
    assert!(proxy.metric("forebay_upstream_look_ups_total", &["result=\"failed\""]).await >= 1.0);
}

/// A socket behind which the origin is.
fn socket_to(origin: &Origin, scratch: &Scratch) -> String {
    let path = scratch.path().join("app.sock");
    let (listener, address) = (UnixListener::bind(&path).unwrap(), origin.address());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    format!("unix:{}", path.display())
}

#[tokio::test]
async fn a_server_may_be_a_socket_of_the_same_machine() {
    let (origin, scratch) = (Origin::start(), Scratch::new());
    let server = socket_to(&origin, &scratch);
    for (host, expected) in [("preserve", "scan.example"), ("upstream", "localhost")] {
        let config = format!("upstreams.origin = {{ servers = ['{server}'], host = '{host}' }}");
        let proxy = Proxy::start(&origin, &config).await;
        assert_eq!(proxy.get("/").await.status(), 200);
        let posted = proxy.send(&request("POST /up").body("x".repeat(100_000))).await;
        assert_eq!(posted.json()["body_length"], 100_000);
        assert_eq!(origin.seen("/up").pop().unwrap().field("host"), Some(expected));
        let stats = proxy.admin_get("/api/pool/stats").await.json();
        assert_eq!(stats["upstreams"][0]["servers"][0]["server"], server);
    }
    let gone = Proxy::start(&origin, "upstreams.origin.servers = ['unix:/nowhere/app.sock']").await;
    assert_proxy_error(&gone.get("/").await, 502, "connection_refused");
}

#[tokio::test]
async fn a_server_that_says_how_long_it_keeps_a_connection_is_believed_a_second_less() {
    let origin = Origin::start();
    origin.on("/brief", Script::ok("").field("keep-alive", "timeout=1"));
    origin.on("/long", Script::ok("").field("keep-alive", "timeout=60, max=100"));
    let proxy = Proxy::start(&origin, "upstreams.origin.idle_timeout = '60s'").await;
    for (path, connections) in [("/brief", 1), ("/long", 2), ("/long", 2), ("/brief", 2), ("/long", 3)] {
        assert_eq!(proxy.get(path).await.status(), 200);
        assert_eq!(origin.connections(), connections, "{path}");
    }
}
