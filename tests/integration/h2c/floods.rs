//! Clients of HTTP/2 that send what costs more than it is worth.

use crate::harness::frames::*;
use crate::harness::{Gate, H2, Origin, Proxy, Script, wait_until};

/// A pool for all, so that a permit that is lost would show, and a bound on what is open at the same time.
const POOL: &str = "
    in_flight.all = { max = 500 }
    [[routes]]
    name = 'all'
    match = '/{*rest}'
    in_flight = 'all'";

/// Nothing is left of a client that has gone.
async fn nothing_is_left(proxy: &Proxy) {
    proxy.wait_for_metric("forebay_in_flight", &["pool=\"all\""], 0.0).await;
    wait_until("its connection is closed", || async {
        proxy.metric("forebay_connections", &["listener=\"public\""]).await <= 1.0
    })
    .await;
    assert_eq!(proxy.metric("forebay_panics_total", &[]).await, 0.0);
}

/// Sends `flood` piece by piece until the connection ends; says why it did, and whether all was sent before.
async fn flood(proxy: &Proxy, pieces: impl Iterator<Item = Vec<u8>>) -> Option<u32> {
    let mut client = Frames::open(proxy.address, &[]).await;
    for piece in pieces {
        client.send(piece).await;
    }
    client.ended().await
}

/// Many of one frame in one write.
fn many(one: &[u8], times: usize) -> std::iter::Once<Vec<u8>> {
    std::iter::once(one.repeat(times))
}

/// CVE-2019-9512, -9515, -9513, -9518 and their like.
#[tokio::test]
async fn floods_of_frames_that_ask_for_nothing_end_the_connection() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, POOL).await;
    let good = H2::open(proxy.address).await;
    let upload = headers(0, 1, &asking("POST", "/upload"));
    let of_upload = |one: Vec<u8>, times| std::iter::once([upload.clone(), one.repeat(times)].concat());
    for (what, pieces) in [
        ("PING", many(&frame(PING, 0, 0, b"12345678"), 3_000)),
        ("SETTINGS", many(&frame(SETTINGS, 0, 0, &[]), 500)),
        ("SETTINGS that change every window", many(&frame(SETTINGS, 0, 0, &setting(4, 70_000)), 500)),
        ("PRIORITY", many(&frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1]), 3_000)),
        ("PRIORITY_UPDATE", many(&frame(16, 0, 0, &[0, 0, 0, 1, b'u']), 3_000)),
        ("frames of an unknown type", many(&frame(0xee, 0, 0, &[]), 3_000)),
        ("WINDOW_UPDATE", many(&window_update(0, 1), 20_000)),
        ("empty DATA", of_upload(frame(DATA, 0, 1, &[]), 3_000)),
        ("DATA of nothing but padding", of_upload(frame(DATA, 8, 1, &[3, 0, 0, 0]), 20_000)),
        ("DATA of one byte", of_upload(frame(DATA, 0, 1, b"x"), 20_000)),
    ] {
        assert_eq!(flood(&proxy, pieces).await, Some(ENHANCE_YOUR_CALM), "{what}");
        assert_eq!(good.get("/good", &[]).await.status(), 200, "beside a flood of {what}");
    }
    assert_eq!(proxy.metric("forebay_http2_floods_total", &[]).await, 10.0);
    nothing_is_left(&proxy).await;
}

/// CVE-2023-44487: requests that are cancelled as soon as they are sent.
#[tokio::test]
async fn rapid_resets_end_the_connection_and_reach_the_origin_in_no_great_number() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow*", Script::ok("late").when(&gate));
    let proxy = Proxy::start(&origin, POOL).await;
    let good = H2::open(proxy.address).await;
    for method in ["GET", "POST"] {
        let attack = (0..5_000_u32).map(|number| {
            let (stream, path) = (2 * number + 1, format!("/slow/{number}"));
            [headers(END_STREAM, stream, &asking(method, &path)), reset(stream)].concat()
        });
        assert_eq!(flood(&proxy, attack).await, Some(ENHANCE_YOUR_CALM), "{method}");
        assert_eq!(good.get("/good", &[]).await.status(), 200);
    }
    gate.open();
    nothing_is_left(&proxy).await;
    let reached = origin.count("/slow*");
    assert!(reached < 600, "{reached}");
}

/// CVE-2025-8671: the client sees to it that we reset the streams.
#[tokio::test]
async fn requests_that_are_made_to_fail_end_the_connection_too() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow*", Script::ok("late").when(&gate));
    let proxy = Proxy::start(&origin, POOL).await;
    for (what, fault) in [
        ("a window opened by nothing", |stream| window_update(stream, 0)),
        ("a window opened too far", |stream| window_update(stream, 0x7fff_ffff)),
        ("a stream that depends on itself", |stream| {
            frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat())
        }),
        ("DATA after the end", |stream| frame(DATA, 0, stream, b"more")),
        ("HEADERS after the end", |stream| headers(END_STREAM, stream, &[("x-more", "1")])),
    ] as [(&str, fn(u32) -> Vec<u8>); 5]
    {
        let attack = (0..2_000_u32).map(|number| {
            let stream = 2 * number + 1;
            [get(stream, &format!("/slow/{number}")), fault(stream)].concat()
        });
        assert!(flood(&proxy, attack).await.is_some(), "{what}");
    }
    gate.open();
    nothing_is_left(&proxy).await;
    let reached = origin.count("/slow*");
    assert!(reached < 1_500, "{reached}");
}

