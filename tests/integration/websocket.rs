//! Upgraded connections: bytes both ways, a permit for as long as they last, and no tunnel that nobody asked for.

use crate::harness::websocket::{handshake, read_text, text_frame};
use crate::harness::{Connection, Origin, Proxy, Script, request, wait_until};

const ONE_AT_A_TIME: &str = "
    in_flight.sockets = { max = 1 }
    routes = [{ name = 'live', match = 'GET /ws/{workspace}', in_flight = 'sockets' }]";

/// An open WebSocket to `path`; panics unless it is accepted.
async fn open(proxy: &Proxy, path: &str) -> Connection {
    let mut socket = Connection::open(proxy.address).await;
    socket.send(handshake(path).bytes()).await;
    let head = socket.head("GET").await;
    assert_eq!(head.status(), 101, "{head:?}");
    assert!(head.field("sec-websocket-accept").is_some());
    socket
}

/// The origin echoes bytes, so what comes back is the masked frame itself.
async fn assert_echoes(socket: &mut Connection, text: &str) {
    let frame = text_frame(text);
    socket.send(&frame).await;
    assert_eq!(socket.wire.exactly(frame.len()).await.unwrap(), frame);
}

#[tokio::test]
async fn frames_pass_both_ways() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let proxy = Proxy::start(&origin, "").await;
    let mut socket = open(&proxy, "/ws/one").await;
    for text in ["hello", "again", "and again"] {
        assert_echoes(&mut socket, text).await;
    }
    let seen = origin.only("/ws/one");
    assert_eq!(seen.field("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    assert!(seen.field("connection").unwrap().to_lowercase().contains("upgrade"));
    drop(socket);
    wait_until("the origin's side is closed too", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn an_open_socket_holds_its_permit_until_it_closes() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let proxy = Proxy::start(&origin, ONE_AT_A_TIME).await;
    let mut socket = open(&proxy, "/ws/one").await;
    assert_eq!(proxy.metric("forebay_in_flight", &["pool=\"sockets\""]).await, 1.0);
    proxy.send(&handshake("/ws/two")).await.assert_problem(429);
    assert_echoes(&mut socket, "still here").await;
    drop(socket);
    proxy.wait_for_metric("forebay_in_flight", &["pool=\"sockets\""], 0.0).await;
    assert_echoes(&mut open(&proxy, "/ws/three").await, "my turn").await;
    assert_eq!(origin.count("/ws/two"), 0);
}

/// Case 4 as it is told.
#[tokio::test]
async fn three_sockets_of_a_workspace_and_fifty_in_all() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let config = "
        in_flight.sockets = { max = 50, per = { key = 'path:workspace', max = 3 } }
        routes = [{ name = 'live', match = 'GET /ws/{workspace}', in_flight = 'sockets' }]";
    let proxy = Proxy::start(&origin, config).await;
    let held = ("forebay_in_flight", &["pool=\"sockets\""] as &[&str]);
    let mut sockets = Vec::new();
    for number in 0..48 {
        sockets.push(open(&proxy, &format!("/ws/team-{}", number / 3)).await);
    }
    proxy.send(&handshake("/ws/team-7")).await.assert_problem(429);
    drop(sockets.remove(3 * 7));
    proxy.wait_for_metric(held.0, held.1, 47.0).await;
    for team in [7, 16, 16] {
        sockets.push(open(&proxy, &format!("/ws/team-{team}")).await);
    }
    assert_eq!(proxy.metric(held.0, held.1).await, 50.0);
    proxy.send(&handshake("/ws/team-17")).await.assert_problem(429);
    assert_echoes(&mut sockets[0], "still here").await;
    assert_eq!((origin.count("/ws/team-7"), origin.count("/ws/team-17")), (4, 0));
    drop(sockets);
    proxy.wait_for_metric(held.0, held.1, 0.0).await;
}

#[tokio::test]
async fn a_silent_socket_is_closed_after_the_routes_idle_timeout_and_gives_its_permit_back() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let config =
        ONE_AT_A_TIME.replace("in_flight = 'sockets' }]", "in_flight = 'sockets', idle_timeout = '1s' }]");
    let proxy = Proxy::start(&origin, &config).await;
    let mut socket = open(&proxy, "/ws/one").await;
    assert_echoes(&mut socket, "hello").await;
    socket.assert_closes().await;
    wait_until("the origin's side is closed too", || async { origin.active("*") == 0 }).await;
    proxy.wait_for_metric("forebay_in_flight", &["pool=\"sockets\""], 0.0).await;
}

