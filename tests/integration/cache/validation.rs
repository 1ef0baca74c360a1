//! Asking the origin whether it changed, and telling clients that it did not.

use super::{cache, numbered};
use crate::harness::{Gate, Origin, Proxy, Script, request, seconds, wait_until};

/// An origin that sends a body once and 304 to whoever names its validator.
fn validating(validator: (&'static str, &'static str), condition: &'static str) -> Origin {
    let origin = Origin::start();
    origin.on_each("*", move |seen| {
        let same = seen.field(condition) == Some(validator.1);
        let answer = if same { Script::status(304) } else { Script::ok(format!("body {}", seen.nth)) };
        answer.field(validator.0, validator.1).field("Cache-Control", "max-age=1")
    });
    origin
}

#[tokio::test]
async fn a_stale_response_is_validated_by_etag_or_date() {
    for (validator, condition) in [
        (("ETag", "\"v1\""), "if-none-match"),
        (("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT"), "if-modified-since"),
    ] {
        let origin = validating(validator, condition);
        let proxy = Proxy::start(&origin, "").await;
        assert_eq!(proxy.get("/a").await.text(), "body 0");
        wait_until("it is validated", || async {
            let response = proxy.get("/a").await;
            assert_eq!((response.status(), response.text()), (200, "body 0"));
            response.cache_says("fwd=stale")
        })
        .await;
        let seen = origin.seen("/a");
        assert_eq!((seen.len(), seen[1].field(condition)), (2, Some(validator.1)));
        assert!(proxy.get("/a").await.cache_says("hit"));
        assert_eq!(proxy.metric("forebay_cache_requests_total", &["result=\"revalidated\""]).await, 1.0);
    }
}

#[tokio::test]
async fn a_client_that_has_it_already_gets_304_from_the_store() {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let origin = numbered(&[("Cache-Control", "max-age=60"), ("ETag", "\"v1\""), ("Last-Modified", date)]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    for (name, value, status) in [
        ("If-None-Match", "\"v1\"", 304),
        ("If-None-Match", "W/\"v1\"", 304),
        ("If-None-Match", "\"v0\", \"v1\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"v2\"", 200),
        ("If-Modified-Since", date, 304),
        ("If-Modified-Since", "Wed, 21 Oct 2015 07:27:59 GMT", 200),
    ] {
        let response = proxy.send(&request("GET /a").field(name, value)).await;
        assert_eq!(response.status(), status, "{name}: {value}");
        assert!(response.cache_says("hit"));
        if status == 304 {
            assert_eq!((response.field("etag"), response.body.len()), (Some("\"v1\""), 0));
        }
    }
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn under_force_a_conditional_request_fills_the_store_with_a_whole_response() {
    let origin = numbered(&[("ETag", "\"v1\"")]);
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '60s'")).await;
    let conditional = request("GET /a").field("If-None-Match", "\"v1\"");
    assert_eq!(proxy.send(&conditional).await.status(), 304);
    assert_eq!(origin.only("/a").field("if-none-match"), None);
    // The 304 goes out with the head of the fetch; the body comes after it.
    proxy.wait_for_metric("forebay_cache_entries", &[], 1.0).await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status(), whole.text(), whole.cache_says("hit")), (200, "answer 0", true));
}

#[tokio::test]
async fn where_nothing_is_stored_conditions_pass_through() {
    let origin = Origin::start();
    origin.on_each("*", |seen| match seen.field("if-none-match") {
        Some("\"v1\"") => Script::status(304).field("ETag", "\"v1\""),
        _ => Script::ok("body").field("ETag", "\"v1\""),
    });
    let config =
        "routes = [{ name = 'all', match = '/{*rest}', collapse = 'off', cache = { mode = 'off' } }]";
    let proxy = Proxy::start(&origin, config).await;
    let conditional = request("GET /a").field("If-None-Match", "\"v1\"");
    assert_eq!(proxy.send(&conditional).await.status(), 304);
    assert_eq!(origin.only("/a").field("if-none-match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_changed_response_takes_the_place_of_the_stale_one() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        Script::ok(format!("body {}", seen.nth))
            .field("ETag", &format!("\"v{}\"", seen.nth))
            .field("Cache-Control", "no-store")
    });
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1s'")).await;
    assert_eq!(proxy.get("/a").await.text(), "body 0");
    wait_until("it is replaced", || async { proxy.get("/a").await.text() == "body 1" }).await;
    assert_eq!(origin.seen("/a")[1].field("if-none-match"), Some("\"v0\""));
}

