//! The admin listener: what it tells, and whom.

use serde_json::Value;

use crate::harness::{Gate, Origin, Proxy, Script, forebay, request, wait_until};

const EVERYTHING: &str = "
    rate_limits.start = { key = 'client_ip', rates = ['2/minute', '10/hour'] }
    in_flight.scans = { max = 2, queue = { size = 5, timeout = '10s' } }
    [[routes]]
    name = 'start'
    match = 'POST /api/scan/execute'
    rate_limits = ['start']
    in_flight = 'scans'
    [[routes]]
    name = 'status'
    match = 'GET /api/scan/status/{scan_id}'
    cache = { mode = 'force', ttl = '1h' }
    target = '2s'";

/// A proxy that has answered a start, a miss, two hits and a refusal.
async fn used(origin: &Origin, more: &str) -> Proxy {
    let proxy = Proxy::start(origin, &format!("{more}\n{EVERYTHING}")).await;
    for _ in 0..3 {
        proxy.send(&request("POST /api/scan/execute")).await;
        proxy.get("/api/scan/status/7").await;
    }
    proxy
}

async fn json(proxy: &Proxy, path: &str) -> Value {
    let response = proxy.admin_get(path).await;
    assert_eq!(
        (response.status(), response.field("content-type")),
        (200, Some("application/json")),
        "{path}"
    );
    response.json()
}

#[tokio::test]
async fn health_and_readiness_say_that_it_runs() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let health = json(&proxy, "/healthz").await;
    assert_eq!(
        (&health["status"], &health["version"]),
        (&"healthy".into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(proxy.admin_get("/readyz").await.status(), 200);
    assert_eq!(origin.count("*"), 0);
}

#[tokio::test]
async fn nothing_of_it_is_on_the_public_listener() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "routes = [{ name = 'one', match = '/one' }]").await;
    for path in ["/healthz", "/readyz", "/metrics", "/api/config", "/api/performance", "/"] {
        assert_eq!(proxy.get(path).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn metrics_come_as_text_or_open_metrics_with_every_family() {
    let origin = Origin::start();
    let proxy = used(&origin, "").await;
    let text = proxy.admin_get("/metrics").await;
    assert!(text.must("content-type").starts_with("text/plain"), "{:?}", text.head);
    let open = request("GET /metrics").field("Accept", "application/openmetrics-text; version=1.0.0");
    let open = proxy.admin_send(&open).await;
    assert!(open.must("content-type").starts_with("application/openmetrics-text"), "{:?}", open.head);
    assert!(open.text().ends_with("# EOF\n"));
    for sample in [
        "forebay_requests_total{route=\"start\",method=\"POST\",status=\"429\"} 1",
        "forebay_requests_total{route=\"status\",method=\"GET\",status=\"200\"} 3",
        "forebay_request_duration_seconds_count{route=\"status\"} 3",
        "forebay_requests_in_progress{route=\"status\"} 0",
        "forebay_cache_requests_total{route=\"status\",result=\"hit\"} 2",
        "forebay_cache_entries 1",
        "forebay_rate_limit_decisions_total{limit=\"start\",decision=\"refused\"} 1",
        "forebay_rate_limit_keys{limit=\"start\"} 1",
        "forebay_in_flight{pool=\"scans\"} 0",
        "forebay_in_flight_max{pool=\"scans\"} 2",
        "forebay_queue_depth{pool=\"scans\"} 0",
        "forebay_upstream_requests_total{upstream=\"origin\",status=\"200\"} 3",
        "forebay_upstream_duration_seconds_count{upstream=\"origin\"} 3",
        "forebay_upstream_requests_saved_total{route=\"status\",by=\"cache\"} 2",
        "forebay_config_last_reload_successful 1",
    ] {
        assert!(text.text().lines().any(|line| line == sample), "no {sample} in\n{}", text.text());
    }
    for family in [
        "forebay_cache_bytes",
        "forebay_cache_evictions_total",
        "forebay_queue_wait_seconds",
        "forebay_upstream_connections",
        "forebay_upstream_healthy",
        "forebay_upstream_retries_total",
        "forebay_upstream_seconds_saved_total",
        "forebay_connections",
        "forebay_build_info",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(text.text().contains(family), "no {family}");
    }
    for secret in ["127.0.0.1\",", "/api/scan", "status/7"] {
        assert!(!text.text().contains(secret), "{secret} is a label");
    }
}

#[tokio::test]
async fn performance_speaks_of_machine_routes_limits_and_savings() {
    let origin = Origin::start();
    let proxy = used(&origin, "").await;
    let page = json(&proxy, "/api/performance").await;
    assert!(page["cpu_cores"].as_u64().is_some_and(|cores| cores > 0), "{page}");
    let text = page.to_string();
    for word in ["status", "start", "scans", "p95", "2 per minute", "uptime"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[tokio::test]
async fn pools_and_limits_are_told_in_numbers() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("POST /api/scan/execute", Script::status(202).when(&gate));
    let proxy = Proxy::start(&origin, EVERYTHING).await;
    let running = proxy.begin(&request("POST /api/scan/execute"));
    wait_until("it runs", || async { origin.active("*") == 1 }).await;
    let pool = json(&proxy, "/api/pool/stats").await.to_string();
    assert!(pool.contains(&origin.address().to_string()), "{pool}");
    let limits = json(&proxy, "/api/limits").await.to_string();
    assert!(limits.contains("\"start\"") && limits.contains("\"scans\""), "{limits}");
    gate.open();
    assert_eq!(running.await.unwrap().status(), 202);
}

#[tokio::test]
async fn the_config_is_shown_without_its_secrets() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "admin.token = 'very-secret-token'").await;
    let asked = request("GET /api/config").field("Authorization", "Bearer very-secret-token");
    let page = proxy.admin_send(&asked).await;
    assert_eq!(page.status(), 200);
    assert!(!page.text().contains("very-secret-token"), "{}", page.text());
    assert!(page.text().contains("drain_timeout"), "{}", page.text());
}

#[tokio::test]
async fn with_a_token_everything_but_health_needs_it() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "admin.token = 'secret'").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(proxy.admin_get(path).await.status(), 200, "{path}");
    }
    for line in [
        "GET /metrics",
        "GET /api/performance",
        "GET /api/cache/stats",
        "GET /api/pool/stats",
        "GET /api/limits",
        "GET /api/config",
        "POST /api/cache/clear",
        "POST /api/reload",
    ] {
        let with = |value: &str| request(line).field("Authorization", value);
        assert_eq!(proxy.admin_send(&request(line)).await.status(), 401, "{line}");
        for wrong in ["Bearer wrong", "Bearer secre", "Bearer secret2", "Basic secret", "secret"] {
            assert_eq!(proxy.admin_send(&with(wrong)).await.status(), 401, "{line} with {wrong}");
        }
    }
    let right = request("GET /api/limits").field("Authorization", "Bearer secret");
    assert_eq!(proxy.admin_send(&right).await.status(), 200);
    let right = request("POST /api/cache/clear").field("Authorization", "Bearer secret").body("{}");
    assert_eq!(proxy.admin_send(&right).await.status(), 200);
}