#[tokio::test]
async fn an_origin_that_does_not_upgrade_is_answered_for_as_usual() {
    let origin = Origin::start();
    origin.on("/ws/no", Script::status(403).body("not here"));
    let proxy = Proxy::start(&origin, "").await;
    let response = proxy.send(&handshake("/ws/no")).await;
    assert_eq!((response.status(), response.text()), (403, "not here"));
}

#[tokio::test]
async fn a_switch_of_protocols_that_nobody_asked_for_is_502() {
    let origin = Origin::start();
    origin.on("/plain", Script::upgrade());
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/plain").await.assert_problem(502);
    proxy.send(&request("POST /plain").body("x")).await.assert_problem(502);
}

#[tokio::test]
async fn an_upgrade_that_is_no_whole_web_socket_handshake_is_not_passed_on() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let asked = || request("GET /ws").field("Connection", "Upgrade");
    for asking in [
        asked().field("Upgrade", "foo"),
        asked().field("Upgrade", "TLS/1.0"),
        asked().field("Upgrade", "websocket"),
        asked()
            .field("Upgrade", "websocket")
            .field("Sec-WebSocket-Version", "13")
            .field("Sec-WebSocket-Key", "x"),
        handshake("/ws").field("Upgrade", "foo"),
    ] {
        assert_eq!(proxy.send(&asking).await.status(), 200, "{asking:?}");
        let seen = origin.seen("/ws").pop().unwrap();
        assert_eq!(seen.field("upgrade"), None, "{seen:?}");
    }
    // Nor is it a tunnel where the backend thinks so.
    origin.on("/ws", Script::upgrade());
    proxy.send(&asked().field("Upgrade", "foo")).await.assert_problem(502);
}

#[tokio::test]
async fn two_handshakes_are_two_sockets() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let proxy = Proxy::start(&origin, "").await;
    let (mut first, mut second) = (open(&proxy, "/ws/one").await, open(&proxy, "/ws/one").await);
    assert_echoes(&mut first, "first").await;
    assert_echoes(&mut second, "second").await;
    assert_eq!(origin.count("/ws/one"), 2);
}

#[tokio::test]
async fn the_example_backend_answers_through_a_tunnel() {
    let backend = crate::harness::backend::Backend::start(&[]).await;
    let proxy = Proxy::before(backend.address(), "").await;
    let mut socket = open(&proxy, "/ws/team-7").await;
    socket.send(text_frame("hello")).await;
    assert_eq!(read_text(&mut socket).await, "team-7: hello");
}

#[tokio::test]
async fn an_open_socket_counts_among_the_connections() {
    let origin = Origin::start();
    origin.on("/ws/*", Script::upgrade());
    let proxy = Proxy::start(&origin, "listener.max_connections = 1").await;
    let mut socket = open(&proxy, "/ws/one").await;
    let waiting = proxy.begin(&request("GET /next"));
    assert_echoes(&mut socket, "still here").await;
    assert_eq!(proxy.metric("forebay_connections", &["listener=\"public\""]).await, 1.0);
    assert_eq!((waiting.is_finished(), origin.count("/next")), (false, 0));
    drop(socket);
    assert_eq!(waiting.await.unwrap().status(), 200);
}
