//! What it writes down: a line a request, nothing secret, and every line of a log that is read by machines is JSON.

use serde_json::Value;

use crate::harness::{Origin, Proxy, request, wait_until};

const ACCESS: &str = "
    log.access = 'stdout'
    rate_limits.start = { key = 'client_ip', rates = ['1/hour'] }
    [[routes]]
    name = 'start'
    match = 'POST /start'
    rate_limits = ['start']
    [[routes]]
    name = 'rest'
    match = '/{*rest}'
    cache = { mode = 'force', ttl = '1h' }";

#[tokio::test]
async fn a_request_is_one_line_that_says_what_became_of_it() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, ACCESS).await;
    for line in ["GET /a?token=hush", "GET /a?token=hush", "POST /start", "POST /start"] {
        let asked = request(line).field("Authorization", "Bearer hush").field("X-Request-Id", "tab-1");
        proxy.send(&asked).await;
    }
    wait_until("all four are written", || async { proxy.output().len() == 4 }).await;
    let lines: Vec<Value> =
        proxy.output().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, (method, path, route, status)) in lines.iter().zip([
        ("GET", "/a", "rest", 200),
        ("GET", "/a", "rest", 200),
        ("POST", "/start", "start", 200),
        ("POST", "/start", "start", 429),
    ]) {
        assert_eq!((&line["method"], &line["path"]), (&method.into(), &path.into()), "{line}");
        assert_eq!((&line["route"], &line["status"]), (&route.into(), &status.into()), "{line}");
        assert_eq!((&line["client"], &line["request_id"]), (&"127.0.0.1".into(), &"tab-1".into()), "{line}");
        assert!(!line.to_string().contains("hush"), "{line}");
    }
    assert_eq!((&lines[1]["cache"], &lines[3]["limit"]), (&"hit".into(), &"start".into()));
    assert_eq!(origin.count("*"), 2);
}

#[tokio::test]
async fn every_line_of_the_json_log_is_json() {
    let origin = Origin::start();
    let mut proxy = Proxy::start(&origin, "log.level = 'debug'").await;
    proxy.get("/a").await;
    proxy.rewrite_raw("not toml [");
    proxy.signal("HUP");
    proxy.wait_for_metric("forebay_config_last_reload_successful", &[], 0.0).await;
    proxy.signal("TERM");
    proxy.ended().await;
    wait_until("the log has ended", || async { proxy.log_has_ended() }).await;
    for line in proxy.log() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}
