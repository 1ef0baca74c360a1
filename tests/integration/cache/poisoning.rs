//! One client's request that is to spoil what others get.

use super::{cache, numbered};
use crate::harness::{Origin, Proxy, Script, concurrently, request};

const FORCE: &str = "mode = 'force', ttl = '1h', negative_ttl = '1h'";
const STANDARD: &str = "ttl = '1h'";

#[tokio::test]
async fn what_an_untrusted_client_claims_is_in_nobodys_answer() {
    let claims = [
        "X-Forwarded-Host",
        "X-Forwarded-Scheme",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-For",
        "X-Forwarded-Ssl",
        "X-Forwarded-Path",
        "X-Forwarded-Uri",
        "X-Forwarded",
        "Forwarded",
        "X-Host",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "X-HTTP-Host-Override",
        "X-Real-IP",
        "X_Forwarded_Host",
        "X-Forwarded_Host",
        "True-Client-IP",
        "X-Client-IP",
        "Front-End-Https",
        "X-Url-Scheme",
        "Proxy",
        "Content_Length",
    ];
    for settings in [FORCE, STANDARD] {
        let origin = Origin::start();
        origin.on("*", Script::echo());
        let proxy = Proxy::start(&origin, &cache(settings)).await;
        for claim in claims {
            let path = format!("/{claim}");
            let poison = request(&format!("GET {path}")).field(claim, "evil.example");
            assert!(!proxy.send(&poison).await.text().contains("evil"), "{claim} reaches the origin");
            let next = proxy.get(&path).await;
            assert!(next.cache_says("hit") && !next.text().contains("evil"), "{claim}: {next:?}");
        }
    }
}

/// An origin that answers `status` to who sends `X-Odd`, and 200 to all others.
fn touchy(status: u16, fields: &'static [(&'static str, &'static str)]) -> Origin {
    let origin = Origin::start();
    origin.on_each("*", move |seen| {
        let script = Script::status(if seen.field("x-odd").is_some() { status } else { 200 }).body("answer");
        fields.iter().fold(script, |script, (name, value)| script.field(name, value))
    });
    origin
}

