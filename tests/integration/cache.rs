//! What is stored, for whom, for how long, and how it goes away again.

mod bounds;
mod deception;
mod keys;
mod leaks;
mod poisoning;
mod privacy;
mod purge;
mod ranges;
mod rfc9111;
mod stale;
mod validation;
mod warm;
mod when;

use crate::harness::{Origin, Proxy, Script, request, seconds, wait_until};

/// One route for everything with these cache settings.
fn cache(settings: &str) -> String {
    format!("routes = [{{ name = 'all', match = '/{{*rest}}', cache = {{ {settings} }} }}]")
}

/// An origin that numbers its answers and gives each of them these fields.
fn numbered(fields: &[(&str, &str)]) -> Origin {
    let origin = Origin::start();
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    origin.on_each("*", move |seen| {
        let answer = Script::ok(format!("answer {}", seen.nth));
        fields.iter().fold(answer, |answer, (name, value)| answer.field(name, value))
    });
    origin
}

#[tokio::test]
async fn a_second_request_is_a_hit() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    let first = proxy.get("/a").await;
    assert!(first.cache_says("fwd=uri-miss") && first.cache_says("stored"), "{:?}", first.head);
    let second = proxy.get("/a").await;
    assert!(second.cache_says("hit"), "{:?}", second.head);
    assert_eq!((first.text(), second.text()), ("answer 0", "answer 0"));
    assert_eq!(second.field("cache-control"), Some("max-age=60"));
    let ttl: u64 = second.must("cache-status").split("ttl=").nth(1).unwrap().parse().unwrap();
    assert!((30..=60).contains(&ttl), "{ttl}");
    assert_eq!(origin.count("/a"), 1);
    assert_eq!(proxy.metric("forebay_cache_requests_total", &["result=\"hit\""]).await, 1.0);
    assert_eq!(proxy.metric("forebay_cache_requests_total", &["result=\"miss\""]).await, 1.0);
    assert_eq!(proxy.metric("forebay_upstream_requests_saved_total", &["by=\"cache\""]).await, 1.0);
}

