//! Who may ask how often: exact windows, honest Retry-After, and no way round by spelling or spoofing.

mod cached;
mod keys;

use std::time::Instant;

use crate::harness::client::Request;
use crate::harness::{Gate, Origin, Proxy, Script, concurrently, request, seconds, wait_until};

/// One limit named `start` with these rates on every path, and believed X-Forwarded-For.
fn limited(rates: &str) -> String {
    format!(
        "listener.trusted_proxies = ['127.0.0.1/32']
        rate_limits.start = {{ key = 'client_ip', rates = [{rates}] }}
        routes = [{{ name = 'all', match = '/{{*rest}}', rate_limits = ['start'] }}]"
    )
}

fn start() -> Request {
    request("POST /api/scan/execute")
}

fn start_from(address: &str) -> Request {
    start().field("X-Forwarded-For", address)
}

#[tokio::test]
async fn the_third_start_in_a_minute_is_refused_and_another_address_is_untouched() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'2/minute'")).await;
    for _ in 0..2 {
        assert_eq!(proxy.send(&start_from("203.0.113.7")).await.status(), 200);
    }
    let refused = proxy.send(&start_from("203.0.113.7")).await;
    let problem = refused.assert_problem(429);
    assert_eq!(problem["limit"], "start");
    let retry_after = refused.retry_after();
    assert!(seconds(40.0) <= retry_after && retry_after <= seconds(67.0), "{retry_after:?}");
    assert_eq!(problem["retry_after"], retry_after.as_secs());
    assert_eq!(proxy.send(&start_from("203.0.113.8")).await.status(), 200);
    assert_eq!(origin.count("*"), 3);
    assert_eq!(proxy.metric("forebay_rate_limit_decisions_total", &["decision=\"refused\""]).await, 1.0);
    assert_eq!(proxy.metric("forebay_rate_limit_decisions_total", &["decision=\"allowed\""]).await, 3.0);
}

#[tokio::test]
async fn retry_after_is_honest() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'2/4s'")).await;
    let first = Instant::now();
    for _ in 0..2 {
        assert_eq!(proxy.send(&start()).await.status(), 200);
    }
    let refused = proxy.send(&start()).await;
    let at = Instant::now();
    assert_eq!(refused.status(), 429);
    // Real time must pass here: a second before its end the window still holds, at the stated time it does not.
    tokio::time::sleep_until((first + seconds(3.0)).into()).await;
    let early = proxy.send(&start()).await.status();
    assert!(early == 429 || first.elapsed() > seconds(4.0), "{early} after {:?}", first.elapsed());
    tokio::time::sleep_until((at + refused.retry_after()).into()).await;
    assert_eq!(proxy.send(&start()).await.status(), 200);
}

#[tokio::test]
async fn any_window_of_that_length_holds_at_most_that_many() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'3/2s'")).await;
    let start_of_all = Instant::now();
    let mut allowed = Vec::new();
    while start_of_all.elapsed() < seconds(5.0) {
        let before = Instant::now();
        if proxy.send(&start()).await.status() == 200 {
            allowed.push((before, Instant::now()));
        }
    }
    // The decision fell somewhere between sending and answer; only certain violations count.
    for window in allowed.windows(4) {
        let spread = window[3].1 - window[0].0;
        assert!(spread >= seconds(2.0), "4 allowed within {spread:?}");
    }
    assert!((6..=9).contains(&allowed.len()), "{} allowed in 5 s of 3 per 2 s", allowed.len());
}

#[tokio::test]
async fn a_burst_of_simultaneous_requests_passes_exactly_the_limit() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'7/hour'")).await;
    let address = proxy.address;
    let statuses = concurrently(60, move |_| async move { start().send(address).await.status() }).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 7);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 53);
    assert_eq!(origin.count("*"), 7);
}

