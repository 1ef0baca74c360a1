//! The waiting line: bounded, by priority, fair between clients, with a deadline.

use super::{gated, pool, scan};
use crate::harness::client::Request;
use crate::harness::{Connection, Origin, Proxy, Script, concurrently, request, seconds, wait_until};

const DEPTH: (&str, &[&str]) = ("forebay_queue_depth", &["pool=\"scans\""]);

#[tokio::test]
async fn with_room_for_all_everybody_succeeds_and_never_more_than_two_are_at_work() {
    let origin = Origin::start();
    origin.on("*", Script::ok("done").after(seconds(0.02)));
    let proxy = Proxy::start(&origin, &pool("max = 2, queue = { size = 48, timeout = '60s' }")).await;
    let address = proxy.address;
    let statuses =
        concurrently(50, move |number| async move { scan(number).send(address).await.status() }).await;
    assert_eq!(statuses, [200; 50]);
    assert_eq!((origin.count("*"), origin.most_at_once("*")), (50, 2));
    assert_eq!(proxy.metric("forebay_queue_wait_seconds_count", DEPTH.1).await, 48.0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1, queue = { size = 2, timeout = '60s' }")).await;
    let waiting: Vec<_> = (0..3).map(|number| proxy.begin(&scan(number))).collect();
    proxy.wait_for_metric(DEPTH.0, DEPTH.1, 2.0).await;
    let refused = proxy.send(&scan(9)).await;
    assert_eq!(refused.assert_problem(429)["limit"], "scans");
    assert!(refused.field("retry-after").is_some());
    gate.open();
    for one in waiting {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!(origin.count("/scan/9"), 0);
}

#[tokio::test]
async fn whoever_waits_too_long_is_told_503() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1, queue = { size = 9, timeout = '500ms' }")).await;
    let running = proxy.begin(&scan(1));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    let late = proxy.send(&scan(2)).await;
    assert_eq!(late.assert_problem(503)["limit"], "scans");
    assert!(late.took >= seconds(0.45) && late.field("retry-after").is_some(), "{late:?}");
    gate.open();
    assert_eq!(running.await.unwrap().status(), 200);
    assert_eq!(origin.count("/scan/2"), 0);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_never_reaches_the_origin() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1, queue = { size = 9, timeout = '60s' }")).await;
    let running = proxy.begin(&scan(1));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    let mut leaving = Connection::open(proxy.address).await;
    leaving.send(scan(2).bytes()).await;
    proxy.wait_for_metric(DEPTH.0, DEPTH.1, 1.0).await;
    drop(leaving);
    proxy.wait_for_metric(DEPTH.0, DEPTH.1, 0.0).await;
    let next = proxy.begin(&scan(3));
    gate.open();
    assert_eq!(running.await.unwrap().status(), 200);
    assert_eq!(next.await.unwrap().status(), 200);
    assert_eq!(origin.count("/scan/2"), 0);
}

#[tokio::test]
async fn higher_priority_goes_first() {
    let (origin, gate) = gated();
    let config = "
        in_flight.scans = { max = 1, queue = { size = 9, timeout = '60s' } }
        [[routes]]
        name = 'low'
        match = '/low/{n}'
        in_flight = 'scans'
        priority = 3
        [[routes]]
        name = 'high'
        match = '/high/{n}'
        in_flight = 'scans'
        priority = 9";
    let proxy = Proxy::start(&origin, config).await;
    let paths = ["/low/0", "/low/1", "/low/2", "/high/3", "/high/4"];
    let order = arrive_in_turn(&proxy, &origin, &paths.map(|path| request(&format!("POST {path}")))).await;
    gate.open();
    for one in order {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!(paths_in_order(&origin), ["/low/0", "/high/3", "/high/4", "/low/1", "/low/2"]);
}

#[tokio::test]
async fn one_client_with_many_requests_does_not_starve_another() {
    let (origin, gate) = gated();
    let proxy = Proxy::start(&origin, &pool("max = 1, queue = { size = 9, timeout = '60s' }")).await;
    let from = |path: &str, address: &str| request(&format!("POST {path}")).field("X-Forwarded-For", address);
    let requests = [
        from("/a/0", "192.0.2.1"),
        from("/a/1", "192.0.2.1"),
        from("/a/2", "192.0.2.1"),
        from("/a/3", "192.0.2.1"),
        from("/b/4", "192.0.2.2"),
    ];
    let all = arrive_in_turn(&proxy, &origin, &requests).await;
    gate.open();
    for one in all {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    let order = paths_in_order(&origin);
    let place = order.iter().position(|path| path == "/b/4").unwrap();
    assert!(place <= 2, "the second client's only request came in place {place}: {order:?}");
}

/// Sends them so that the first runs and each of the others is in the queue before the next one comes.
async fn arrive_in_turn(
    proxy: &Proxy,
    origin: &Origin,
    requests: &[Request],
) -> Vec<tokio::task::JoinHandle<crate::harness::Response>> {
    let mut begun = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        begun.push(proxy.begin(request));
        if number == 0 {
            wait_until("the first runs", || async { origin.active("*") == 1 }).await;
        } else {
            proxy.wait_for_metric(DEPTH.0, DEPTH.1, f64::from(u32::try_from(number).unwrap())).await;
        }
    }
    begun
}

fn paths_in_order(origin: &Origin) -> Vec<String> {
    origin.seen("*").iter().map(|seen| seen.path().to_owned()).collect()
}