#[tokio::test]
async fn age_counts_from_the_origins_answer() {
    let origin = numbered(&[("Cache-Control", "max-age=600"), ("Age", "100")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let hit = proxy.get("/a").await;
    let early = hit.age().unwrap();
    assert!((100..160).contains(&early), "{early}");
    wait_until("it has aged", || async { proxy.get("/a").await.age().unwrap() > early }).await;
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn standard_obeys_the_origin() {
    for fields in [
        [("Cache-Control", "no-store")],
        [("Cache-Control", "private")],
        [("Cache-Control", "private, max-age=60")],
        [("Cache-Control", "no-cache")],
        [("Cache-Control", "max-age=0")],
        [("Vary", "*")],
    ] {
        let origin = numbered(&fields);
        let proxy = Proxy::start(&origin, &cache("ttl = '1h'")).await;
        assert_eq!(proxy.get("/a").await.text(), "answer 0", "{fields:?}");
        let second = proxy.get("/a").await;
        assert_eq!(second.text(), "answer 1", "{fields:?}");
        assert!(!second.cache_says("hit"), "{:?}", second.head);
    }
}

#[tokio::test]
async fn standard_takes_s_maxage_then_max_age_then_expires_then_ttl() {
    let later = "Fri, 31 Dec 2100 23:59:59 GMT";
    for (fields, ttl, is_fresh) in [
        (vec![("Cache-Control", "s-maxage=60, max-age=0")], "1s", true),
        (vec![("Cache-Control", "s-maxage=0, max-age=60")], "1h", false),
        (vec![("Cache-Control", "max-age=60"), ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")], "1s", true),
        (vec![("Expires", later)], "1s", true),
        (vec![("Expires", "0")], "1h", false),
        (vec![], "1h", true),
    ] {
        let origin = numbered(&fields);
        let proxy = Proxy::start(&origin, &cache(&format!("ttl = '{ttl}'"))).await;
        proxy.get("/a").await;
        assert_eq!(proxy.get("/a").await.cache_says("hit"), is_fresh, "{fields:?}, ttl {ttl}");
    }
}

#[tokio::test]
async fn without_any_lifetime_nothing_is_reused() {
    let origin = numbered(&[]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.text(), "answer 1");
}

#[tokio::test]
async fn force_stores_for_its_ttl_whatever_the_origin_says() {
    let origin = numbered(&[
        ("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0"),
        ("Pragma", "no-cache"),
    ]);
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1s'")).await;
    assert_eq!(proxy.get("/a").await.text(), "answer 0");
    wait_until("it has expired", || async { proxy.get("/a").await.text() == "answer 1" }).await;
    let hit = proxy.send(&request("GET /a").field("Cache-Control", "no-cache")).await;
    assert!(hit.cache_says("hit") || hit.text() == "answer 2", "{:?}", hit.head);
}

#[tokio::test]
async fn off_stores_nothing() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, &cache("mode = 'off'")).await;
    proxy.get("/a").await;
    assert_eq!(proxy.get("/a").await.text(), "answer 1");
}

#[tokio::test]
async fn a_stored_get_answers_head() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let head = proxy.send(&request("HEAD /a")).await;
    assert!(head.cache_says("hit"), "{:?}", head.head);
    assert_eq!((head.field("content-length"), head.body.len()), (Some("8"), 0));
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn unsafe_methods_and_requests_with_a_body_pass_the_cache_by() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/a").await.text(), "answer 0");
    let with_body = proxy.send(&request("GET /a").body("q")).await;
    assert_eq!(with_body.text(), "answer 1");
    for _ in 0..2 {
        assert!(!proxy.send(&request("POST /b")).await.cache_says("hit"));
    }
    assert_eq!(origin.count("POST /b"), 2);
}

#[tokio::test]
async fn negative_answers_are_kept_only_where_negative_ttl_says_so() {
    for (settings, is_kept) in
        [("mode = 'force', ttl = '1h', negative_ttl = '1h'", true), ("mode = 'force', ttl = '1h'", false)]
    {
        for status in [404, 410, 500, 503] {
            let origin = Origin::start();
            origin.on("/a", Script::status(status).body("no"));
            let proxy = Proxy::start(&origin, &cache(settings)).await;
            for _ in 0..2 {
                assert_eq!(proxy.get("/a").await.status(), status);
            }
            assert_eq!(origin.count("/a"), if is_kept { 1 } else { 2 }, "{status} with {settings}");
        }
    }
}

#[tokio::test]
async fn cuts_and_parts_are_never_stored_as_wholes() {
    let origin = Origin::start();
    origin.on("/cut", Script::ok("half").cut());
    origin.on("/cut-chunks", Script::chunked().body("half").cut());
    let part = Script::status(206).field("Content-Range", "bytes 0-3/10").body("part");
    origin.on("/part", part);
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    for _ in 0..2 {
        assert!(proxy.get("/cut").await.cut_short.is_some());
        assert!(proxy.get("/cut-chunks").await.cut_short.is_some());
        assert_eq!(proxy.send(&request("GET /part").field("Range", "bytes=0-3")).await.status(), 206);
    }
    assert_eq!([origin.count("/cut"), origin.count("/cut-chunks"), origin.count("/part")], [2, 2, 2]);
}

#[tokio::test]
async fn under_standard_a_request_can_ask_past_the_cache() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let past = |directive: &str| request("GET /a").field("Cache-Control", directive);
    assert_eq!(proxy.send(&past("no-cache")).await.text(), "answer 1");
    assert!(proxy.send(&past("only-if-cached")).await.cache_says("hit"));
    let absent = request("GET /absent").field("Cache-Control", "only-if-cached");
    assert_eq!(proxy.send(&absent).await.status(), 504);
    assert_eq!(origin.count("/absent"), 0);
}

#[tokio::test]
async fn under_force_a_request_cannot() {
    let origin = numbered(&[]);
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    proxy.get("/a").await;
    for directive in ["no-cache", "no-store", "max-age=0"] {
        let hit = proxy.send(&request("GET /a").field("Cache-Control", directive)).await;
        assert!(hit.cache_says("hit"), "{directive}: {:?}", hit.head);
    }
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn what_a_client_claims_about_caching_alters_nothing() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    let claims = request("GET /a").field("Age", "9999").field("Cache-Status", "evil; hit");
    proxy.send(&claims).await;
    let hit = proxy.get("/a").await;
    assert!(hit.cache_says("hit") && hit.age().unwrap() < seconds(50.0).as_secs(), "{:?}", hit.head);
}