#[tokio::test]
async fn every_tier_must_allow_and_a_refused_request_is_charged_to_none() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'2/2s', '3/hour'")).await;
    for _ in 0..2 {
        assert_eq!(proxy.send(&start()).await.status(), 200);
    }
    // Refused by the short tier, again and again: the long one must not notice.
    let mut last = proxy.send(&start()).await;
    for _ in 0..5 {
        assert_eq!(last.status(), 429);
        assert!(last.retry_after() <= seconds(4.0));
        last = proxy.send(&start()).await;
    }
    wait_until("the short tier allows again", || async { proxy.send(&start()).await.status() == 200 }).await;
    let refused = proxy.send(&start()).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.retry_after() > seconds(3000.0), "{refused:?}");
    assert_eq!(origin.count("*"), 3);
}

#[tokio::test]
async fn of_several_limits_all_are_charged_or_none() {
    let origin = Origin::start();
    let config = "
        rate_limits.by-key = { key = 'header:X-Api-Key', rates = ['1/hour'] }
        rate_limits.by-address = { key = 'client_ip', rates = ['3/hour'] }
        routes = [{ name = 'all', match = '/{*rest}', rate_limits = ['by-address', 'by-key'] }]";
    let proxy = Proxy::start(&origin, config).await;
    let with_key = |key: &str| start().field("X-Api-Key", key);
    assert_eq!(proxy.send(&with_key("a")).await.status(), 200);
    for _ in 0..4 {
        assert_eq!(proxy.send(&with_key("a")).await.assert_problem(429)["limit"], "by-key");
    }
    assert_eq!(proxy.send(&with_key("b")).await.status(), 200);
    assert_eq!(proxy.send(&with_key("c")).await.status(), 200);
    assert_eq!(proxy.send(&with_key("d")).await.assert_problem(429)["limit"], "by-address");
    assert_eq!(origin.count("*"), 3);
}

#[tokio::test]
async fn burst_allows_more_on_top() {
    let origin = Origin::start();
    let config = "
        rate_limits.start = { key = 'client_ip', rates = ['2/hour'], burst = 2 }
        routes = [{ name = 'all', match = '/{*rest}', rate_limits = ['start'] }]";
    let proxy = Proxy::start(&origin, config).await;
    for expected in [200, 200, 200, 200, 429] {
        assert_eq!(proxy.send(&start()).await.status(), expected);
    }
}

#[tokio::test]
async fn observe_counts_and_never_refuses() {
    let origin = Origin::start();
    let config = "
        rate_limits.start = { key = 'client_ip', rates = ['1/hour'], mode = 'observe' }
        routes = [{ name = 'all', match = '/{*rest}', rate_limits = ['start'] }]";
    let proxy = Proxy::start(&origin, config).await;
    for _ in 0..4 {
        assert_eq!(proxy.send(&start()).await.status(), 200);
    }
    assert_eq!(origin.count("*"), 4);
    let would = proxy.metric("forebay_rate_limit_decisions_total", &["decision=\"would_refuse\""]).await;
    assert_eq!(would, 3.0);
    assert_eq!(proxy.metric("forebay_rate_limit_decisions_total", &["decision=\"refused\""]).await, 0.0);
}

#[tokio::test]
async fn the_fields_tell_what_is_left() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'2/minute'")).await;
    let (first, second) = (proxy.send(&start()).await, proxy.send(&start()).await);
    let refused = proxy.send(&start()).await;
    for (response, left) in [(&first, "r=1"), (&second, "r=0"), (&refused, "r=0")] {
        let policy = response.must("ratelimit-policy").replace(' ', "");
        assert!(
            policy.starts_with("\"start\";") && policy.contains("q=2") && policy.contains("w=60"),
            "{policy}"
        );
        let limit = response.must("ratelimit").replace(' ', "");
        assert!(limit.starts_with("\"start\";") && limit.contains(left), "{limit}");
    }
}

