//! Ending well: nobody new, everybody to their end, and out.

use crate::harness::client::Connection;
use crate::harness::frames::{self, Frames, GOAWAY};
use crate::harness::websocket::handshake;
use crate::harness::{Gate, H2, Origin, Proxy, Script, concurrently, request, seconds, wait_until, within};

#[tokio::test]
async fn of_two_hundred_in_flight_none_fails() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::chunked().when(&gate).body("whole ").pause(seconds(0.2)).body("answer"));
    // Readiness goes first: who comes in before the listener is closed is served like anybody else.
    origin.on("/late", Script::ok("just in time"));
    let config = "listener.drain_timeout = '60s'\nupstreams.origin.max_connections = 0";
    let mut proxy = Proxy::start(&origin, config).await;
    let address = proxy.address;
    let all = tokio::spawn(concurrently(200, move |number| async move {
        let method = if number % 4 == 0 { "POST" } else { "GET" };
        request(&format!("{method} /{number}")).send(address).await
    }));
    wait_until("all are at the origin", || async { origin.active("*") == 200 }).await;
    proxy.signal("TERM");
    wait_until("readiness is off", || async { proxy.admin_get("/readyz").await.status() == 503 }).await;
    assert!(proxy.admin_get("/readyz").await.text().contains("draining"));
    assert_eq!(proxy.admin_get("/healthz").await.status(), 200);
    wait_until("nobody new is accepted", || async { request("GET /late").try_send(address).await.is_err() })
        .await;
    gate.open();
    for response in all.await.unwrap() {
        assert_eq!((response.status(), response.text()), (200, "whole answer"));
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_closes_and_a_late_request_on_an_open_one_is_served() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("slow").when(&gate));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut idle = Connection::open(proxy.address).await;
    assert_eq!(idle.ask(&request("GET /")).await.status(), 200);
    let mut busy = Connection::open(proxy.address).await;
    busy.send(request("GET /slow").bytes()).await;
    wait_until("it runs", || async { origin.active("/slow") == 1 }).await;
    proxy.signal("TERM");
    idle.assert_closes().await;
    gate.open();
    let response = busy.response("GET").await;
    assert_eq!((response.text(), response.field("connection")), ("slow", Some("close")));
    busy.assert_closes().await;
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_signal_right_after_it_says_that_it_listens_is_a_drain_already() {
    let origin = Origin::start();
    for _ in 0..5 {
        let mut proxy = Proxy::start(&origin, "").await;
        proxy.signal("TERM");
        assert_eq!(proxy.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn what_is_cut_at_the_deadline_makes_the_exit_status_1() {
    let origin = Origin::start();
    origin.on("/stuck", Script::ok("").after(seconds(60.0)));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '500ms'").await;
    let mut stuck = Connection::open(proxy.address).await;
    stuck.send(request("GET /stuck").bytes()).await;
    wait_until("it runs", || async { origin.active("/stuck") == 1 }).await;
    proxy.signal("TERM");
    assert_eq!(proxy.ended().await.code(), Some(1));
}

#[tokio::test]
async fn an_interrupt_ends_it_as_well() {
    let origin = Origin::start();
    let mut proxy = Proxy::start(&origin, "").await;
    proxy.signal("INT");
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn open_tunnels_do_not_hold_the_end_up_beyond_the_deadline() {
    let origin = Origin::start();
    origin.on("/ws", Script::upgrade());
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '500ms'").await;
    let mut socket = Connection::open(proxy.address).await;
    socket.send(handshake("/ws").bytes()).await;
    assert_eq!(socket.head("GET").await.status(), 101);
    proxy.signal("TERM");
    assert!(proxy.ended().await.code().is_some());
    wait_until("the origin's side is closed", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn whoever_waits_in_a_queue_is_served_to_the_end_too() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::ok("done").when(&gate));
    let config = "
        listener.drain_timeout = '60s'
        in_flight.scans = { max = 1, queue = { size = 5, timeout = '60s' } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'scans' }]";
    let mut proxy = Proxy::start(&origin, config).await;
    let all: Vec<_> = (0..3).map(|number| proxy.begin(&request(&format!("POST /{number}")))).collect();
    proxy.wait_for_metric("forebay_queue_depth", &["pool=\"scans\""], 2.0).await;
    proxy.signal("TERM");
    wait_until("readiness is off", || async { proxy.admin_get("/readyz").await.status() == 503 }).await;
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().text(), "done");
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_http_2_client_that_says_nothing_does_not_hold_it_up() {
    let origin = Origin::start();
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut silent = Connection::open(proxy.address).await;
    silent.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    silent.wire.exactly(9).await.expect("forebay's settings");
    proxy.signal("TERM");
    assert_eq!(within("the end of the drain", proxy.ended()).await.code(), Some(0));
}

#[tokio::test]
async fn an_event_stream_comes_to_a_whole_end_at_the_deadline() {
    let origin = Origin::start();
    origin.on("/events", Script::events().body("data: 1\n\n"));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '300ms'").await;
    let mut streams = Vec::new();
    // Asked for as one, by a write, and by who does not say what is wanted.
    for asked in [
        request("GET /events").field("Accept", "text/event-stream"),
        request("POST /events"),
        request("GET /events"),
    ] {
        let mut stream = Connection::open(proxy.address).await;
        stream.send(asked.bytes()).await;
        assert_eq!(stream.head("GET").await.status(), 200);
        assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 1\n\n");
        streams.push(stream);
    }
    let h2 = H2::open(proxy.address).await;
    let other = tokio::spawn(async move { h2.get("/events", &[("accept", "text/event-stream")]).await });
    wait_until("all run", || async { origin.active("/events") == 4 }).await;
    proxy.signal("TERM");
    for mut stream in streams {
        assert_eq!(stream.data().await.unwrap(), None, "the last chunk came");
    }
    let other = other.await.unwrap();
    assert_eq!((other.text(), &other.cut_short), ("data: 1\n\n", &None));
    assert_eq!(proxy.ended().await.code(), Some(1));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let origin = Origin::start();
    origin.on("/stuck", Script::ok("").after(seconds(60.0)));
    origin.on("/events", Script::events().body("data: 1\n\n"));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '1h'").await;
    let _stuck = proxy.begin(&request("GET /stuck"));
    let mut stream = Connection::open(proxy.address).await;
    stream.send(request("GET /events").field("Accept", "text/event-stream").bytes()).await;
    wait_until("both run", || async { origin.active("*") == 2 }).await;
    proxy.signal("TERM");
    wait_until("readiness is off", || async { proxy.admin_get("/readyz").await.status() == 503 }).await;
    proxy.signal("TERM");
    assert_eq!(within("the end", proxy.ended()).await.code(), Some(1));
}

#[tokio::test]
async fn an_http_2_client_is_told_to_go_away_and_its_streams_come_to_their_end() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("slow").when(&gate));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut client = Connection::open(proxy.address).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    // GET /slow with the static table of RFC 7541, as the whole of stream 1.
    let head = b"\x82\x86\x04\x05/slow\x01\x01h".as_slice();
    client.send([&[0, 0, 12, 1, 5, 0, 0, 0, 1], head].concat()).await;
    wait_until("it runs", || async { origin.active("/slow") == 1 }).await;
    proxy.signal("TERM");
    let (mut is_told, mut answer) = (false, Vec::new());
    loop {
        let frame = within("a frame", client.wire.exactly(9)).await.unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        let payload = client.wire.exactly(length).await.unwrap();
        match frame[3] {
            7 => {
                is_told = true;
                gate.open();
            }
            0 => answer.extend(payload),
            _ => {}
        }
        if frame[3] == 0 && frame[4] & 1 == 1 {
            break;
        }
    }
    assert_eq!((is_told, answer.as_slice()), (true, b"slow".as_slice()));
    drop(client);
    assert_eq!(within("the end", proxy.ended()).await.code(), Some(0));
}

#[tokio::test]
async fn a_write_whose_http_2_client_leaves_during_the_drain_is_finished() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/write", Script::ok("written").when(&gate));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let h2 = H2::open(proxy.address).await;
    let writing = tokio::spawn(async move { h2.send("POST", "/write", &[], "x").await });
    wait_until("it runs", || async { origin.active("/write") == 1 }).await;
    proxy.signal("TERM");
    wait_until("readiness is off", || async { proxy.admin_get("/readyz").await.status() == 503 }).await;
    writing.abort();
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 0.0).await;
    assert_eq!((origin.active("/write"), proxy.admin_get("/healthz").await.status()), (1, 200));
    gate.open();
    assert_eq!(within("the end", proxy.ended()).await.code(), Some(0));
}

