//! How stored responses go away before their time: by the operator's word and by writes.

use super::{cache, numbered};
use crate::harness::{Gate, Origin, Proxy, Script, request, wait_until};

const TAGGED: &str = "
    [[routes]]
    name = 'status'
    match = 'GET /api/scan/status/{scan_id}'
    cache = { mode = 'force', ttl = '1h', tags = ['scan:{scan_id}'] }
    [[routes]]
    name = 'lists'
    match = ['GET /api/scans', 'GET /api/scans/{*rest}']
    cache = { mode = 'force', ttl = '1h', tags = ['scans'] }
    [[routes]]
    name = 'start'
    match = 'POST /api/scan/execute'
    invalidates = ['scans']
    [[routes]]
    name = 'rest'
    match = '/{*rest}'
    cache = { mode = 'force', ttl = '1h' }";

const STORED: [&str; 5] =
    ["/api/scan/status/7", "/api/scan/status/8", "/api/scans", "/api/scans/old?page=2", "/other"];

/// A proxy that has stored all of `STORED`.
async fn filled(origin: &Origin) -> Proxy {
    let proxy = Proxy::start(origin, TAGGED).await;
    for path in STORED {
        proxy.get(path).await;
        assert!(proxy.get(path).await.cache_says("hit"), "{path}");
    }
    proxy
}

/// Which of `STORED` are no longer there; asking stores them again.
async fn gone(proxy: &Proxy) -> Vec<&'static str> {
    let mut gone = Vec::new();
    for path in STORED {
        if !proxy.get(path).await.cache_says("hit") {
            gone.push(path);
        }
    }
    gone
}

#[tokio::test]
async fn the_operator_clears_by_route_tag_url_and_prefix() {
    let origin = Origin::start();
    let proxy = filled(&origin).await;
    let whole = format!("{{\"url\": \"http://scan.example{}\"}}", STORED[3]);
    for (what, expected) in [
        (r#"{"route": "lists"}"#, &STORED[2..4]),
        (r#"{"tag": "scan:7"}"#, &STORED[0..1]),
        (r#"{"url": "/api/scans/old?page=2"}"#, &STORED[3..4]),
        (r#"{"url": "/api/%73cans"}"#, &STORED[2..3]),
        (&whole, &STORED[3..4]),
        (r#"{"prefix": "/api/scan/status/"}"#, &STORED[0..2]),
        (r#"{"tag": "no such tag"}"#, &[]),
        ("{}", &STORED[..]),
    ] {
        let answer = proxy.admin_post("/api/cache/clear", what).await;
        assert_eq!((answer.status(), &answer.json()["cleared"]), (200, &expected.len().into()), "{what}");
        assert_eq!(gone(&proxy).await, expected, "{what}");
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_understood_clears_nothing() {
    let origin = Origin::start();
    let proxy = filled(&origin).await;
    for order in ["", "[]", r#"{"tga": "scans"}"#, r#"{"tag": "scans", "route": "lists"}"#, r#"{"tag": 7}"#] {
        let answer = proxy.admin_post("/api/cache/clear", order).await;
        assert!((400..=422).contains(&answer.status()), "{order:?} is answered by {}", answer.status());
    }
    assert!(gone(&proxy).await.is_empty());
}

#[tokio::test]
async fn a_successful_write_drops_the_tags_that_its_route_names() {
    let origin = Origin::start();
    let proxy = filled(&origin).await;
    origin.on("POST /api/scan/execute", Script::status(202).body("{}"));
    assert_eq!(proxy.send(&request("POST /api/scan/execute")).await.status(), 202);
    assert_eq!(gone(&proxy).await, &STORED[2..4]);
    origin.on("POST /api/scan/execute", Script::status(500));
    assert_eq!(proxy.send(&request("POST /api/scan/execute")).await.status(), 500);
    assert!(gone(&proxy).await.is_empty(), "a failed write changes nothing");
}

#[tokio::test]
async fn a_successful_write_drops_its_own_uri() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let origin = numbered(&[]);
        let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
        assert_eq!(proxy.get("/a").await.text(), "answer 0");
        proxy.get("/b").await;
        proxy.send(&request(&format!("{method} /a"))).await;
        assert_eq!(proxy.get("/a").await.text(), "answer 1", "{method}");
        assert!(proxy.get("/b").await.cache_says("hit"), "{method}");
    }
}

#[tokio::test]
async fn a_get_that_was_under_way_when_the_write_began_is_not_stored() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("GET /a", move |seen| {
        let answer = Script::ok(format!("answer {}", seen.nth));
        if seen.nth == 0 { answer.when(&wait) } else { answer }
    });
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    let before = proxy.begin(&request("GET /a"));
    wait_until("the GET is under way", || async { origin.active("/a") == 1 }).await;
    assert_eq!(proxy.send(&request("POST /a")).await.status(), 200);
    // A later request must not join the flight from before the write, whose answer is still held back.
    assert_eq!(proxy.get("/a").await.text(), "answer 1");
    gate.open();
    assert_eq!(before.await.unwrap().text(), "answer 0");
    let after = proxy.get("/a").await;
    assert_eq!((after.text(), after.cache_says("hit")), ("answer 1", true));
}

#[tokio::test]
async fn a_get_that_began_during_the_write_is_not_stored() {
    let (origin, write, read) = (Origin::start(), Gate::closed(), Gate::closed());
    origin.on("POST /a", Script::ok("written").when(&write));
    let wait = read.clone();
    origin.on_each("GET /a", move |seen| {
        let answer = Script::ok(format!("answer {}", seen.nth));
        if seen.nth == 0 { answer.when(&wait) } else { answer }
    });
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    let writing = proxy.begin(&request("POST /a"));
    wait_until("the write is under way", || async { origin.active("POST /a") == 1 }).await;
    let reading = proxy.begin(&request("GET /a"));
    wait_until("the read is under way", || async { origin.active("GET /a") == 1 }).await;
    write.open();
    assert_eq!(writing.await.unwrap().status(), 200);
    read.open();
    assert_eq!(reading.await.unwrap().text(), "answer 0");
    assert_eq!(proxy.get("/a").await.text(), "answer 1");
}
