//! Whom a limit counts together, and whom it believes.

use crate::harness::client::Request;
use crate::harness::{Origin, Proxy, request};

/// `1/hour` by this key, with believed X-Forwarded-For.
fn one_by(key: &str) -> String {
    format!(
        "listener.trusted_proxies = ['127.0.0.1/32']
        rate_limits.one = {{ key = {key}, rates = ['1/hour'] }}
        routes = [{{ name = 'all', match = '/api/{{workspace}}/{{*rest}}', rate_limits = ['one'] }}]"
    )
}

fn ask() -> Request {
    request("GET /api/w/x")
}

/// Sends each request in turn and compares whether it passed.
async fn assert_passes(config: &str, requests: &[(Request, bool)]) {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, config).await;
    for (number, (request, passes)) in requests.iter().enumerate() {
        let status = proxy.send(request).await.status();
        assert_eq!(status, if *passes { 200 } else { 429 }, "request {number}: {request:?}");
    }
    assert_eq!(origin.count("*"), requests.iter().filter(|(_, passes)| *passes).count());
}

#[tokio::test]
async fn a_spoofed_address_changes_nothing() {
    let config = one_by("'client_ip'").replace("127.0.0.1/32", "192.0.2.1/32");
    let from = |address: &str| ask().field("X-Forwarded-For", address);
    let requests = [
        (from("203.0.113.1"), true),
        (from("203.0.113.2"), false),
        (ask().field("Forwarded", "for=203.0.113.3"), false),
        (ask().field("X-Real-IP", "203.0.113.4"), false),
        (ask(), false),
    ];
    assert_passes(&config, &requests).await;
}

#[tokio::test]
async fn the_rightmost_untrusted_hop_is_the_client() {
    let from = |hops: &str| ask().field("X-Forwarded-For", hops);
    let requests = [
        (from("198.51.100.1, 203.0.113.1"), true),
        (from("198.51.100.2, 203.0.113.1"), false),
        (from("203.0.113.1, 127.0.0.1"), false),
        (from("203.0.113.1, 203.0.113.2"), true),
        (ask().field("X-Forwarded-For", "1.1.1.1").field("X-Forwarded-For", "203.0.113.2"), false),
        (ask().field("X-Forwarded-For", "203.0.113.3").field("Forwarded", "for=203.0.113.9"), true),
        (ask().field("X-Forwarded-For", "203.0.113.3").field("Forwarded", "for=203.0.113.10"), false),
    ];
    assert_passes(&one_by("'client_ip'"), &requests).await;
}

#[tokio::test]
async fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
    let from = |value: &str| ask().field("Forwarded", value);
    let requests = [
        (from("for=203.0.113.1;proto=https"), true),
        (from("For=\"203.0.113.1:4711\""), false),
        (from("for=\"[2001:db8::1]:80\""), true),
        (from("for=\"[2001:db8::2]\""), false),
        (from("for=203.0.113.1;"), false),
        // What a client has had put into quotes is no hop.
        (from("for=203.0.113.1;host=\"x, for=203.0.113.2;y=\""), false),
        (from("for=203.0.113.1;host=\"\\\", for=203.0.113.3;y=\""), false),
    ];
    assert_passes(&one_by("'client_ip'"), &requests).await;
}

#[tokio::test]
async fn addresses_are_canonical_and_ipv6_counts_by_its_prefix() {
    let from = |address: &str| ask().field("X-Forwarded-For", address);
    let requests = [
        (from("203.0.113.1"), true),
        (from("::ffff:203.0.113.1"), false),
        (from("203.0.113.1:5555"), false),
        (from("2001:db8:1:1::1"), true),
        (from("2001:DB8:1:1:ffff::2"), false),
        (from("[2001:db8:1:1::3]:443"), false),
        (from("2001:db8:1:2::1"), true),
    ];
    assert_passes(&one_by("'client_ip'"), &requests).await;
}

