//! Who may join a fetch that is under way, and what an answer that could not be shared means for later ones.

use super::{gated, on_one_thread, wait_inside};
use crate::harness::{Connection, Gate, Origin, Proxy, Script, request, wait_until};

const FORCE: &str = "routes = [{ name = 'all', match = '/{*rest}', cache = { mode = 'force', ttl = '1s' } }]";

#[tokio::test]
async fn an_answer_that_may_not_be_stored_is_shared_by_those_who_wait() {
    let origin = Origin::start();
    let (gate, proxy) = (Gate::closed(), on_one_thread(&origin, "").await);
    origin.on("/slow", Script::ok("state").field("Cache-Control", "no-store").when(&gate));
    let all: Vec<_> = (0..5).map(|_| proxy.begin(&request("GET /slow"))).collect();
    wait_inside(&proxy, 5.0).await;
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().text(), "state");
    }
    assert_eq!((origin.count("/slow"), proxy.get("/slow").await.cache_says("hit")), (1, false));
}

#[tokio::test]
async fn who_insists_on_news_joins_no_fetch_that_is_under_way_unless_the_operator_forces_it() {
    for insisting in ["no-cache", "max-age=0", "no-store"] {
        for (config, fetches) in [("", 2), (FORCE, 1)] {
            let (origin, gate) = gated();
            let proxy = on_one_thread(&origin, config).await;
            let older = proxy.begin(&request("GET /slow"));
            wait_until("it is at the origin", || async { origin.active("/slow") == 1 }).await;
            let newer = proxy.begin(&request("GET /slow").field("Cache-Control", insisting));
            wait_inside(&proxy, 2.0).await;
            wait_until("both have begun", || async { origin.count("/slow") == fetches }).await;
            gate.open();
            for one in [older, newer] {
                assert_eq!(one.await.unwrap().status(), 200);
            }
            assert_eq!(origin.count("/slow"), fetches, "{insisting} {config}");
        }
    }
}

#[tokio::test]
async fn those_who_insist_share_a_fetch_that_has_yet_to_begin() {
    let (origin, gate) = gated();
    let config = "
        in_flight.one = { max = 1, queue = { size = 9, timeout = '60s' } }
        routes = [{ name = 'all', match = '/{*rest}', in_flight = 'one' }]";
    let proxy = on_one_thread(&origin, config).await;
    let first = proxy.begin(&request("GET /slow"));
    wait_until("the pool is full", || async { origin.active("/slow") == 1 }).await;
    let insist = request("GET /news").field("Cache-Control", "no-cache");
    let all: Vec<_> = (0..5).map(|_| proxy.begin(&insist)).collect();
    wait_inside(&proxy, 6.0).await;
    gate.open();
    first.await.unwrap();
    for one in all {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!(origin.count("/news"), 1);
}

#[tokio::test]
async fn an_answer_that_can_be_shared_again_is_stored_and_collapsed_again() {
    let origin = Origin::start();
    origin.on_each("/now", |seen| match seen.nth {
        0 => Script::ok("yours").field("Set-Cookie", "session=1"),
        nth => Script::ok(format!("answer {nth}")).field("Cache-Control", "max-age=60"),
    });
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/now").await.text(), "yours");
    let second = proxy.get("/now").await;
    assert!(second.cache_says("stored"), "{second:?}");
    let third = proxy.get("/now").await;
    assert!(third.cache_says("hit"), "{third:?}");
    assert_eq!((third.text(), origin.count("/now")), ("answer 1", 2));
}

/// What will be stored counts for the 16 MiB too.
#[tokio::test]
async fn nobody_joins_an_answer_that_is_not_stored_while_all_flights_keep_much() {
    for (mebibytes, fetches) in [(1, 1), (18, 2)] {
        let (origin, gate) = (Origin::start(), Gate::closed());
        let stored = Script::chunked().field("Cache-Control", "max-age=60");
        origin.on("/stored", stored.repeat(vec![b'x'; 65536], mebibytes * 16).wait(&gate));
        let live = Script::chunked().field("Cache-Control", "no-store");
        origin.on("/live", live.body("first, ").wait(&gate).body("last"));
        let proxy = Proxy::start(&origin, "cache.max_object = '32MiB'").await;
        let large = proxy.begin(&request("GET /stored"));
        let most = (mebibytes * 1024 * 1024) as f64;
        wait_until("it has come", || async { proxy.metric("forebay_cache_bytes", &[]).await >= most }).await;
        let mut readers = Vec::new();
        for _ in 0..2 {
            let mut reader = Connection::open(proxy.address).await;
            reader.send(request("GET /live").bytes()).await;
            reader.head("GET").await;
            assert_eq!(reader.data().await.unwrap().unwrap(), b"first, ");
            readers.push(reader);
        }
        assert_eq!(origin.count("/live"), fetches, "with {mebibytes} MiB");
        gate.open();
        for mut reader in readers {
            assert_eq!(reader.data().await.unwrap().unwrap(), b"last");
        }
        assert_eq!(large.await.unwrap().status(), 200);
    }
}
