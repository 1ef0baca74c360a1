//! A crowd behind a sick backend: it gets the news, and the backend is left in peace.

use crate::harness::{Gate, Origin, Proxy, Script, concurrently, request, seconds, wait_until};

const CROWD: usize = 300;

/// What a crowd gets that waits behind one fetch, and how many requests the origin saw.
async fn crowd_behind(route: &str, script: Script) -> (Vec<(u16, bool)>, usize) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/sick", move |_| script.clone().when(&wait));
    let config = format!(
        "upstreams.origin = {{ first_byte_timeout = '20s', body_timeout = '1s' }}
        routes = [{{ name = 'all', match = '/{{*rest}}', {route} }}]"
    );
    let proxy = Proxy::start(&origin, &config).await;
    let address = proxy.address;
    let crowd = tokio::spawn(concurrently(CROWD, move |_| async move {
        request("GET /sick")
            .try_send(address)
            .await
            .map_or((0, false), |answer| (answer.status(), answer.cut_short.is_none()))
    }));
    proxy.wait_for_metric("forebay_requests_in_progress", &[], CROWD as f64).await;
    gate.open();
    let answers = crowd.await.unwrap();
    assert_eq!(proxy.get("/well").await.status(), 200, "the next is served");
    (answers, origin.count("/sick"))
}

#[tokio::test]
async fn a_failure_is_shared_and_starts_no_storm() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    for route in [
        "",
        "cache = { mode = 'force', ttl = '1h' },",
        "cache = { mode = 'force', ttl = '1h', stale_if_error = '1m' },",
    ] {
        for (name, script, status, is_whole) in [
            ("nothing", Script::nothing(), 502, true),
            ("reset", Script::raw("").reset(), 502, true),
            ("garbage", Script::raw("garbage\r\n\r\n"), 502, true),
            ("half a head", Script::raw("HTTP/1.1 200 O"), 502, true),
            ("its own 502", Script::status(502).body("sick"), 502, true),
            ("its own 503", Script::status(503).field("Retry-After", "9").body("sick"), 503, true),
            ("its own 500", Script::status(500).body("sick"), 500, true),
            ("half a body", Script::raw(half).pause(seconds(0.3)), 200, false),
        ] {
            let (answers, count) = crowd_behind(route, script).await;
            assert!(count <= 2, "{name} with {route}: {count} requests");
            let others =
                answers.iter().filter(|answer| **answer != (status, is_whole) && **answer != (0, false));
            assert_eq!(others.count(), 0, "{name} with {route}: {:?}", answers.first());
        }
    }
}

#[tokio::test]
async fn a_backend_that_fails_every_second_time_is_not_asked_twice_for_one() {
    let origin = Origin::start();
    origin.on_each("/flaky", |seen| match seen.nth % 2 {
        0 => Script::nothing(),
        _ => Script::ok("fine").field("Cache-Control", "no-store"),
    });
    let proxy = Proxy::start(&origin, "upstreams.origin.retries = 0").await;
    for round in 0..10 {
        let answer = proxy.get("/flaky").await;
        assert_eq!(answer.status(), if round % 2 == 0 { 502 } else { 200 }, "{round}");
    }
    assert_eq!(origin.count("/flaky"), 10);
}

#[tokio::test]
async fn a_stale_answer_stands_in_for_every_kind_of_failure() {
    for (name, script) in [
        ("nothing", Script::nothing()),
        ("reset", Script::raw("").reset()),
        ("garbage", Script::raw("garbage\r\n\r\n")),
        ("half a head", Script::raw("HTTP/1.1 200 O")),
        ("two lengths", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("a flood", Script::raw("").repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000)),
        ("an unasked upgrade", Script::raw("HTTP/1.1 101 Switching\r\n\r\n")),
        ("status 600", Script::raw("HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n")),
        ("silence", Script::raw("").hang()),
        ("500", Script::status(500)),
        ("502", Script::status(502)),
        ("503", Script::status(503)),
        ("504", Script::status(504)),
    ] {
        let origin = Origin::start();
        origin.on("/a", Script::ok("good"));
        let config = "
            upstreams.origin.first_byte_timeout = '500ms'
            routes = [{ name = 'all', match = '/{*rest}', cache = { mode = 'force', ttl = '100ms', stale_if_error = '1h' } }]";
        let proxy = Proxy::start(&origin, config).await;
        assert_eq!(proxy.get("/a").await.text(), "good");
        origin.on("/a", script);
        wait_until(&format!("{name}: the stale answer serves"), || async {
            let answer = proxy.get("/a").await;
            assert_eq!((answer.status(), answer.text()), (200, "good"), "{name}");
            origin.count("/a") > 1
        })
        .await;
    }
}
