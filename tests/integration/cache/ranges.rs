//! Parts of stored responses (RFC 9110 14), and what of ranges never happens.

use super::{cache, numbered};
use crate::harness::{Gate, Origin, Proxy, Request, Script, request, wait_until};

const TEXT: &str = "0123456789";

/// An origin that has `TEXT` under every path, with these fields, and ignores ranges.
fn whole(fields: &[(&str, &str)]) -> Origin {
    let origin = Origin::start();
    let script = Script::ok(TEXT).field("Content-Type", "text/plain");
    origin.on("*", fields.iter().fold(script, |script, (name, value)| script.field(name, value)));
    origin
}

fn range(set: &str) -> Request {
    request("GET /a").field("Range", &format!("bytes={set}"))
}

#[tokio::test]
async fn a_stored_response_answers_any_part_of_itself() {
    let origin = whole(&[("Cache-Control", "max-age=60"), ("ETag", "\"1\""), ("X-Own", "kept")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    for (set, content_range, text) in [
        ("0-3", "bytes 0-3/10", "0123"),
        ("4-5", "bytes 4-5/10", "45"),
        ("7-", "bytes 7-9/10", "789"),
        ("-2", "bytes 8-9/10", "89"),
        ("8-99", "bytes 8-9/10", "89"),
        ("0-1,1-2", "bytes 0-2/10", "012"),
        ("99-,5-5", "bytes 5-5/10", "5"),
    ] {
        let part = proxy.send(&range(set)).await;
        assert_eq!((part.status(), part.text()), (206, text), "{set}");
        assert_eq!(part.field("content-range"), Some(content_range), "{set}");
        assert!(part.cache_says("hit") && part.age().is_some(), "{:?}", part.head);
        assert_eq!(
            (part.must("etag"), part.must("x-own"), part.must("accept-ranges")),
            ("\"1\"", "kept", "bytes")
        );
        assert_eq!(part.must("content-length"), text.len().to_string());
    }
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn several_parts_come_as_a_multipart() {
    let origin = Origin::start();
    let text = TEXT.repeat(100);
    let script =
        Script::ok(text.clone()).field("Cache-Control", "max-age=60").field("Content-Type", "text/x");
    origin.on("*", script);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let parts = proxy.send(&range("0-3, 500-501,-1")).await;
    assert_eq!((parts.status(), parts.field("content-range")), (206, None));
    let boundary =
        parts.must("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let part = |range: &str, data: &str| {
        format!("\r\n--{boundary}\r\nContent-Type: text/x\r\nContent-Range: bytes {range}/1000\r\n\r\n{data}")
    };
    let expected = [part("0-3", "0123"), part("500-501", "01"), part("999-999", "9")].concat();
    assert_eq!(parts.text(), format!("{expected}\r\n--{boundary}--\r\n"));
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn a_part_beyond_the_end_is_416() {
    let origin = whole(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let refused = proxy.send(&range("10-")).await;
    assert_eq!((refused.status(), refused.field("content-range")), (416, Some("bytes */10")));
    assert!(refused.body.is_empty() && refused.cache_says("hit"), "{refused:?}");
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn what_is_no_byte_range_is_answered_by_the_whole() {
    let origin = whole(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    for field in ["items=0-1", "bytes=5-1", "bytes=x", "0-1"] {
        let answer = proxy.send(&request("GET /a").field("Range", field)).await;
        assert_eq!(
            (answer.status(), answer.text(), answer.field("content-range")),
            (200, TEXT, None),
            "{field}"
        );
    }
    let head = proxy.send(&request("HEAD /a").field("Range", "bytes=0-1")).await;
    assert_eq!((head.status(), head.must("content-length")), (200, "10"), "only GET has ranges");
    let alone = proxy.send(&request("GET /a").field("If-Range", "\"x\"")).await;
    assert!(alone.status() == 200 && alone.cache_says("hit"), "If-Range without Range means nothing");
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn if_range_guards_against_another_version() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = whole(&[("Cache-Control", "max-age=60"), ("ETag", "\"1\""), ("Last-Modified", DATE)]);
    origin.on("/weak", Script::ok(TEXT).field("Cache-Control", "max-age=60").field("ETag", "W/\"1\""));
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    proxy.get("/weak").await;
    for (path, condition, status) in [
        ("/a", "\"1\"", 206),
        ("/a", "\"2\"", 200),
        ("/a", "W/\"1\"", 200),
        ("/a", DATE, 206),
        ("/a", "Sun, 06 Nov 1994 08:49:38 GMT", 200),
        ("/weak", "W/\"1\"", 200),
        ("/weak", "\"1\"", 200),
    ] {
        let asked = request(&format!("GET {path}")).field("Range", "bytes=0-1").field("If-Range", condition);
        assert_eq!(proxy.send(&asked).await.status(), status, "{path} {condition}");
    }
    assert_eq!(origin.count("*"), 2);
}

#[tokio::test]
async fn conditions_go_before_ranges() {
    let origin = whole(&[("Cache-Control", "max-age=60"), ("ETag", "\"1\"")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let known = proxy.send(&range("0-1").field("If-None-Match", "\"1\"")).await;
    assert_eq!((known.status(), known.body.len(), known.field("content-range")), (304, 0, None));
    assert_eq!(proxy.send(&range("0-1").field("If-None-Match", "\"2\"")).await.status(), 206);
    // What only the origin can evaluate goes there, ranges and all.
    let asked = range("0-1").field("If-Match", "\"1\"");
    assert!(!proxy.send(&asked).await.cache_says("hit"));
    assert_eq!(origin.seen("/a")[1].field("range"), Some("bytes=0-1"));
}

#[tokio::test]
async fn a_stale_response_is_validated_before_it_is_cut() {
    let origin = Origin::start();
    origin.on_each("/a", |seen| match seen.field("if-none-match") {
        Some("\"1\"") => Script::status(304).field("Cache-Control", "max-age=60"),
        _ => Script::ok(TEXT).field("Cache-Control", "max-age=0").field("ETag", "\"1\""),
    });
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let part = proxy.send(&range("2-3")).await;
    assert_eq!((part.status(), part.text(), part.must("content-range")), (206, "23", "bytes 2-3/10"));
    assert!(part.cache_says("fwd=stale") && part.cache_says("fwd-status=304"), "{:?}", part.head);
    assert_eq!(origin.seen("/a")[1].field("range"), None, "the whole was validated");
    assert!(proxy.send(&range("4-4")).await.cache_says("hit"), "and is fresh for all now");
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn of_a_stale_response_that_has_changed_the_client_gets_its_part_of_the_new_one() {
    let origin = Origin::start();
    origin.on_each("/a", |seen| {
        let text = if seen.nth == 0 { "0123456789" } else { "abcdefghij" };
        let life = if seen.nth == 0 { "max-age=0" } else { "max-age=60" };
        Script::ok(text).field("Cache-Control", life).field("ETag", &format!("\"{}\"", seen.nth))
    });
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    let part = proxy.send(&range("2-3")).await;
    assert_eq!((part.status(), part.text(), part.must("content-range")), (206, "cd", "bytes 2-3/10"));
    let hit = proxy.get("/a").await;
    assert_eq!((hit.text(), hit.cache_says("hit")), ("abcdefghij", true), "the whole was stored");
    let guarded = proxy.send(&range("2-3").field("If-Range", "\"0\"")).await;
    assert_eq!((guarded.status(), guarded.text()), (200, "abcdefghij"), "no part of another version");
}

#[tokio::test]
async fn a_stale_response_stands_in_for_a_failed_origin_in_parts_too() {
    let fields = [("Cache-Control", "max-age=0, stale-if-error=60"), ("ETag", "\"1\"")];
    let origin = whole(&fields);
    let proxy = Proxy::start(&origin, "").await;
    proxy.get("/a").await;
    origin.on("*", Script::status(503));
    let part = proxy.send(&range("0-1")).await;
    assert_eq!((part.status(), part.text()), (206, "01"));
}

#[tokio::test]
async fn a_part_that_is_not_stored_is_asked_for_as_it_is_and_alone() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/a", move |seen| match seen.field("range") {
        Some(_) => Script::status(206).field("Content-Range", "bytes 0-1/10").body("01"),
        None => Script::ok(TEXT).when(&wait),
    });
    let proxy = Proxy::start(&origin, "").await;
    let other = proxy.begin(&request("GET /a"));
    wait_until("the whole is under way", || async { origin.active("/a") == 1 }).await;
    let part = proxy.send(&range("0-1")).await;
    assert_eq!((part.status(), part.text()), (206, "01"));
    assert!(part.cache_says("fwd=uri-miss"), "{:?}", part.head);
    gate.open();
    assert_eq!(other.await.unwrap().text(), TEXT);
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn a_part_is_chosen_among_variants_and_kept_from_other_identities() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let text = seen.field("accept-language").unwrap_or("none").repeat(5);
        Script::ok(text).field("Cache-Control", "max-age=60").field("Vary", "Accept-Language")
    });
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&request("GET /a").field("Accept-Language", "de")).await;
    assert_eq!(proxy.send(&range("0-1").field("Accept-Language", "de")).await.text(), "de");
    assert!(proxy.send(&range("0-1").field("Accept-Language", "fr")).await.cache_says("fwd=vary-miss"));
    let theirs = range("0-1").field("Accept-Language", "de").field("Authorization", "Bearer x");
    assert!(!proxy.send(&theirs).await.cache_says("hit"), "not public");
}

#[tokio::test]
async fn under_force_a_stored_response_answers_parts_too() {
    let origin = numbered(&[("Cache-Control", "no-store")]);
    let proxy = Proxy::start(&origin, &cache("mode = 'force', ttl = '1h'")).await;
    proxy.get("/a").await;
    let part = proxy.send(&range("0-5")).await;
    assert_eq!((part.status(), part.text(), origin.count("/a")), (206, "answer", 1));
}

#[tokio::test]
async fn only_if_cached_holds_for_parts() {
    let origin = whole(&[]);
    let proxy = Proxy::start(&origin, "").await;
    let asked = range("0-1").field("Cache-Control", "only-if-cached");
    assert_eq!((proxy.send(&asked).await.status(), origin.count("/a")), (504, 0));
}

/// An origin that has `TEXT` under every path, answers ranges, and says this of itself.
fn partible(fields: &[(&str, &str)]) -> Origin {
    let origin = Origin::start();
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    origin.on_each("*", move |seen| {
        let asked = seen.field("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let answer = match asked {
            Some((first, last)) => {
                let (first, last) = match (first, last) {
                    ("", count) => (TEXT.len() - count.parse::<usize>().unwrap(), TEXT.len() - 1),
                    (first, "") => (first.parse().unwrap(), TEXT.len() - 1),
                    (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
                };
                let range = format!("bytes {first}-{last}/{}", TEXT.len());
                Script::status(206).field("Content-Range", &range).body(&TEXT[first..=last])
            }
            None => Script::ok(TEXT),
        };
        fields.iter().fold(answer, |answer, (name, value)| answer.field(name, value))
    });
    origin
}

const KEPT: [(&str, &str); 2] = [("Cache-Control", "max-age=60"), ("ETag", "\"1\"")];

#[tokio::test]
async fn a_part_that_was_fetched_answers_for_itself() {
    let origin = partible(&KEPT);
    let proxy = Proxy::start(&origin, "").await;
    let first = proxy.send(&range("2-6")).await;
    assert_eq!((first.status(), first.text(), first.must("content-range")), (206, "23456", "bytes 2-6/10"));
    for (set, content_range, text) in
        [("2-6", "bytes 2-6/10", "23456"), ("3-4", "bytes 3-4/10", "34"), ("6-6", "bytes 6-6/10", "6")]
    {
        let part = proxy.send(&range(set)).await;
        assert_eq!((part.status(), part.text(), part.must("content-range")), (206, text, content_range));
        assert!(
            part.cache_says("hit") && part.must("content-length") == text.len().to_string(),
            "{:?}",
            part.head
        );
    }
    assert_eq!(origin.count("/a"), 1);
    // What is not in it, and what must not be taken from it, is asked for.
    for asked in
        [range("1-3"), range("6-7"), range("-4"), range("0-0,3-3"), range("2-6").field("If-Range", "\"2\"")]
    {
        assert!(!proxy.send(&asked).await.cache_says("hit"), "{asked:?}");
    }
}

/// RFC 9110 section 15.3.7.3: who has all parts has the whole.
#[tokio::test]
async fn a_part_that_is_all_there_is_is_stored_as_the_whole() {
    for set in ["0-9", "0-", "-10"] {
        let origin = partible(&[("Cache-Control", "max-age=60")]);
        let proxy = Proxy::start(&origin, "").await;
        let first = proxy.send(&range(set)).await;
        assert_eq!((first.status(), first.text(), first.must("content-range")), (206, TEXT, "bytes 0-9/10"));
        let whole = proxy.get("/a").await;
        assert_eq!((whole.status(), whole.text(), whole.field("content-range")), (200, TEXT, None));
        assert!(whole.cache_says("hit") && whole.must("content-length") == "10", "{:?}", whole.head);
        let part = proxy.send(&range("2-6")).await;
        assert_eq!((part.status(), part.text(), origin.count("/a")), (206, "23456", 1));
    }
}

#[tokio::test]
async fn a_part_is_never_taken_for_the_whole() {
    let origin = partible(&[("Cache-Control", "max-age=60")]);
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-4")).await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status(), whole.text(), whole.field("content-range")), (200, TEXT, None));
    assert_eq!(origin.seen("/a")[1].field("range"), None, "without a strong tag nothing is completed");
    let head = proxy.send(&request("HEAD /b").field("Range", "bytes=0-1")).await;
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn a_stored_part_is_completed() {
    for (set, missing) in [("0-4", "bytes=5-"), ("-4", "bytes=0-5")] {
        let origin = partible(&KEPT);
        let proxy = Proxy::start(&origin, "").await;
        proxy.send(&range(set)).await;
        let whole = proxy.get("/a").await;
        assert_eq!((whole.status(), whole.text(), whole.field("content-range")), (200, TEXT, None), "{set}");
        assert_eq!(whole.must("content-length"), "10");
        assert!(whole.cache_says("fwd=partial") && whole.cache_says("stored"), "{:?}", whole.head);
        let asked = &origin.seen("/a")[1];
        assert_eq!((asked.field("range"), asked.field("if-range")), (Some(missing), Some("\"1\"")));
        let hit = proxy.get("/a").await;
        assert!(hit.cache_says("hit") && hit.text() == TEXT, "{hit:?}");
        assert_eq!(origin.count("/a"), 2);
    }
}

#[tokio::test]
async fn what_has_changed_is_not_completed() {
    for second in [
        Script::ok("another one").field("ETag", "\"2\""),
        Script::status(206).field("Content-Range", "bytes 5-9/10").field("ETag", "\"2\"").body("fghij"),
        Script::status(206).field("Content-Range", "bytes 5-9/10").field("ETag", "W/\"1\"").body("fghij"),
        Script::status(206).field("Content-Range", "bytes 5-9/11").field("ETag", "\"1\"").body("fghij"),
        Script::status(206).field("Content-Range", "bytes 4-9/10").field("ETag", "\"1\"").body("efghij"),
        Script::status(416).field("Content-Range", "bytes */3"),
    ] {
        let origin = partible(&KEPT);
        let proxy = Proxy::start(&origin, "").await;
        proxy.send(&range("0-4")).await;
        let answer = second.clone();
        origin.on_each("/a", move |seen| match seen.field("range") {
            Some(_) => answer.clone(),
            None => Script::ok("another one").field("ETag", "\"2\""),
        });
        let whole = proxy.get("/a").await;
        assert_eq!((whole.status(), whole.text()), (200, "another one"), "{second:?}");
    }
}

#[tokio::test]
async fn the_rest_of_another_length_is_no_whole() {
    let origin = partible(&KEPT);
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-4")).await;
    for data in ["567", "56789abc"] {
        let rest = Script::chunked().body(data).field("Content-Range", "bytes 5-9/10").field("ETag", "\"1\"");
        origin.on("/a", Script { status: 206, ..rest });
        assert!(proxy.get("/a").await.cut_short.is_some(), "{data}");
    }
}

#[tokio::test]
async fn what_came_of_a_response_that_broke_off_is_completed() {
    let origin = Origin::start();
    origin.on_each("/a", |seen| {
        let kept =
            |script: Script| KEPT.iter().fold(script, |script, (name, value)| script.field(name, value));
        kept(match seen.field("range") {
            Some("bytes=4-") => {
                Script::status(206).field("Content-Range", "bytes 4-1003/1004").body("x".repeat(1000))
            }
            _ => Script::ok("half").cut(),
        })
    });
    let proxy = Proxy::start(&origin, "").await;
    assert!(proxy.get("/a").await.cut_short.is_some());
    let part = proxy.send(&range("1-2")).await;
    assert!(part.cache_says("hit") && part.text() == "al", "{part:?}");
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status(), whole.text()), (200, format!("half{}", "x".repeat(1000)).as_str()));
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn parts_are_stored_on_the_terms_of_wholes() {
    for fields in [
        [("Cache-Control", "no-store"), ("ETag", "\"1\"")],
        [("Cache-Control", "private, max-age=60"), ("ETag", "\"1\"")],
        [("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")],
        [("Cache-Control", "max-age=60"), ("Vary", "*")],
        [("Cache-Control", "max-age=0"), ("X-No", "tag")],
    ] {
        let origin = partible(&fields);
        let proxy = Proxy::start(&origin, "").await;
        proxy.send(&range("0-4")).await;
        assert!(!proxy.send(&range("0-4")).await.cache_says("hit"), "{fields:?}");
    }
    let origin = partible(&KEPT);
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-4").field("Authorization", "Bearer a")).await;
    assert!(!proxy.send(&range("0-4")).await.cache_says("hit"), "it was for one");
    assert!(!proxy.send(&range("0-4").field("Authorization", "Bearer b")).await.cache_says("hit"));
}

#[tokio::test]
async fn a_write_overtakes_parts_stored_and_under_way() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("GET /a", move |seen| {
        let part =
            Script::status(206).field("Content-Range", "bytes 0-1/10").field("Cache-Control", "max-age=60");
        let part = part.body(format!("{}.", seen.nth));
        if seen.nth == 1 { part.when(&wait) } else { part }
    });
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-1")).await;
    assert!(proxy.send(&range("0-1")).await.cache_says("hit"));
    let under_way = proxy.begin(&range("0-1").field("Cache-Control", "no-cache"));
    wait_until("a part is under way", || async { origin.active("GET /a") == 1 }).await;
    proxy.send(&request("POST /a")).await;
    gate.open();
    assert_eq!(under_way.await.unwrap().text(), "1.");
    assert_eq!(proxy.send(&range("0-1")).await.text(), "2.");
}

#[tokio::test]
async fn a_part_whose_client_leaves_midway_is_not_stored() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let wait = gate.clone();
    origin.on_each("/a", move |seen| {
        let part =
            Script::status(206).field("Content-Range", "bytes 0-3/10").field("Cache-Control", "max-age=60");
        if seen.nth == 0 { part.body("01").wait(&wait).body("23") } else { part.body("0123") }
    });
    let proxy = Proxy::start(&origin, "").await;
    let leaving = proxy.begin(&range("0-3"));
    wait_until("a part is under way", || async { origin.active("/a") == 1 }).await;
    leaving.abort();
    wait_until("nobody reads it", || async { origin.active("/a") == 0 }).await;
    assert_eq!(proxy.send(&range("0-3")).await.text(), "0123");
    assert!(proxy.send(&range("1-2")).await.cache_says("hit"));
}

#[tokio::test]
async fn parts_of_one_version_become_one() {
    let origin = partible(&KEPT);
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-3")).await;
    proxy.send(&range("7-9")).await;
    for (set, text) in [("1-2", "12"), ("8-", "89"), ("0-3", "0123"), ("-2", "89")] {
        let part = proxy.send(&range(set)).await;
        assert_eq!((part.status(), part.text(), part.cache_says("hit")), (206, text, true), "{set}");
    }
    assert!(!proxy.send(&range("2-5")).await.cache_says("hit"), "4 and 5 were missing");
    let over_both = proxy.send(&range("1-5")).await;
    assert_eq!((over_both.text(), over_both.cache_says("hit")), ("12345", true));
    proxy.send(&range("5-8")).await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status(), whole.text(), whole.cache_says("hit")), (200, TEXT, true));
    assert_eq!((whole.must("content-length"), whole.field("content-range")), ("10", None));
    assert_eq!(origin.count("/a"), 4);
}

#[tokio::test]
async fn of_what_two_parts_lack_only_that_is_asked_for() {
    let origin = partible(&KEPT);
    let proxy = Proxy::start(&origin, "").await;
    proxy.send(&range("0-3")).await;
    proxy.send(&range("-3")).await;
    let whole = proxy.get("/a").await;
    assert_eq!((whole.status(), whole.text(), whole.cache_says("fwd=partial")), (200, TEXT, true));
    let asked = &origin.seen("/a")[2];
    assert_eq!((asked.field("range"), asked.field("if-range")), (Some("bytes=4-6"), Some("\"1\"")));
    assert!(proxy.get("/a").await.cache_says("hit"));
}

#[tokio::test]
async fn parts_of_different_versions_stay_apart() {
    for tags in [["\"1\"", "\"2\""], ["W/\"1\"", "W/\"1\""], ["", ""]] {
        let origin = Origin::start();
        origin.on_each("/a", move |seen| {
            let (range, text) = if seen.nth == 0 { ("0-4", "01234") } else { ("5-9", "fghij") };
            let part = Script::status(206).field("Content-Range", &format!("bytes {range}/10")).body(text);
            let part = part.field("Cache-Control", "max-age=60");
            tags.get(seen.nth)
                .filter(|tag| !tag.is_empty())
                .map_or(part.clone(), |tag| part.field("ETag", tag))
        });
        let proxy = Proxy::start(&origin, "").await;
        proxy.send(&range("0-4")).await;
        assert!(proxy.send(&range("0-4")).await.cache_says("hit"), "{tags:?}");
        proxy.send(&range("5-9")).await;
        let newer = proxy.send(&range("5-9")).await;
        assert_eq!((newer.text(), newer.cache_says("hit")), ("fghij", true), "{tags:?}");
        assert!(!proxy.send(&range("0-4")).await.cache_says("hit"), "{tags:?}: the older has gone");
    }
}

#[tokio::test]
async fn the_whole_that_comes_in_place_of_a_part_is_stored() {
    let origin = whole(&[("Cache-Control", "max-age=60"), ("ETag", "\"1\"")]);
    let proxy = Proxy::start(&origin, "").await;
    let first = proxy.send(&range("2-3")).await;
    assert_eq!((first.status(), first.text()), (200, TEXT));
    let part = proxy.send(&range("2-3")).await;
    assert_eq!((part.status(), part.text(), part.cache_says("hit")), (206, "23", true));
    assert!(proxy.get("/a").await.cache_says("hit"));
    assert_eq!(origin.count("/a"), 1);
    let private = whole(&[("Cache-Control", "private, max-age=60")]);
    let proxy = Proxy::start(&private, "").await;
    proxy.send(&range("2-3")).await;
    assert!(!proxy.send(&range("2-3")).await.cache_says("hit"));
}
