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
    let unknown = proxy.admin_post("/api/cache/clear", r#"{"route": "list"}"#).await;
    assert!(
        unknown.status() == 400 && unknown.text().contains("status, lists, start, rest"),
        "{}",
        unknown.text()
    );
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

#[tokio::test]
async fn a_method_that_nobody_knows_is_a_write() {
    for method in ["PURGE", "X-FOO", "PROPPATCH"] {
        let origin = numbered(&[("Cache-Control", "max-age=60")]);
        let proxy = Proxy::start(&origin, "").await;
        proxy.get("/a").await;
        assert_eq!(proxy.send(&request(&format!("{method} /a"))).await.status(), 200);
        assert!(!proxy.get("/a").await.cache_says("hit"), "{method}");
    }
}

#[tokio::test]
async fn an_error_drops_nothing_and_a_redirect_does() {
    for (status, is_kept) in [
        (200, false),
        (201, false),
        (204, false),
        (302, false),
        (400, true),
        (404, true),
        (500, true),
        (503, true),
    ] {
        let origin = numbered(&[("Cache-Control", "max-age=60")]);
        origin.on("POST /a", Script::status(status));
        let proxy = Proxy::start(&origin, "").await;
        proxy.get("/a").await;
        assert_eq!(proxy.send(&request("POST /a")).await.status(), status);
        assert_eq!(proxy.get("/a").await.cache_says("hit"), is_kept, "{status}");
    }
}

#[tokio::test]
async fn a_write_drops_what_its_answer_names_on_the_same_host() {
    for field in ["Location", "Content-Location"] {
        for (reference, is_dropped) in [
            ("/x/new?q=1", true),
            ("new?q=1", true),
            ("../x/./new?q=1#part", true),
            ("/x/%6Eew?q=1", true),
            ("http://scan.example/x/new?q=1", true),
            ("https://SCAN.example:443/x/new?q=1", true),
            ("//scan.example/x/new?q=1", true),
            ("http://other.example/x/new?q=1", false),
            ("http://scan.example:81/x/new?q=1", false),
            ("/x/new", false),
        ] {
            let origin = numbered(&[("Cache-Control", "max-age=60")]);
            origin.on("POST /x/make", Script::status(201).field(field, reference));
            let proxy = Proxy::start(&origin, "").await;
            proxy.get("/x/new?q=1").await;
            proxy.send(&request("POST /x/make")).await;
            let kept = proxy.get("/x/new?q=1").await;
            assert_eq!(kept.cache_says("hit"), !is_dropped, "{field}: {reference}");
        }
    }
}

#[tokio::test]
async fn a_write_drops_by_the_key_rules_of_the_route_that_reads() {
    let origin = numbered(&[]);
    let routes = "
        [[routes]]
        name = 'read'
        match = 'GET /{*rest}'
        cache = { mode = 'force', ttl = '1h', key = { query_ignore = ['_'], query_sort = true } }
        [[routes]]
        name = 'write'
        match = 'POST /{*rest}'";
    let proxy = Proxy::start(&origin, routes).await;
    proxy.get("/a?x=1&y=2&_=7").await;
    assert!(proxy.get("/a?y=2&x=1").await.cache_says("hit"));
    proxy.send(&request("POST /a?y=2&_=9&x=1")).await;
    assert!(!proxy.get("/a?x=1&y=2").await.cache_says("hit"));
    origin.on("POST /b", Script::status(201).field("Location", "/a?y=2&x=1&_=3"));
    proxy.send(&request("POST /b")).await;
    assert!(!proxy.get("/a?x=1&y=2").await.cache_says("hit"));
}

#[tokio::test]
async fn a_write_drops_every_variant_and_every_identity() {
    let origin = Origin::start();
    origin.on_each("GET /a", |seen| {
        Script::ok(format!("answer {}", seen.nth)).field("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    let asks = [
        ("Accept-Language", "de"),
        ("Accept-Language", "fr"),
        ("Authorization", "Bearer a"),
        ("Cookie", "b=1"),
    ];
    let ask = |(name, value)| request("GET /a").field(name, value);
    for asked in asks {
        proxy.send(&ask(asked)).await;
        assert!(proxy.send(&ask(asked)).await.cache_says("hit"), "{asked:?}");
    }
    proxy.send(&request("DELETE /a")).await;
    for asked in asks {
        assert!(!proxy.send(&ask(asked)).await.cache_says("hit"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_may_have_changed_something() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    origin.on("POST /a", Script::nothing());
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    assert_eq!(proxy.send(&request("POST /a")).await.status(), 502);
    assert!(!proxy.get("/a").await.cache_says("hit"));
    assert_eq!(origin.count("POST /a"), 1, "and is never sent again");
}

#[tokio::test]
async fn what_a_write_has_dropped_gives_its_memory_back() {
    let origin = Origin::start();
    let proxy = filled(&origin).await;
    let bytes = || async { proxy.admin_get("/api/cache/stats").await.json()["bytes"].as_u64().unwrap() };
    let full = bytes().await;
    proxy.send(&request("POST /api/scan/execute")).await;
    wait_until("the lists are swept out", || async { bytes().await < full }).await;
}