#[tokio::test]
async fn an_error_that_one_client_has_provoked_is_not_kept_for_others() {
    let provoked = [
        400, 401, 403, 405, 406, 407, 408, 409, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 425, 426,
        428, 429, 431, 451,
    ];
    for settings in [FORCE, STANDARD] {
        for status in provoked {
            let origin = touchy(status, &[]);
            let proxy = Proxy::start(&origin, &cache(settings)).await;
            let odd = proxy.send(&request("GET /a").field("X-Odd", &"x".repeat(20_000))).await;
            assert_eq!(odd.status(), status);
            let next = proxy.get("/a").await;
            assert_eq!((next.status(), next.cache_says("hit")), (200, false), "{status}, {settings}");
            assert_eq!(
                proxy.send(&request("GET /a").field("X-Odd", "x")).await.status(),
                200,
                "now it is stored"
            );
        }
    }
    // Beyond `negative_ttl` no error is forced on anybody.
    for status in [500, 501, 502, 503, 505] {
        let origin = touchy(status, &[]);
        let proxy = Proxy::start(&origin, &cache(STANDARD)).await;
        proxy.send(&request("GET /a").field("X-Odd", "x")).await;
        assert_eq!(proxy.get("/a").await.status(), 200, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_to_where_one_client_wanted_is_not_kept_for_others() {
    let origin = Origin::start();
    origin.on_each("*", |seen| {
        let to = format!("https://{}/", seen.field("x-forwarded-host").unwrap_or_default());
        Script::status(301).field("Location", &to).body("")
    });
    for settings in [FORCE, STANDARD] {
        let proxy = Proxy::start(&origin, &cache(settings)).await;
        proxy.send(&request("GET /a").field("X-Forwarded-Host", "evil.example")).await;
        let next = proxy.get("/a").await;
        assert_eq!((next.cache_says("hit"), next.must("location")), (true, "https://scan.example/"));
    }
}

#[tokio::test]
async fn targets_that_differ_are_stored_apart() {
    let apart = [
        "/a",
        "/A",
        "/a/",
        "/a;x",
        "/a;x=1",
        "/a?",
        "/a?x",
        "/a?x=",
        "/a?x=1",
        "/a?X=1",
        "/a?x=1&",
        "/a?&x=1",
        "/a?x=1&x=2",
        "/a?x=2&x=1",
        "/a?x=1;y=2",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/a?x=%31%26y=2",
        "/a?x=1%20",
        "/a?x=1+",
        "/a%20b",
        "/a+b",
        "/a%3Fx=1",
        "/a%23b",
        "/a.css",
        "/a%C3%BC",
        "/a?x=%C3%BC",
        "/a%3Bx",
        "/a:80",
        "/a@b",
        "/a?http://b/",
        "/a%26b",
        "/a&b",
    ];
    let origin = Origin::start();
    origin.on_each("*", |seen| Script::ok(seen.target.clone()));
    let proxy = Proxy::start(&origin, &cache(FORCE)).await;
    for target in apart {
        let answer = proxy.get(target).await;
        // A question mark with nothing behind it is the only thing that may go.
        let is_itself = answer.text() == target || answer.text() == target.trim_end_matches('?');
        assert!(is_itself && (!answer.cache_says("hit") || target == "/a?"), "{target}: {answer:?}");
    }
    for target in apart {
        let again = proxy.get(target).await;
        assert!(
            again.cache_says("hit") && again.text().trim_end_matches('?') == target.trim_end_matches('?'),
            "{target}: {again:?}"
        );
    }
}

#[tokio::test]
async fn requests_that_are_no_plain_get_neither_fill_the_store_nor_read_it() {
    let origin = numbered(&[("Cache-Control", "max-age=60")]);
    for settings in [FORCE, STANDARD] {
        let proxy = Proxy::start(&origin, &cache(settings)).await;
        let odd = [
            request("POST /a"),
            request("PUT /a"),
            request("DELETE /a"),
            request("PATCH /a"),
            request("OPTIONS /a"),
            request("PURGE /a"),
            request("PROPFIND /a"),
            request("GET /a").body("q"),
            request("GET /a").chunked("q"),
            request("GET /a").field("X-HTTP-Method-Override", "POST"),
            request("GET /a").field("X-HTTP-Method", "PUT"),
            request("GET /a").field("X-Method-Override", "DELETE"),
            request("GET /a").field("If-Match", "\"x\""),
            request("GET /a").field("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            request("GET /a").field("Accept", "text/event-stream"),
            request("GET /a").field("Connection", "upgrade").field("Upgrade", "websocket"),
        ];
        for request in &odd {
            assert!(!proxy.send(request).await.cache_says("hit"), "{request:?}");
        }
        assert!(!proxy.get("/a").await.cache_says("hit"), "nothing of it was stored, {settings}");
        for request in &odd {
            assert!(!proxy.send(request).await.cache_says("hit"), "{request:?}");
        }
    }
}

#[tokio::test]
async fn what_one_client_asks_under_conditions_is_whole_for_the_others() {
    let tag = "\"v1\"";
    for settings in [FORCE, STANDARD, "mode = 'off'"] {
        for (name, value) in [
            ("If-None-Match", tag),
            ("If-None-Match", "*"),
            ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
            ("Range", "bytes=0-0"),
            ("Range", "bytes=900-"),
            ("If-Match", "\"other\""),
            ("Accept-Encoding", "gzip"),
            ("Accept-Encoding", "identity;q=0"),
            ("Expect", "100-continue"),
        ] {
            let origin = Origin::start();
            origin.on_each("*", move |seen| {
                let fine = Script::ok("the whole").field("ETag", tag).field("Cache-Control", "max-age=60");
                match (seen.field("if-none-match"), seen.field("range"), seen.field("if-match")) {
                    (Some(_), ..) => Script::status(304).field("ETag", tag),
                    (_, Some("bytes=0-0"), _) => {
                        Script::status(206).field("Content-Range", "bytes 0-0/9").field("ETag", tag).body("t")
                    }
                    (_, Some(_), _) => Script::status(416).field("Content-Range", "bytes */9"),
                    (_, _, Some(_)) => Script::status(412),
                    _ => fine,
                }
            });
            let proxy = Proxy::start(&origin, &cache(settings)).await;
            let address = proxy.address;
            // At the same time, and afterwards.
            let answers = concurrently(20, move |number| async move {
                let plain = request("GET /a");
                let one = if number % 2 == 0 { plain.field(name, value) } else { plain };
                (number % 2, one.send(address).await)
            })
            .await;
            let after = (1, proxy.get("/a").await);
            for (is_plain, answer) in answers.into_iter().chain([after]) {
                let is_whole = answer.status() == 200 && answer.text() == "the whole";
                assert!(is_plain == 0 || is_whole, "{name}: {value}, {settings}: {answer:?}");
            }
        }
    }
}
