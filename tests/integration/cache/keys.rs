//! Which requests mean the same stored response.

use super::{cache, numbered};
use crate::harness::{Origin, Proxy, Script, request};

/// Asks for each target in turn; `true` where a hit is due.
async fn assert_hits(settings: &str, targets: &[(&str, bool)]) {
    let origin = numbered(&[]);
    let proxy = Proxy::start(&origin, &cache(&format!("mode = 'force', ttl = '1h', {settings}"))).await;
    for (target, is_hit) in targets {
        let response = proxy.get(target).await;
        assert_eq!(response.cache_says("hit"), *is_hit, "{target}: {:?}", response.head);
    }
}

#[tokio::test]
async fn the_query_is_part_of_the_key_as_it_stands() {
    assert_hits("", &[("/a?x=1&y=2", false), ("/a?y=2&x=1", false), ("/a?x=1&y=2", true), ("/a", false)])
        .await;
}

#[tokio::test]
async fn ignored_parameters_do_not_count() {
    let targets = [
        ("/a?x=1", false),
        ("/a?x=1&_=171", true),
        ("/a?utm_source=mail&x=1&utm_medium=m", true),
        ("/a?x=2&_=171", false),
        ("/a?xutm_source=1&x=1", false),
    ];
    assert_hits("key = { query_ignore = ['_', 'utm_*'] }", &targets).await;
}

#[tokio::test]
async fn a_sorted_query_is_one_whatever_its_order() {
    let targets = [("/a?x=1&y=2", false), ("/a?y=2&x=1", true), ("/a?x=2&y=1", false)];
    assert_hits("key = { query_sort = true }", &targets).await;
}

#[tokio::test]
async fn spellings_of_one_path_share_and_hosts_do_not() {
    assert_hits("", &[("/api/%73can", false), ("/api/scan", true), ("/api/scan/", false)]).await;
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    for (host, is_hit) in [("a.example", false), ("b.example", false), ("A.example:80", true)] {
        let response = proxy.send(&request("GET /x").field("Host", host)).await;
        assert_eq!(response.cache_says("hit"), is_hit, "{host}: {:?}", response.head);
    }
    assert_eq!(origin.count("/x"), 2);
}

#[tokio::test]
async fn vary_chooses_between_variants() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let language = seen.field("accept-language").unwrap_or("none").to_owned();
        Script::ok(language).field("Cache-Control", "max-age=60").field("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&origin, "").await;
    let ask = |language: &str| request("GET /a").field("Accept-Language", language);
    for (language, is_hit) in [("de", false), ("fr", false), ("de", true), ("fr", true)] {
        let response = proxy.send(&ask(language)).await;
        assert_eq!((response.text(), response.cache_says("hit")), (language, is_hit));
    }
    assert_eq!(proxy.get("/a").await.text(), "none");
    assert_eq!(origin.count("/a"), 3);
}

#[tokio::test]
async fn a_field_that_connection_names_chooses_no_variant() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let language = seen.field("accept-language").unwrap_or("none").to_owned();
        Script::ok(language).field("Cache-Control", "max-age=60").field("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&origin, "").await;
    let german = request("GET /a").field("Accept-Language", "de");
    let hidden = german.clone().field("Connection", "keep-alive, Accept-Language");
    assert_eq!(proxy.send(&hidden).await.text(), "none");
    assert_eq!(proxy.send(&german).await.text(), "de");
    assert_eq!(proxy.get("/a").await.text(), "none");
}

#[tokio::test]
async fn one_url_has_a_bounded_number_of_variants() {
    let origin = numbered(&[("Cache-Control", "max-age=60"), ("Vary", "X-Any")]);
    let proxy = Proxy::start(&origin, "").await;
    for number in 0..500 {
        proxy.send(&request("GET /a").field("X-Any", &number.to_string())).await;
    }
    let entries = proxy.metric("forebay_cache_entries", &[]).await;
    assert!(entries < 300.0, "{entries} variants of one URL are kept");
}