#[tokio::test]
async fn tiers_have_names_of_their_own() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("'2/minute', '10/hour'")).await;
    let policy = proxy.send(&start()).await.must("ratelimit-policy").replace(' ', "");
    assert!(policy.contains("\"start-60\";") && policy.contains("\"start-3600\";"), "{policy}");
}

#[tokio::test]
async fn charged_at_the_upstream_hits_are_free() {
    let origin = Origin::start();
    let config = "
        rate_limits.fetches = { key = 'global', rates = ['2/hour'], charge = 'upstream' }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        rate_limits = ['fetches']
        cache = { mode = 'force', ttl = '1h' }";
    let proxy = Proxy::start(&origin, config).await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/a").await.status(), 200);
    }
    assert_eq!(proxy.get("/b").await.status(), 200);
    assert_eq!(proxy.get("/c").await.status(), 429);
    assert_eq!(proxy.get("/a").await.status(), 200);
    assert_eq!(origin.count("*"), 2);
}

#[tokio::test]
async fn charged_at_the_upstream_a_flight_is_asked_once_and_its_followers_are_free() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.on("/a", Script::ok("a").when(&gate));
    // On one thread: whoever is inside has joined the flight before anything else happens.
    let config = "
        listener.workers = 1
        rate_limits.fetches = { key = 'client_ip', rates = ['1/hour'], charge = 'upstream' }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        rate_limits = ['fetches']
        cache = { mode = 'force', ttl = '1h' }";
    let proxy = Proxy::start(&origin, config).await;
    let asked = [0; 10].map(|_| proxy.begin(&request("GET /a")));
    wait_until("all wait for one request", || async {
        proxy.metric("forebay_requests_in_progress", &["route=\"all\""]).await == 10.0
    })
    .await;
    gate.open();
    for one in asked {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    let decided = async |decision: &str| {
        let label = format!("decision=\"{decision}\"");
        proxy.metric("forebay_rate_limit_decisions_total", &[&*label]).await
    };
    assert_eq!((origin.count("*"), decided("allowed").await, decided("refused").await), (1, 1.0, 0.0));
    proxy.get("/b").await.assert_problem(429);
    assert_eq!((origin.count("*"), decided("allowed").await, decided("refused").await), (1, 1.0, 1.0));
}

#[tokio::test]
async fn a_refusal_is_never_stored() {
    let origin = Origin::start();
    let config = "
        rate_limits.fetches = { key = 'client_ip', rates = ['1/hour'] }
        listener.trusted_proxies = ['127.0.0.1/32']
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        rate_limits = ['fetches']
        cache = { mode = 'force', ttl = '1h', negative_ttl = '1h' }";
    let proxy = Proxy::start(&origin, config).await;
    let from = |path: &str, address: &str| request(path).field("X-Forwarded-For", address);
    assert_eq!(proxy.send(&from("GET /a", "192.0.2.1")).await.status(), 200);
    assert_eq!(proxy.send(&from("GET /b", "192.0.2.1")).await.status(), 429);
    assert_eq!(proxy.send(&from("GET /b", "192.0.2.2")).await.status(), 200);
}

#[tokio::test]
async fn what_the_pool_refuses_is_not_charged() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("*", Script::ok("").when(&gate));
    let config = "
        rate_limits.start = { key = 'client_ip', rates = ['2/hour'] }
        in_flight.scans = { max = 1 }
        [[routes]]
        name = 'all'
        match = '/{*rest}'
        rate_limits = ['start']
        in_flight = 'scans'";
    let proxy = Proxy::start(&origin, config).await;
    let running = proxy.begin(&start());
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    for _ in 0..3 {
        assert_eq!(proxy.send(&start()).await.assert_problem(429)["limit"], "scans");
    }
    gate.open();
    assert_eq!(running.await.unwrap().status(), 200);
    proxy.wait_for_metric("forebay_in_flight", &["pool=\"scans\""], 0.0).await;
    assert_eq!(proxy.send(&start()).await.status(), 200);
    assert_eq!(proxy.send(&start()).await.assert_problem(429)["limit"], "start");
}
