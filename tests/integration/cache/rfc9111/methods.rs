//! Which methods fill the store, and which are answered from it: RFC 9111 sections 3 and 4, RFC 9110 section 9.3.

use super::{Case, run};
use crate::harness::{Origin, Proxy, Script, request};

const FRESH: &str = "Cache-Control: max-age=60";

#[tokio::test]
async fn get_is_answered_by_what_a_get_has_stored() {
    let mut cases = Vec::new();
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "FOO"] {
        cases.push(("3: the method", vec![(method, FRESH, "asked"), ("", FRESH, "asked"), ("", "", "hit")]));
    }
    cases.push((
        "4: a stored GET answers HEAD",
        vec![("", FRESH, "asked"), ("HEAD", "", "hit | Content-Length: 5")],
    ));
    cases
        .push(("4: but nothing else", vec![("", FRESH, "asked"), ("OPTIONS", "", "asked"), ("", "", "hit")]));
    run(cases).await;
}

#[tokio::test]
async fn the_answer_to_a_head_is_for_later_ones() {
    let mut cases: Vec<Case> = vec![
        (
            "9.3.2: HEAD for HEAD, and for no GET",
            vec![
                ("HEAD", "Cache-Control: max-age=60 | X-A: 1", "asked"),
                ("HEAD", "", "hit | X-A: 1"),
                ("", "Cache-Control: max-age=60 | X-A: 2", "asked | X-A: 2"),
                ("HEAD", "", "hit | X-A: 2"),
            ],
        ),
        (
            "9.3.2: with the client's conditions",
            vec![
                ("HEAD", "Cache-Control: max-age=60 | ETag: \"a\"", "asked"),
                ("HEAD | If-None-Match: \"a\"", "", "hit | 304"),
            ],
        ),
        (
            "9.3.2: by its variant",
            vec![
                ("HEAD | X-K: 1", "Cache-Control: max-age=60 | Vary: X-K", "asked"),
                ("HEAD | X-K: 2", "", "asked"),
                ("HEAD | X-K: 1", "", "hit"),
            ],
        ),
        ("4.4: until a write", vec![("HEAD", FRESH, "asked"), ("POST", "", "asked"), ("HEAD", "", "asked")]),
        (
            "3.5: not with credentials",
            vec![("HEAD | Authorization: x", FRESH, "asked"), ("HEAD", "", "asked")],
        ),
    ];
    for stale in ["", "Cache-Control: no-store", "Cache-Control: max-age=60 | Age: 70 | ETag: \"a\""] {
        cases.push((
            "9.3.2: not when it is stale",
            vec![("HEAD", stale, "asked"), ("HEAD", "", "asked | > !If-None-Match")],
        ));
    }
    run(cases).await;
    let origin = Origin::start();
    origin.on("/a", Script::ok("hello").field("Cache-Control", "max-age=60"));
    let proxy = Proxy::start(&origin, "").await;
    for _ in 0..2 {
        let head = proxy.send(&request("HEAD /a")).await;
        assert_eq!((head.status(), head.must("content-length")), (200, "5"));
    }
    assert_eq!(origin.count("/a"), 1);
    assert_eq!(proxy.get("/a").await.text(), "hello");
}

#[tokio::test]
async fn the_answer_to_a_post_is_for_later_gets_if_it_says_so() {
    let itself = "Cache-Control: max-age=60 | Content-Location: @path | X-A: 1";
    let mut cases: Vec<Case> = vec![
        (
            "9.3.3: GET and HEAD, and no POST",
            vec![
                ("POST", itself, "asked"),
                ("", "", "hit | X-A: 1"),
                ("HEAD", "", "hit | X-A: 1"),
                ("POST", itself, "asked"),
                ("", "", "hit"),
                ("POST", "", "asked"),
                ("", "", "asked"),
            ],
        ),
        (
            "9.3.3: with Expires",
            vec![("POST", "Expires: @+60 | Content-Location: @path", "asked"), ("", "", "hit")],
        ),
        (
            "9.3.3: and it takes the place of what was stored",
            vec![("", FRESH, "asked"), ("POST", itself, "asked"), ("", "", "hit | X-A: 1")],
        ),
        (
            "4.1: by its variant",
            vec![
                ("POST | X-K: 1", "Cache-Control: max-age=60 | Content-Location: @path | Vary: X-K", "asked"),
                ("X-K: 2", "", "asked"),
                ("X-K: 1", "", "hit"),
            ],
        ),
        ("3.5: not with credentials", vec![("POST | Authorization: x", itself, "asked"), ("", "", "asked")]),
        ("9.3.4: not of a PUT", vec![("PUT", itself, "asked"), ("", "", "asked")]),
    ];
    for other in [
        "Cache-Control: max-age=60",
        "Cache-Control: max-age=60 | Content-Location: /other",
        "Cache-Control: max-age=60 | Content-Location: @path?a=b",
        "Cache-Control: max-age=60 | Content-Location: http://other@path",
        "Last-Modified: @-86400 | Content-Location: @path",
        "Cache-Control: public | Last-Modified: @-86400 | Content-Location: @path",
        "Cache-Control: max-age=60, no-store | Content-Location: @path",
        "Cache-Control: max-age=60, private | Content-Location: @path",
        "Cache-Control: max-age=60 | Content-Location: @path | Set-Cookie: a=b",
        "400 | Cache-Control: max-age=60 | Content-Location: @path",
        "303 | Cache-Control: max-age=60 | Content-Location: @path",
    ] {
        cases.push(("9.3.3: no other", vec![("POST", other, "asked"), ("", "", "asked")]));
    }
    run(cases).await;
}

#[tokio::test]
async fn a_post_with_a_body_fills_the_store_with_its_answer_alone() {
    let origin = Origin::start();
    let answer =
        Script::ok("result").field("Cache-Control", "max-age=60").field("Content-Location", "/a?x=1");
    origin.on("POST /a", answer);
    let proxy = Proxy::start(&origin, "").await;
    let post = proxy.send(&request("POST /a?x=1").body("question")).await;
    assert_eq!(post.text(), "result");
    let hit = proxy.get("/a?x=1").await;
    assert_eq!((hit.text(), hit.cache_says("hit")), ("result", true));
    assert!(!proxy.get("/a").await.cache_says("hit"));
}
