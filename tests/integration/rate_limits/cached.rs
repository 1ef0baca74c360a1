//! The store is no way round a limit.

use crate::harness::client::Request;
use crate::harness::{Origin, Proxy, Script, request};

/// Requests that the store treats each in its own way.
fn variants(path: &str) -> Vec<Request> {
    let get = || request(&format!("GET {path}"));
    vec![
        get(),
        request(&format!("HEAD {path}")),
        get().field("Cache-Control", "no-cache"),
        get().field("Cache-Control", "no-store"),
        get().field("Cache-Control", "max-age=0"),
        get().field("Cache-Control", "min-fresh=99999"),
        get().field("Cache-Control", "max-stale"),
        get().field("Cache-Control", "only-if-cached"),
        get().field("Cache-Control", "only-if-cached, no-cache"),
        get().field("Cache-Control", "stale-if-error=99999"),
        get().field("Pragma", "no-cache"),
        get().field("Range", "bytes=0-1"),
        get().field("Range", "bytes=0-1,3-4"),
        get().field("Range", "bytes=0-1").field("If-Range", "\"x\""),
        get().field("If-None-Match", "*"),
        get().field("If-Match", "\"x\""),
        get().field("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        get().field("If-Unmodified-Since", "Fri, 01 Jan 1970 00:00:00 GMT"),
        get().field("Accept", "text/event-stream"),
        get().field("Accept-Encoding", "gzip"),
        get().field("X-HTTP-Method-Override", "HEAD"),
        get().field("Connection", "upgrade").field("Upgrade", "websocket"),
        get().field("Cookie", "a=b"),
        get().field("X-Forwarded-For", "203.0.113.9"),
        get().field("Forwarded", "for=203.0.113.9"),
        get().field("X-Real-IP", "203.0.113.9"),
        get().body("q"),
        get().chunked("q"),
        request(&format!("OPTIONS {path}")),
        request(&format!("POST {path}")),
    ]
}

fn config(charge: &str, cache: &str) -> String {
    format!(
        "rate_limits.few = {{ key = 'client_ip', rates = ['3/hour'], charge = '{charge}' }}
        routes = [{{ name = 'all', match = '/{{*rest}}', rate_limits = ['few'], cache = {{ {cache} }} }}]"
    )
}

#[tokio::test]
async fn no_kind_of_request_passes_a_limit_that_is_used_up() {
    for cache in ["mode = 'off'", "ttl = '1h'", "mode = 'force', ttl = '1h'"] {
        let origin = Origin::start();
        let proxy = Proxy::start(&origin, &config("request", cache)).await;
        for _ in 0..3 {
            assert_eq!(proxy.get("/a").await.status(), 200);
        }
        let seen = origin.count("*");
        for path in ["/a", "/b", "/%61", "/a?x"] {
            for request in variants(path) {
                assert_eq!(proxy.send(&request).await.status(), 429, "{cache}: {request:?}");
            }
        }
        assert_eq!(origin.count("*"), seen);
    }
}

#[tokio::test]
async fn every_request_that_reaches_the_upstream_is_charged() {
    for cache in ["mode = 'off'", "ttl = '1h'", "mode = 'force', ttl = '1h'"] {
        for (number, _) in variants("/").iter().enumerate() {
            let origin = Origin::start();
            origin.on_each("*", |seen| Script::ok("answer").field("ETag", &format!("\"{}\"", seen.nth)));
            let proxy = Proxy::start(&origin, &config("upstream", cache)).await;
            let mut last = 0;
            for round in 0..8 {
                let one = variants(&format!("/{round}")).remove(number);
                last = proxy.send(&one).await.status();
            }
            assert!(
                origin.count("*") <= 3,
                "{cache}: {:?} reached it {} times",
                variants("/")[number],
                origin.count("*")
            );
            // `only-if-cached` never gets there.
            assert!(matches!(last, 429 | 504), "{cache}: {last} for {:?}", variants("/")[number]);
        }
    }
}