#[tokio::test]
async fn a_304_about_another_response_is_handed_to_nobody() {
    let origin = Origin::start();
    origin.on_each("*", |seen| match seen.field("if-none-match") {
        Some(_) => Script::status(304).field("ETag", "\"other\""),
        None => Script::ok(format!("body {}", seen.nth))
            .field("ETag", &format!("\"v{}\"", seen.nth))
            .field("Cache-Control", "max-age=1"),
    });
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/a").await.text(), "body 0");
    wait_until("it is fetched anew", || async {
        let response = proxy.get("/a").await;
        assert_eq!(response.status(), 200);
        response.text() == "body 2"
    })
    .await;
    let conditions: Vec<_> =
        origin.seen("/a").iter().map(|seen| seen.field("if-none-match").map(str::to_owned)).collect();
    assert_eq!(conditions, [None, Some("\"v0\"".to_owned()), None]);
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_for_one_client_alone() {
    let origin = Origin::start();
    origin.on("/same", Script::status(304).after(seconds(0.2)));
    let proxy = Proxy::start(&origin, "").await;
    let both = [proxy.begin(&request("GET /same")), proxy.begin(&request("GET /same"))];
    for one in both {
        assert!(!one.await.unwrap().cache_says("collapsed"));
    }
    assert_eq!(origin.count("/same"), 2);
}

#[tokio::test]
async fn a_304_that_turns_private_is_for_one_client_alone() {
    for (name, value) in [("Cache-Control", "private"), ("Vary", "*"), ("Set-Cookie", "session=1")] {
        let (origin, gate) = (Origin::start(), Gate::closed());
        let wait = gate.clone();
        origin.on_each("/a", move |seen| match (seen.nth, seen.field("if-none-match")) {
            (0, _) => Script::ok("first").field("ETag", "\"v\"").field("Cache-Control", "max-age=1"),
            (_, Some(_)) => Script::status(304).field("ETag", "\"v\"").field(name, value).when(&wait),
            _ => Script::ok(format!("answer {}", seen.nth)).field(name, value),
        });
        let proxy = Proxy::start(&origin, "").await;
        assert_eq!(proxy.get("/a").await.text(), "first");
        let leader = loop {
            let asks = proxy.begin(&request("GET /a"));
            wait_until("it is answered or asked for", || async {
                asks.is_finished() || origin.count("/a") == 2
            })
            .await;
            if origin.count("/a") == 2 {
                break asks;
            }
        };
        let follower = proxy.begin(&request("GET /a"));
        proxy.wait_for_metric("forebay_requests_in_progress", &[], 2.0).await;
        gate.open();
        let mut texts = Vec::new();
        for one in [leader, follower] {
            texts.push(one.await.unwrap().text().to_owned());
        }
        texts.sort();
        assert_eq!(texts, ["answer 2", "answer 3"], "{name}");
    }
}

#[tokio::test]
async fn what_a_full_answer_has_replaced_does_not_come_back_as_stale() {
    let origin = Origin::start();
    origin.on_each("*", |seen| match seen.nth {
        0 => Script::ok("old").field("ETag", "\"v0\"").field("Cache-Control", "max-age=1, stale-if-error=60"),
        1 => Script::ok("new").field("Cache-Control", "no-store"),
        _ => Script::status(503),
    });
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/a").await.text(), "old");
    wait_until("it is replaced", || async { proxy.get("/a").await.text() == "new" }).await;
    assert_eq!(proxy.get("/a").await.status(), 503);
}

#[tokio::test]
async fn conditions_are_answered_for_what_is_not_shared_too() {
    let origin = Origin::start();
    origin.on("/a", Script::ok("mine").field("ETag", "\"v1\"").field("Cache-Control", "private"));
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '60s'")).await;
    let response = proxy.send(&request("GET /a").field("If-None-Match", "\"v1\"")).await;
    assert_eq!((response.status(), response.body.len()), (304, 0));
}

#[tokio::test]
async fn those_who_have_the_same_already_share_the_origins_304() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/a", move |seen| match seen.field("if-none-match") {
        Some("\"v1\"") => Script::status(304).field("ETag", "\"v1\"").when(&wait),
        _ => Script::ok("new").field("ETag", "\"v2\"").field("Cache-Control", "no-store").when(&wait),
    });
    let proxy = Proxy::start(&origin, "").await;
    let asked = |tag: &str| request("GET /a").field("If-None-Match", tag);
    let same: Vec<_> = (0..5).map(|_| proxy.begin(&asked("\"v1\""))).collect();
    let others = [proxy.begin(&asked("\"v0\"")), proxy.begin(&request("GET /a"))];
    proxy.wait_for_metric("forebay_requests_in_progress", &[], 7.0).await;
    gate.open();
    for one in same {
        let answer = one.await.unwrap();
        assert_eq!((answer.status(), answer.body.len(), answer.must("etag")), (304, 0, "\"v1\""));
    }
    for one in others {
        assert_eq!(one.await.unwrap().text(), "new");
    }
    assert_eq!(origin.count("/a"), 3, "one for each condition");
}