#[tokio::test]
async fn a_browser_on_another_site_can_change_nothing() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let own = format!("http://{}", proxy.admin);
    for (name, value, status) in [
        ("Origin", "https://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Origin", own.as_str(), 200),
        ("Sec-Fetch-Site", "same-origin", 200),
    ] {
        let asked = request("POST /api/cache/clear").field(name, value).body("{}");
        let response = proxy.admin_send(&asked).await;
        assert_eq!(response.status(), status, "{name}: {value}");
        assert_eq!(response.field("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_host_that_is_not_its_own_is_refused() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "admin.hosts = ['ops.example']").await;
    let port = proxy.admin.port();
    for (host, is_served) in [
        (format!("127.0.0.1:{port}"), true),
        (format!("localhost:{port}"), true),
        ("ops.example".to_owned(), true),
        ("rebound.example".to_owned(), false),
        (format!("rebound.example:{port}"), false),
    ] {
        let response = proxy.admin_send(&request("GET /api/limits").field("Host", &host)).await;
        assert_eq!(response.status() == 200, is_served, "{host}: {}", response.status());
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.admin_get("/api/nothing").await.status(), 404);
    assert_eq!(proxy.admin_get("/api/reload").await.status(), 405);
    assert_eq!(proxy.admin_post("/api/limits", "").await.status(), 405);
}

#[tokio::test]
async fn the_image_can_check_its_own_health() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let admin = format!("http://{}", proxy.admin);
    assert_eq!(forebay(&["healthcheck", "--admin", &admin]).run().await.status, Some(0));
    assert_eq!(forebay(&["healthcheck", "--ready", "--admin", &admin]).run().await.status, Some(0));
    let dead = format!("http://{}", crate::harness::origin::dead_address());
    let failed = forebay(&["healthcheck", "--admin", &dead]).run().await;
    assert_eq!((failed.status, failed.stderr.trim().lines().count()), (Some(1), 1), "{failed:?}");
}
