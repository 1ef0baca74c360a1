//! What becomes of a fetch when those who waited for it leave, each at its own time.

use std::time::Instant;

use super::{gated, wait_inside};
use crate::harness::{Connection, Gate, Origin, Proxy, Script, request, wait_until};

/// Asks for what may be stored, and leaves when the first piece of its body is there; the last piece comes afterwards.
async fn leave_after(first: &str, rest: &str, script: Script) -> (Origin, Proxy) {
    let (origin, gate) = (Origin::start(), Gate::closed());
    let script = script.field("Cache-Control", "max-age=60");
    origin.on("/report", script.body(first.to_owned()).wait(&gate).body(rest.to_owned()));
    let proxy = Proxy::start(&origin, "").await;
    let mut only = Connection::open(proxy.address).await;
    only.send(request("GET /report").bytes()).await;
    only.head("GET").await;
    assert_eq!(only.data().await.unwrap().unwrap(), first.as_bytes());
    drop(only);
    wait_inside(&proxy, 0.0).await;
    if rest.len() <= first.len() {
        gate.open();
    }
    wait_until("the origin is done", || async { origin.active("/report") == 0 }).await;
    (origin, proxy)
}

#[tokio::test]
async fn what_is_half_there_is_fetched_to_its_end_and_stored() {
    let (origin, proxy) = leave_after("12345", "6789a", Script::ok("")).await;
    wait_until("it is stored", || async { proxy.metric("forebay_cache_entries", &[]).await == 1.0 }).await;
    let response = proxy.get("/report").await;
    assert!(response.cache_says("hit"), "{response:?}");
    assert_eq!((response.text(), origin.only("/report").abandoned), ("123456789a", false));
}

#[tokio::test]
async fn what_has_hardly_begun_is_cancelled() {
    let (origin, _proxy) = leave_after("123", "456789a", Script::ok("")).await;
    assert!(origin.only("/report").abandoned);
}

#[tokio::test]
async fn what_has_no_known_length_is_cancelled() {
    let (origin, _proxy) = leave_after("123", "456789a", Script::chunked()).await;
    assert!(origin.only("/report").abandoned);
}

#[tokio::test]
async fn a_follower_waits_for_as_long_as_its_own_request_may_take() {
    let (origin, gate) = gated();
    let config = "routes = [{ name = 'all', match = '/{*rest}', timeout = '3s' }]";
    let proxy = Proxy::start(&origin, config).await;
    let began = Instant::now();
    let leader = proxy.begin(&request("GET /slow"));
    wait_until("half of its time is over", || async { began.elapsed().as_millis() > 1500 }).await;
    let follower = proxy.begin(&request("GET /slow"));
    leader.await.unwrap().assert_problem(504);
    gate.open();
    assert_eq!((follower.await.unwrap().text(), origin.count("/slow")), ("answer 0", 1));
}
