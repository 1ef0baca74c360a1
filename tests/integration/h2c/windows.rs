//! Clients of HTTP/2 that open no window, or hold a connection for nothing.

use crate::harness::frames::*;
use crate::harness::{Gate, H2, Origin, Proxy, Script, request, seconds, wait_until};

/// One permit, short timeouts, and room in memory for few.
const SHORT: &str = "
    listener.idle_timeout = '1s'
    listener.header_timeout = '500ms'
    upstreams.origin.body_timeout = '20s'
    in_flight.one = { max = 1 }
    [[routes]]
    name = 'all'
    match = '/{*rest}'
    in_flight = 'one'";

const IN_FLIGHT: (&str, &[&str]) = ("forebay_in_flight", &["pool=\"one\""]);

async fn none_is_open(proxy: &Proxy) {
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 0.0).await;
}

/// The client keeps its connection in use, so that it is the stream that is found.
#[tokio::test]
async fn an_answer_whose_window_stays_shut_gives_its_permit_back() {
    let origin = Origin::start();
    origin.on("/large", Script::chunked().repeat(vec![b'x'; 65_536], 1_000));
    let proxy = Proxy::start(&origin, SHORT).await;
    let mut client = Frames::open(proxy.address, &[NO_WINDOW]).await;
    client.send(get(1, "/large")).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    assert_eq!(proxy.metric(IN_FLIGHT.0, IN_FLIGHT.1).await, 1.0);
    let stream = client.until("a reset", |frame| frame.kind == RST_STREAM).await.stream;
    assert_eq!(stream, 1);
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    wait_until("the origin is let go", || async { origin.active("*") == 0 }).await;
    assert_eq!(proxy.metric("forebay_http2_stalled_streams_total", &[]).await, 1.0);
    assert_eq!(proxy.get("/next").await.status(), 200);
    none_is_open(&proxy).await;
}

/// The window of the connection is shut for all: those of the streams are wide open.
#[tokio::test]
async fn a_connection_whose_window_stays_shut_ends() {
    let origin = Origin::start();
    origin.on("/large*", Script::chunked().repeat(vec![b'x'; 65_536], 1_000));
    let config = SHORT.replace("max = 1 ", "max = 50 ");
    let proxy = Proxy::start(&origin, &config).await;
    let mut client = Frames::open(proxy.address, &[setting(4, 0x7fff_ffff)]).await;
    for number in 0..20 {
        client.send(get(2 * number + 1, &format!("/large/{number}"))).await;
    }
    client.ended().await;
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    none_is_open(&proxy).await;
    wait_until("the origin is let go", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_reads_gets_all() {
    let origin = Origin::start();
    origin.on("/large", Script::ok(vec![b'x'; 400_000]));
    let proxy = Proxy::start(&origin, SHORT).await;
    let mut client = Frames::open(proxy.address, &[NO_WINDOW]).await;
    client.send([get(1, "/large"), window_update(0, 1_000_000)].concat()).await;
    let mut got = 0;
    for _ in 0..10 {
        client.send(window_update(1, 40_000)).await;
        let mut now = 0;
        while now < 40_000 {
            let frame = client.until("a part", |frame| frame.kind == DATA || frame.kind == RST_STREAM).await;
            assert_eq!(frame.kind, DATA, "reset after {got} bytes");
            now += frame.payload.len();
        }
        got += now;
        // The pace of this client: ten such pauses outlast the timeout, none does.
        tokio::time::sleep(seconds(0.25)).await;
    }
    assert_eq!(got, 400_000);
    assert_eq!(client.ended().await, Some(0), "then it is idle");
}

/// An answer complete on this side, of which the client has not taken the end.
#[tokio::test]
async fn an_end_that_is_never_taken_holds_neither_permit_nor_connection() {
    let origin = Origin::start();
    origin.on("/small", Script::ok(vec![b'x'; 5_000]));
    let proxy = Proxy::start(&origin, SHORT).await;
    let mut client = Frames::open(proxy.address, &[NO_WINDOW]).await;
    client.send(get(1, "/small")).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    client.ended().await;
    none_is_open(&proxy).await;
}

#[tokio::test]
async fn pings_keep_no_idle_connection_open() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, SHORT).await;
    let mut client = Frames::open(proxy.address, &[]).await;
    client.send(get(1, "/once")).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    let code = loop {
        client.send(frame(PING, 0, 0, b"12345678")).await;
        match client.until("a PONG or the end", |frame| matches!(frame.kind, PING | GOAWAY)).await {
            end if end.kind == GOAWAY => break end.code(),
            _ => tokio::time::sleep(seconds(0.05)).await,
        }
    };
    assert_eq!(code, 0, "it is told politely");
    client.ended().await;
    none_is_open(&proxy).await;
}