#[tokio::test]
async fn http_2_streams_finish_and_no_new_ones_are_begun() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow*", Script::chunked().when(&gate).body("whole ").pause(seconds(0.2)).body("answer"));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut client = Frames::open(proxy.address, &[]).await;
    for number in 0..20 {
        client.send(frames::get(2 * number + 1, &format!("/slow/{number}"))).await;
    }
    wait_until("all are at the origin", || async { origin.active("/slow*") == 20 }).await;
    proxy.signal("TERM");
    let goaway = client.until("GOAWAY", |frame| frame.kind == GOAWAY).await;
    assert_eq!(goaway.code(), 0);
    let ping = client.until("PING", |frame| frame.kind == frames::PING).await;
    client.send(frames::frame(frames::PING, frames::ACK, 0, &ping.payload)).await;
    client.until("the last word", |frame| frame.kind == GOAWAY).await;
    client.send(frames::get(101, "/too-late")).await;
    gate.open();
    let mut bodies = std::collections::HashMap::<u32, Vec<u8>>::new();
    while let Some(frame) = client.next().await {
        if frame.kind == frames::DATA {
            bodies.entry(frame.stream).or_default().extend(frame.payload);
        }
    }
    assert_eq!(bodies.len(), 20);
    assert!(bodies.values().all(|body| body == b"whole answer"), "{bodies:?}");
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert_eq!(origin.count("/too-late"), 0);
}

