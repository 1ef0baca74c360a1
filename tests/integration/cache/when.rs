//! How long a response is fresh by what its JSON body says.

use super::cache;
use crate::harness::{Gate, Origin, Proxy, Response, Script, request, wait_until};

const COMPLETED: &str = "when = [{ pointer = '/status', in = ['completed', 'failed'], ttl = '1h' }]";

/// The remaining lifetime that a hit tells of.
fn ttl(hit: &Response) -> i64 {
    assert!(hit.cache_says("hit"), "{:?}", hit.head);
    hit.must("cache-status").split("ttl=").nth(1).unwrap().parse().unwrap()
}

/// The first hit; a request that still meets the fetch shares it.
async fn hit(proxy: &Proxy, path: &str) -> Response {
    wait_until("it is stored", || async { proxy.get(path).await.cache_says("hit") }).await;
    proxy.get(path).await
}

#[tokio::test]
async fn a_final_answer_is_kept_long_and_a_passing_one_shortly() {
    let origin = Origin::start();
    let states = ["queued", "running", "completed", "forgotten"];
    origin.on_each("*", move |seen| {
        let state = states[seen.nth.min(3)];
        Script::ok(format!(r#"{{"id":7,"status":"{state}"}}"#)).field("cache-control", "no-store")
    });
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '1s', {COMPLETED}"))).await;
    let first = proxy.get("/a").await;
    assert!(first.cache_says("stored") && first.cache_says("detail=ttl-by-body"), "{:?}", first.head);
    assert!(!first.must("cache-status").contains("ttl="), "nobody knows yet: {:?}", first.head);
    wait_until("the job is done", || async { proxy.get("/a").await.json()["status"] == "completed" }).await;
    let lasting = hit(&proxy, "/a").await;
    assert!(ttl(&lasting) > 3000, "{:?}", lasting.head);
    assert_eq!(lasting.json()["status"], "completed");
    assert_eq!(origin.count("/a"), 3);
}

#[tokio::test]
async fn the_first_rule_that_matches_counts() {
    let origin = Origin::start();
    origin.on("/done", Script::ok(r#"{"status":"done","code":3,"final":true}"#));
    origin.on("/three", Script::ok(r#"{"status":"busy","code":3,"final":true}"#));
    origin.on("/final", Script::ok(r#"{"status":"busy","code":4,"final":true}"#));
    origin.on("/never", Script::ok(r#"{"status":"void","code":3}"#));
    let rules = "when = [{ pointer = '/status', in = ['done'], ttl = '10h' },
        { pointer = '/status', in = ['void'], ttl = '0s' }, { pointer = '/code', in = [3], ttl = '20h' },
        { pointer = '/final', in = [true], ttl = '30h' }]";
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '1h', {rules}"))).await;
    for (path, hours) in [("/done", 10), ("/three", 20), ("/final", 30)] {
        assert!(!proxy.get(path).await.cache_says("hit"));
        assert_eq!((ttl(&hit(&proxy, path).await) + 60) / 3600, hours, "{path}");
    }
    wait_until("it is fetched anew, for a lifetime of zero is not to be stored", || async {
        let answer = proxy.get("/never").await;
        assert!(!answer.cache_says("hit") && !answer.cache_says("stored"), "{:?}", answer.head);
        origin.count("/never") == 3
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_has_the_plain_ttl_and_is_counted() {
    let origin = Origin::start();
    let long = format!(r#"{{"status":"completed","rest":"{}"}}"#, "x".repeat(64 * 1024));
    origin.on("/html", Script::ok("<p>completed</p>"));
    origin.on("/cut", Script::ok(r#"{"status":"completed""#));
    origin.on("/long", Script::ok(long.clone()));
    origin.on("/gzip", Script::ok("gzipped").field("content-encoding", "gzip"));
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '5m', {COMPLETED}"))).await;
    for path in ["/html", "/cut", "/long", "/gzip"] {
        let hit = hit(&proxy, path).await;
        assert!((1..=300).contains(&ttl(&hit)), "{path}: {:?}", hit.head);
    }
    assert_eq!(proxy.get("/long").await.text(), long, "the client has all of it");
    for (reason, count) in [("not_json", 2.0), ("too_long", 1.0), ("encoded", 1.0)] {
        let label = format!("reason=\"{reason}\"");
        assert_eq!(proxy.metric("forebay_cache_unread_bodies_total", &[&label]).await, count, "{reason}");
    }
    for seen in origin.seen("*") {
        assert_eq!(seen.field("accept-encoding"), Some("identity"), "{}", seen.target);
    }
}

#[tokio::test]
async fn the_body_is_not_held_back_to_be_read() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/a", Script::chunked().body(r#"{"status":"#).wait(&gate).body(r#""completed"}"#));
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '1s', {COMPLETED}"))).await;
    let mut client = crate::harness::Connection::open(proxy.address).await;
    client.send(request("GET /a").bytes()).await;
    client.head("GET").await;
    assert_eq!(client.data().await.unwrap().unwrap(), br#"{"status":"#, "before the rest is there");
    gate.open();
    assert!(ttl(&hit(&proxy, "/a").await) > 3000);
    assert_eq!(origin.count("/a"), 1);
}

/// The body stands where `ttl` does: below what the response says of itself.
#[tokio::test]
async fn in_standard_mode_the_response_goes_before_its_body() {
    let origin = Origin::start();
    let done = || Script::ok(r#"{"status":"completed"}"#);
    origin.on("/said", done().field("cache-control", "max-age=60"));
    origin.on("/refused", done().field("cache-control", "no-store"));
    origin.on("/open", done());
    origin.on("/other", Script::ok(r#"{"status":"running"}"#));
    let proxy = Proxy::start(&origin, &cache(COMPLETED)).await;
    assert!(ttl(&hit(&proxy, "/said").await) <= 60);
    assert!(ttl(&hit(&proxy, "/open").await) > 3000);
    for path in ["/refused", "/other"] {
        wait_until("it is fetched anew", || async {
            assert!(!proxy.get(path).await.cache_says("hit"), "{path}");
            origin.count(path) == 3
        })
        .await;
    }
}

#[tokio::test]
async fn a_304_leaves_the_lifetime_to_the_same_body() {
    let origin = Origin::start();
    origin.on_each("/a", |seen| {
        let answer = match seen.field("if-none-match") {
            Some(_) => Script::status(304),
            None => Script::ok(r#"{"status":"completed"}"#),
        };
        answer.field("etag", "\"v1\"")
    });
    let rules = "when = [{ pointer = '/status', in = ['completed'], ttl = '1s' }]";
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '1h', {rules}"))).await;
    proxy.get("/a").await;
    wait_until("it is validated twice", || async {
        proxy.get("/a").await;
        origin.count("/a") == 3
    })
    .await;
    assert_eq!(proxy.get("/a").await.json()["status"], "completed");
}