#[tokio::test]
async fn named_header_fields_can_be_part_of_the_key() {
    let origin = numbered(&[]);
    let proxy =
        Proxy::start(&origin, &cache("mode = 'force', ttl = '1h', key = { headers = ['X-Workspace'] }"))
            .await;
    let ask = |workspace: &str| request("GET /a").field("X-Workspace", workspace);
    assert_eq!(proxy.send(&ask("one")).await.text(), "answer 0");
    assert_eq!(proxy.send(&ask("two")).await.text(), "answer 1");
    assert_eq!(proxy.send(&ask("one")).await.text(), "answer 0");
}

#[tokio::test]
async fn what_the_key_ignores_is_not_sent_for_all() {
    let origin = Origin::start();
    origin.on_each("*", |seen| Script::ok(seen.target.clone()).field("Cache-Control", "max-age=60"));
    let rules = "key = { query_ignore = ['_', 'utm_*'] }";
    let proxy = Proxy::start(&origin, &cache(rules)).await;
    let poisoned = proxy.get("/a?utm_source=evil&x=1&_=7").await;
    assert_eq!(poisoned.text(), "/a?x=1", "nobody else gets what one client has chosen");
    let hit = proxy.get("/a?x=1").await;
    assert!(hit.cache_says("hit") && hit.text() == "/a?x=1", "{hit:?}");
    // What is this request's own is sent as it is.
    assert_eq!(proxy.send(&request("POST /a?utm_source=mail")).await.text(), "/a?utm_source=mail");
}

#[tokio::test]
async fn what_the_key_ignores_is_not_sent_for_a_part_either() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let range = format!("bytes 0-{}/99", seen.target.len() - 1);
        let part = Script::status(206).field("Content-Range", &range).body(seen.target.clone());
        part.field("Cache-Control", "max-age=60").field("ETag", "\"1\"")
    });
    let proxy = Proxy::start(&origin, &cache("key = { query_ignore = ['utm_*'] }")).await;
    let part = |target: &str| request(&format!("GET {target}")).field("Range", "bytes=0-5");
    assert_eq!(proxy.send(&part("/a?utm_source=evil&x=1")).await.text(), "/a?x=1");
    let hit = proxy.send(&part("/a?x=1")).await;
    assert!(hit.cache_says("hit") && hit.text() == "/a?x=1", "{hit:?}");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_target_is_part_of_the_key() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let said = |name| seen.field(name).unwrap_or("none").to_owned();
        let text =
            format!("{} {} {}", said("x-forwarded-host"), said("x-forwarded-proto"), said("x-original-url"));
        Script::ok(text).field("Cache-Control", "max-age=60")
    });
    let trusting = "listener = { trusted_proxies = ['127.0.0.1'] }\n";
    let proxy = Proxy::start(&origin, trusting).await;
    let as_told = |name: &str, value: &str| request("GET /a").field(name, value);
    assert_eq!(proxy.get("/a").await.text(), "scan.example http none");
    for (name, value) in
        [("X-Forwarded-Host", "evil"), ("X-Forwarded-Proto", "https"), ("X-Original-URL", "/admin")]
    {
        let told = proxy.send(&as_told(name, value)).await;
        assert!(told.text().contains(value) && !told.cache_says("hit"), "{name}: {told:?}");
        assert!(proxy.send(&as_told(name, value)).await.cache_says("hit"), "{name}");
    }
    let address = proxy.send(&as_told("X-Forwarded-For", "1.1.1.1")).await;
    assert!(address.cache_says("hit") && address.text() == "scan.example http none", "{address:?}");
    // Nobody else is believed, and so nothing of it is sent.
    let origin_of_others = Origin::start();
    let proxy = Proxy::start(&origin_of_others, "").await;
    proxy.send(&as_told("X-Original-URL", "/admin").field("X-Rewrite-URL", "/admin")).await;
    let seen = origin_of_others.only("/a");
    assert_eq!((seen.field("x-original-url"), seen.field("x-rewrite-url")), (None, None));
}

#[tokio::test]
async fn a_request_for_another_method_in_disguise_is_neither_stored_nor_shared() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let disguised = request("GET /a").field(name, "DELETE");
        assert!(proxy.send(&disguised).await.cache_says("fwd=bypass"), "{name}");
    }
    assert_eq!(proxy.get("/a").await.text(), "answer 3");
    assert!(!proxy.send(&request("GET /a").field("X-HTTP-Method-Override", "POST")).await.cache_says("hit"));
}