#[tokio::test]
async fn a_head_that_stops_midway_ends_the_connection_although_others_are_under_way() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("late").when(&gate));
    let proxy = Proxy::start(&origin, SHORT).await;
    let whole = get(3, "/never");
    for half in [&whole[..whole.len() - 3], &frame(HEADERS, END_STREAM, 3, &[0x82])] {
        let mut client = Frames::open(proxy.address, &[]).await;
        client.send([&get(1, "/slow"), half].concat()).await;
        client.ended().await;
        none_is_open(&proxy).await;
        proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    }
    assert_eq!(origin.count("/never"), 0);
}

/// Settings that make no sense, or that change under way.
#[tokio::test]
async fn odd_settings_are_refused_or_obeyed() {
    let origin = Origin::start();
    origin.on("/large", Script::ok(vec![b'x'; 100_000]));
    let proxy = Proxy::start(&origin, "").await;
    for (what, odd) in [
        ("a window beyond all", setting(4, 0x8000_0000)),
        ("frames too small", setting(5, 100)),
        ("frames too large", setting(5, 0x0100_0000)),
        ("push neither on nor off", setting(2, 2)),
    ] {
        let mut client = Frames::open(proxy.address, &[odd]).await;
        let code = client.ended().await;
        assert!(code.is_some_and(|code| code != 0), "{what}: {code:?}");
    }
    let mut client = Frames::open(proxy.address, &[NO_WINDOW, setting(0xface, 7)]).await;
    client.send(get(1, "/large")).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    client
        .send([frame(SETTINGS, 0, 0, &setting(4, 0x7fff_ffff)), window_update(0, 1_000_000)].concat())
        .await;
    let mut got = 0;
    while got < 100_000 {
        got += client.until("the rest", |frame| frame.kind == DATA).await.payload.len();
    }
    assert_eq!(got, 100_000);
}

#[tokio::test]
async fn hundreds_of_connections_that_open_no_window_come_back() {
    let origin = Origin::start();
    origin.on("/large*", Script::chunked().repeat(vec![b'x'; 65_536], 1_000));
    let config = SHORT.replace("max = 1 ", "max = 5000 ");
    let config = format!("{config}\n[upstreams.origin]\nmax_connections = 0");
    let proxy =
        Proxy::start(&origin, &config.replace("    upstreams.origin.body_timeout = '20s'\n", "")).await;
    let before = proxy.descriptors();
    let good = H2::open(proxy.address).await;
    let mut clients = Vec::new();
    for number in 0..300 {
        let mut client = Frames::open(proxy.address, &[NO_WINDOW]).await;
        client
            .send([get(1, &format!("/large/{number}")), get(3, &format!("/large/{number}b"))].concat())
            .await;
        clients.push(client);
    }
    assert_eq!(good.get("/good", &[]).await.status(), 200);
    proxy.wait_for_metric(IN_FLIGHT.0, IN_FLIGHT.1, 0.0).await;
    none_is_open(&proxy).await;
    wait_until("the descriptors are back", || async { proxy.descriptors() <= before + 8 }).await;
    assert_eq!(proxy.send(&request("GET /next")).await.status(), 200);
}
