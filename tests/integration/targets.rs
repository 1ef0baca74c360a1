//! One canonical path for routing, limits and keys: no spelling of a path walks round a limit.

use crate::harness::{Origin, Proxy, request};

#[tokio::test]
async fn paths_that_can_be_read_in_two_ways_are_refused() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for path in [
        "/api/%00",
        "/api/a%00b",
        "/api\\scan",
        "/api%5Cscan",
        "/api%2Fscan",
        "/api%2fscan",
        "/api/%2e%2e/admin",
        "/api/%2E./admin",
        "/%zz",
        "/api/%4",
        "/x/..;/api",
        "/x/.;a=b/api",
        "/;/api",
        "/x/..%3B/api",
        "/x/..%3b/api",
        "/%3B/api",
        "/%c0%ae%c0%ae/api",
        "/api%c0%af",
        "/api%e0%80%af",
        "/api%0A",
        "/api%0d%0a",
        "/api/%7f",
        "/api%1F/scan",
        "/api%C2%85",
        "/api%e2%80%a8",
    ] {
        let response = proxy.get(path).await;
        assert_eq!(response.status(), 400, "{path}");
    }
    assert_eq!(origin.count("*"), 0);
}

#[tokio::test]
async fn another_spelling_of_a_path_meets_the_same_limit() {
    let origin = Origin::start();
    let config = "
        [rate_limits.start]
        key = 'client_ip'
        rates = ['1/hour']
        [[routes]]
        name = 'start'
        match = 'POST /api/scan'
        rate_limits = ['start']
        [[routes]]
        name = 'rest'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.send(&request("POST /api/scan")).await.status(), 200);
    for spelling in ["/api/%73can", "/%61pi/scan", "/api/sca%6E", "/api/sca%6e?x=1"] {
        assert_eq!(proxy.send(&request(&format!("POST {spelling}"))).await.status(), 429, "{spelling}");
    }
    // To the patterns of many frameworks the path ends before a line end.
    assert_eq!(proxy.send(&request("POST /api/scan%0A")).await.status(), 400);
    let absolute = request("POST http://scan.example/api/%73can");
    assert_eq!(proxy.send(&absolute).await.status(), 429);
    assert_eq!(origin.only("*").target, "/api/scan");
}

#[tokio::test]
async fn no_reading_of_a_path_leads_round_the_rules_of_another_route() {
    let origin = Origin::start();
    let config = "
        [rate_limits.room]
        key = 'path:room'
        rates = ['1/hour']
        [[routes]]
        name = 'start'
        match = 'POST /api/scan+go'
        [[routes]]
        name = 'room'
        match = '/rooms/{room}'
        rate_limits = ['room']
        [[routes]]
        name = 'rest'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    // Who cuts parameters off, or decodes delimiters, reads the path of another route.
    for path in
        ["/api/scan+go;x=1", "/api;x/scan+go", "/api/scan%2Bgo", "/api/scan%2bgo;x", "/api/scan+go%3Bx"]
    {
        assert_eq!(proxy.send(&request(&format!("POST {path}"))).await.status(), 400, "{path}");
    }
    assert_eq!(origin.count("*"), 0);
    // Within one route they are different resources, and one to a limit.
    for (path, status) in [("/page;jsessionid=1", 200), ("/page%2B", 200), ("/rooms/a+;v=1", 200)] {
        assert_eq!(proxy.get(path).await.status(), status, "{path}");
        assert_eq!(origin.seen("*").pop().unwrap().target, path);
    }
    for path in ["/rooms/a+", "/rooms/a%2B", "/rooms/a+;v=2", "/rooms/a%2B%3Bv"] {
        assert_eq!(proxy.get(path).await.status(), 429, "{path}");
    }
}

#[tokio::test]
async fn no_method_in_a_field_leads_round_the_rules_of_another_route() {
    let origin = Origin::start();
    let config = "
        [[routes]]
        name = 'delete'
        match = 'DELETE /items/{id}'
        [[routes]]
        name = 'start'
        match = 'POST /start'
        [[routes]]
        name = 'rest'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"] {
        for (line, method) in [
            ("POST /items/1", "DELETE"),
            ("POST /items/1", "delete"),
            ("POST /items/1", "PUT, DELETE"),
            ("GET /items/1", "DELETE"),
            ("DELETE /items/1", "PUT"),
            ("POST /items;x/1", "DELETE"),
            ("POST /start", "PATCH"),
        ] {
            let asked = request(line).field(name, method);
            proxy.send(&asked).await.assert_problem(400);
        }
        let twice = request("POST /items/1").field(name, "PUT").field(name, "DELETE");
        proxy.send(&twice).await.assert_problem(400);
    }
    assert_eq!(origin.count("*"), 0);
    // Within one route it changes no rule.
    for (line, method) in [("POST /items/1", "PUT"), ("POST /start", "POST"), ("GET /items/1", "")] {
        let asked = request(line).field("X-HTTP-Method-Override", method);
        assert_eq!(proxy.send(&asked).await.status(), 200, "{line} as {method}");
    }
}

#[tokio::test]
async fn the_canonical_path_is_what_the_origin_gets() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for (sent, canonical) in [
        ("/api/%73can/%7Eme", "/api/scan/~me"),
        ("/api/../admin?a=/../b", "/admin?a=/../b"),
        ("/api/./scan/.", "/api/scan/"),
        ("//api///scan", "/api/scan"),
        ("/../../etc", "/etc"),
    ] {
        proxy.get(sent).await;
        assert_eq!(origin.seen("*").pop().unwrap().target, canonical, "{sent}");
    }
}

#[tokio::test]
async fn a_detour_by_dot_segments_meets_the_route_of_its_end() {
    let origin = Origin::start();
    let config = "
        rate_limits.one = { key = 'client_ip', rates = ['1/hour'] }
        [[routes]]
        name = 'limited'
        match = '/admin'
        rate_limits = ['one']
        [[routes]]
        name = 'rest'
        match = '/{*rest}'";
    let proxy = Proxy::start(&origin, config).await;
    assert_eq!(proxy.get("/admin").await.status(), 200);
    for spelling in ["/api/../admin", "/./admin", "//admin", "/admin/x/.."] {
        let status = proxy.get(spelling).await.status();
        assert_eq!(status, if spelling.ends_with("..") { 200 } else { 429 }, "{spelling}");
    }
}

#[tokio::test]
async fn hosts_of_routes_compare_without_case_and_default_port() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "routes = [{ name = 'one', match = 'scan.example/{*rest}' }]").await;
    for host in ["scan.example", "SCAN.Example", "scan.example:80", "scan.example.", "scan.example.:80"] {
        assert_eq!(proxy.send(&request("GET /x").field("Host", host)).await.status(), 200, "{host}");
    }
    for host in ["other.example", "scan.example:81"] {
        let response = proxy.send(&request("GET /x").field("Host", host)).await;
        assert!(response.status() == 404 || host.ends_with("81"), "{host}: {}", response.status());
    }
}
