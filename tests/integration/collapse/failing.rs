//! A fetch that finds nobody: tried once more for those who have joined, and for nobody else.

use super::{gated, on_one_thread, wait_inside};
use crate::harness::origin::dead_address;
use crate::harness::{request, wait_until};

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_tried_once_more_for_those_who_have_joined() {
    let (origin, gate) = gated();
    let config = format!(
        "in_flight.one = {{ max = 1, queue = {{ size = 9, timeout = '60s' }} }}
        upstreams.origin.servers = ['http://{}']
        upstreams.dead.servers = ['http://{}']
        routes = [
            {{ name = 'slow', match = '/slow', upstream = 'origin', in_flight = 'one' }},
            {{ name = 'dead', match = '/dead', upstream = 'dead', in_flight = 'one' }},
        ]",
        origin.address(),
        dead_address(),
    );
    let proxy = on_one_thread(&origin, &config).await;
    let attempts = || proxy.metric("forebay_upstream_requests_total", &["upstream=\"dead\""]);
    proxy.get("/dead").await.assert_problem(502);
    assert_eq!(attempts().await, 1.0, "nobody has joined");

    let first = proxy.begin(&request("GET /slow"));
    wait_until("the pool is full", || async { origin.active("/slow") == 1 }).await;
    let all: Vec<_> = (0..20).map(|_| proxy.begin(&request("GET /dead"))).collect();
    wait_inside(&proxy, 21.0).await;
    gate.open();
    first.await.unwrap();
    for one in all {
        one.await.unwrap().assert_problem(502);
    }
    assert_eq!(attempts().await, 3.0, "two for twenty");
}