/// CVE-2024-27316 and its like: a head that does not end, one that is too large, and one that becomes so.
#[tokio::test]
async fn heads_without_end_are_refused() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, POOL).await;
    let good = H2::open(proxy.address).await;
    let first = frame(HEADERS, END_STREAM, 1, &block(&asking("GET", "/head")));
    let field = block(&[("x-filler", &"x".repeat(1_000))]);
    // One field in the dynamic table, then many references to it.
    let bomb = {
        let mut block = block(&asking("GET", "/bomb"));
        block.extend([0x40, 1, b'x', 0x7f, 0xb9, 0x1e]);
        block.extend(vec![b'x'; 4_024]);
        block.extend(vec![0xbe; 12_000]);
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
    };
    for (what, attack) in [
        ("empty CONTINUATION", [first.clone(), frame(CONTINUATION, 0, 1, &[]).repeat(10_000)].concat()),
        ("full CONTINUATION", [first.clone(), frame(CONTINUATION, 0, 1, &field).repeat(10_000)].concat()),
        ("an HPACK bomb", bomb),
        ("a table size that nobody offered", frame(HEADERS, 5, 1, &[0x3f, 0xe1, 0xff, 0xff, 0x7f])),
        ("something else within a head", [first, frame(PING, 0, 0, b"12345678")].concat()),
    ] {
        assert!(flood(&proxy, std::iter::once(attack)).await.is_some(), "{what}");
        assert_eq!(good.get("/good", &[]).await.status(), 200, "beside {what}");
    }
    assert_eq!(origin.count("/head") + origin.count("/bomb"), 0);
    nothing_is_left(&proxy).await;
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_431_whether_the_client_has_agreed_or_not() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_header_bytes = '4KiB'").await;
    let filler = "x".repeat(6_000);
    let fields = [asking("GET", "/large"), vec![("x-filler", &filler)]].concat();
    for acknowledges in [true, false] {
        let mut client = if acknowledges {
            Frames::open(proxy.address, &[]).await
        } else {
            let mut client = Frames::silent(proxy.address).await;
            client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
            client.send(frame(SETTINGS, 0, 0, &setting(1, 0))).await;
            client
        };
        client.send(headers(END_STREAM, 1, &fields)).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(431));
    }
    assert_eq!(origin.count("/large"), 0);
}

#[tokio::test]
async fn streams_beyond_the_bound_are_refused_one_by_one() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow*", Script::ok("late").when(&gate));
    let proxy = Proxy::start(&origin, "upstreams.origin.max_connections = 0").await;
    let mut client = Frames::open(proxy.address, &[]).await;
    client.send((0..150_u32).flat_map(|n| get(2 * n + 1, &format!("/slow/{n}"))).collect::<Vec<_>>()).await;
    for _ in 0..50 {
        let refused = client.until("a refusal", |frame| frame.kind == RST_STREAM).await;
        assert_eq!((refused.code(), refused.stream > 200), (REFUSED_STREAM, true));
    }
    wait_until("a hundred are at work", || async { origin.active("/slow*") == 100 }).await;
    gate.open();
    for _ in 0..100 {
        client.until("an answer", |frame| frame.kind == HEADERS).await;
    }
    assert_eq!(origin.count("/slow*"), 100);
}

/// What waits its turn is dropped with its stream: for a permit, and for a connection to the upstream.
#[tokio::test]
async fn cancelled_requests_that_wait_never_reach_the_origin() {
    let origin = Origin::start();
    let queue = "
        in_flight.one = { max = 1, queue = { size = 50, timeout = '60s' } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'one' }]";
    for (what, config) in [("queue", queue), ("connection", "upstreams.origin.max_connections = 1")] {
        let gate = Gate::closed();
        origin.on("/slow*", Script::ok("late").when(&gate));
        let proxy = Proxy::start(&origin, config).await;
        let mut client = Frames::open(proxy.address, &[]).await;
        let slow = |number: u32| {
            let path = format!("/slow/{what}/{number}");
            headers(END_STREAM, 2 * number + 1, &asking("POST", &path))
        };
        client.send(slow(0)).await;
        wait_until("the first is at the origin", || async { origin.active("/slow*") == 1 }).await;
        client.send((1..30).flat_map(slow).collect::<Vec<_>>()).await;
        proxy.wait_for_metric("forebay_requests_in_progress", &[], 30.0).await;
        client.send((1..30).flat_map(|number| reset(2 * number + 1)).collect::<Vec<_>>()).await;
        proxy.wait_for_metric("forebay_requests_in_progress", &[], 1.0).await;
        gate.open();
        assert_eq!(client.outcome(1).await, Outcome::Status(200));
        client.send(get(101, "/next")).await;
        assert_eq!(client.outcome(101).await, Outcome::Status(200));
        assert_eq!(origin.count(&format!("/slow/{what}/*")), 1, "{what}");
    }
}
