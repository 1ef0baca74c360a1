//! Nobody's bytes reach anybody else.

use super::{cache, numbered};
use crate::harness::{Proxy, request};

const FORCE: &str = "mode = 'force', ttl = '1h', negative_ttl = '1h'";

#[tokio::test]
async fn set_cookie_and_private_are_stored_by_no_mode() {
    for fields in [
        [("Set-Cookie", "session=1"), ("Cache-Control", "public, max-age=60")],
        [("X-Any", "1"), ("Cache-Control", "private, max-age=60")],
    ] {
        for settings in ["", FORCE] {
            let origin = numbered(&fields);
            let proxy = Proxy::start(&origin, &cache(settings)).await;
            proxy.get("/a").await;
            let second = proxy.get("/a").await;
            assert_eq!(
                (second.text(), second.cache_says("hit")),
                ("answer 1", false),
                "{fields:?}, {settings}"
            );
            assert_eq!(proxy.metric("forebay_cache_entries", &[]).await, 0.0);
        }
    }
}

#[tokio::test]
async fn under_standard_credentials_need_the_origins_permission() {
    for name in ["Authorization", "Cookie"] {
        for (control, is_shared) in
            [("max-age=60", false), ("public, max-age=60", true), ("s-maxage=60", true)]
        {
            let origin = numbered(&[("Cache-Control", control)]);
            let proxy = Proxy::start(&origin, "").await;
            assert_eq!(proxy.send(&request("GET /a").field(name, "one")).await.text(), "answer 0");
            let other = proxy.send(&request("GET /a").field(name, "two")).await;
            assert_eq!(other.text() == "answer 0", is_shared, "{name}, {control}: {:?}", other.head);
        }
    }
}

#[tokio::test]
async fn under_force_every_identity_has_its_own() {
    for name in ["Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization"] {
        let origin = numbered(&[("Cache-Control", "no-store")]);
        let proxy = Proxy::start(&origin, &cache(FORCE)).await;
        let as_user = |user: &str| request("GET /a").field(name, user);
        assert_eq!(proxy.send(&as_user("one")).await.text(), "answer 0", "{name}");
        assert_eq!(proxy.send(&as_user("two")).await.text(), "answer 1", "{name}");
        assert_eq!(proxy.get("/a").await.text(), "answer 2", "{name}");
        let again = proxy.send(&as_user("one")).await;
        assert_eq!((again.text(), again.cache_says("hit")), ("answer 0", true), "{name}");
    }
}

#[tokio::test]
async fn credentials_shared_says_that_they_do_not_matter() {
    let origin = numbered(&[]);
    let settings = format!("{FORCE}, key = {{ credentials = 'shared' }}");
    let proxy = Proxy::start(&origin, &cache(&settings)).await;
    assert_eq!(proxy.send(&request("GET /a").field("Cookie", "one")).await.text(), "answer 0");
    assert_eq!(proxy.send(&request("GET /a").field("Cookie", "two")).await.text(), "answer 0");
    assert_eq!(origin.count("/a"), 1);
}

#[tokio::test]
async fn a_route_can_say_what_tells_its_clients_apart() {
    let origin = numbered(&[]);
    let config = "
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        identity = ['X-Tenant']
        cache = { mode = 'force', ttl = '1h' }";
    let proxy = Proxy::start(&origin, config).await;
    let ask =
        |tenant: &str, cookie: &str| request("GET /a").field("X-Tenant", tenant).field("Cookie", cookie);
    assert_eq!(proxy.send(&ask("one", "a")).await.text(), "answer 0");
    assert_eq!(proxy.send(&ask("one", "b")).await.text(), "answer 0");
    assert_eq!(proxy.send(&ask("two", "a")).await.text(), "answer 1");
}