/// Forebay has made all of it, and the client takes it at a pace of its own.
#[tokio::test]
async fn an_answer_that_waits_for_its_http_2_clients_window_is_not_cut() {
    let origin = Origin::start();
    origin.on("/report", Script::ok(vec![b'x'; 4_000]));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut client = Frames::open(proxy.address, &[frames::setting(4, 100)]).await;
    client.send(frames::get(1, "/report")).await;
    client.until("its beginning", |frame| frame.kind == frames::DATA).await;
    proxy.wait_for_metric("forebay_requests_in_progress", &["route=\"all\""], 0.0).await;
    proxy.signal("TERM");
    client.until("GOAWAY", |frame| frame.kind == GOAWAY).await;
    for _ in 0..13 {
        // Such a client takes much longer than what one gets that says nothing.
        tokio::time::sleep(seconds(0.25)).await;
        client.send(frames::window_update(1, 300)).await;
        let part = client.until("the next part", |frame| frame.kind == frames::DATA).await;
        assert_eq!(part.payload.len(), 300);
    }
    assert_eq!(proxy.ended().await.code(), Some(0));
}

/// The write goes on without its client; the end of the process waits for it.
#[tokio::test]
async fn a_write_whose_http_2_client_has_just_left_is_finished_before_the_end() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/write*", Script::ok("done").when(&gate));
    let mut proxy = Proxy::start(&origin, "listener.drain_timeout = '60s'").await;
    let mut client = Frames::open(proxy.address, &[]).await;
    for number in 0..10 {
        let path = format!("/write/{number}");
        let post = frames::headers(frames::END_STREAM, 2 * number + 1, &frames::asking("POST", &path));
        client.send(post).await;
    }
    wait_until("they are at the origin", || async { origin.active("/write*") == 10 }).await;
    drop(client);
    proxy.signal("TERM");
    wait_until("readiness is off", || async { proxy.admin_get("/readyz").await.status() == 503 }).await;
    gate.open();
    assert_eq!(proxy.ended().await.code(), Some(0));
    assert!(origin.seen("/write*").iter().all(|seen| !seen.abandoned), "{:?}", origin.seen("/write*"));
}