#[tokio::test]
async fn a_header_counts_by_its_value_and_without_it_the_address_does() {
    let key = |value: &str| ask().field("X-Api-Key", value);
    let requests = [
        (key("a"), true),
        (key("a"), false),
        (key("b"), true),
        (ask(), true),
        (ask(), false),
        (key("b"), false),
    ];
    assert_passes(&one_by("'header:X-Api-Key'"), &requests).await;
}

#[tokio::test]
async fn cookie_query_and_path_count_by_their_values() {
    let cookie = |value: &str| ask().field("Cookie", value);
    let requests = [
        (cookie("theme=dark; session=1"), true),
        (cookie("session=1"), false),
        (cookie("session=2; theme=dark"), true),
        (cookie("xsession=1"), true),
    ];
    assert_passes(&one_by("'cookie:session'"), &requests).await;

    let query = |value: &str| request(&format!("GET /api/w/x?{value}"));
    let requests = [(query("user=1"), true), (query("page=2&user=1"), false), (query("user=2"), true)];
    assert_passes(&one_by("'query:user'"), &requests).await;

    let path = |line: &str| request(line);
    let requests = [
        (path("GET /api/one/x"), true),
        (path("GET /api/one/y"), false),
        (path("GET /api/two/x"), true),
        (path("GET /api/%6Fne/z"), false),
    ];
    assert_passes(&one_by("'path:workspace'"), &requests).await;
}

#[tokio::test]
async fn no_spelling_of_a_cookie_is_another_key() {
    let cookie = |value: &str| (ask().field("Cookie", value), false);
    let spellings = [
        "sid= k1",
        "sid =k1",
        "sid=\"k1\"",
        "sid=\"\\153\\061\"",
        "sid=%6b1",
        "sid=k1 x=1",
        "sid=k1,x=1",
        "sid=k1; sid=%6B1",
    ];
    let requests = [vec![(ask().field("Cookie", "sid=k1"), true)], spellings.map(cookie).into()].concat();
    assert_passes(&one_by("'cookie:sid'"), &requests).await;
}

#[tokio::test]
async fn a_list_counts_by_all_of_its_parts() {
    let ask = |line: &str, address: &str| request(line).field("X-Forwarded-For", address);
    let requests = [
        (ask("GET /api/one/x", "192.0.2.1"), true),
        (ask("GET /api/one/x", "192.0.2.1"), false),
        (ask("GET /api/two/x", "192.0.2.1"), true),
        (ask("GET /api/one/x", "192.0.2.2"), true),
    ];
    assert_passes(&one_by("['client_ip', 'path:workspace']"), &requests).await;
}

#[tokio::test]
async fn global_counts_everybody_together() {
    let from = |address: &str| ask().field("X-Forwarded-For", address);
    assert_passes(&one_by("'global'"), &[(from("192.0.2.1"), true), (from("192.0.2.2"), false)]).await;
}

#[tokio::test]
async fn a_flood_of_keys_frees_no_limited_client() {
    let origin = Origin::start();
    let config = "
        rate_limits.one = { key = 'header:X-Api-Key', rates = ['1/hour'], max_keys = 50 }
        routes = [{ name = 'all', match = '/{*rest}', rate_limits = ['one'] }]";
    let proxy = Proxy::start(&origin, config).await;
    let key = |value: &str| request("GET /").field("X-Api-Key", value);
    assert_eq!(proxy.send(&key("limited")).await.status(), 200);
    assert_eq!(proxy.send(&key("limited")).await.status(), 429);
    let mut passed = 0;
    for number in 0..500 {
        passed += usize::from(proxy.send(&key(&format!("flood-{number}"))).await.status() == 200);
    }
    assert_eq!(proxy.send(&key("limited")).await.status(), 429);
    // The limited one has a record, 49 of the flood have one, and the others share one more.
    assert_eq!(passed, 50, "of 500 unknown keys with room for 50");
    assert!(proxy.metric("forebay_rate_limit_keys", &["limit=\"one\""]).await <= 50.0);
}
