//! Several servers of one upstream.

use crate::harness::origin::dead_address;
use crate::harness::{Gate, Origin, Proxy, Script, request, wait_until};

fn two(first: impl std::fmt::Display, second: impl std::fmt::Display, balance: &str) -> String {
    format!(
        "upstreams.two = {{ servers = ['http://{first}', 'http://{second}'], balance = '{balance}' }}
        routes = [{{ name = 'all', match = '/{{*rest}}', collapse = 'off' }}]"
    )
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let (one, other) = (Origin::start(), Origin::start());
    let proxy = Proxy::start(&one, &two(one.address(), other.address(), "round_robin")).await;
    for number in 0..10 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status(), 200);
    }
    assert_eq!((one.count("*"), other.count("*")), (5, 5));
}

#[tokio::test]
async fn least_request_goes_round_a_busy_server() {
    let (busy, free) = (Origin::start(), Origin::start());
    let gate = Gate::closed();
    for origin in [&busy, &free] {
        origin.on("/slow", Script::ok("").when(&gate));
    }
    let proxy = Proxy::start(&busy, &two(busy.address(), free.address(), "least_request")).await;
    let slow: Vec<_> = (0..6).map(|_| proxy.begin(&request("GET /slow"))).collect();
    let at_work = || busy.active("/slow") + free.active("/slow");
    wait_until("all six are at work", || async { at_work() == 6 }).await;
    assert!(busy.active("/slow").abs_diff(free.active("/slow")) <= 2);
    gate.open();
    for one in slow {
        assert_eq!(one.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_get_that_found_nobody_goes_to_the_other_server() {
    let origin = Origin::start();
    let config = two(dead_address(), origin.address(), "round_robin");
    let proxy = Proxy::start(&origin, &config).await;
    for number in 0..6 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status(), 200);
    }
    assert_eq!(origin.count("*"), 6);
}
