use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};
use crate::config;

const CONFIG: &str = r#"
[listener]
trusted_proxies = ["10.0.0.0/8"]

[upstreams.scan]
servers = ["http://10.1.0.1:8000", "http://10.1.0.2:8000"]
max_connections = 15

[rate_limits.start]
key = ["header:X-Api-Key", "path:tenant"]
rates = ["2/minute", "10/hour"]
burst = 1

[rate_limits.misses]
rates = ["100/second"]
charge = "upstream"
mode = "observe"

[in_flight.scans]
max = 2
per = { key = "client_ip", max = 1 }
queue = { size = 20, timeout = "10s" }

[[routes]]
name = "start"
match = "POST /{tenant}/scan"
rate_limits = ["start"]
in_flight = "scans"
invalidates = ["{tenant}"]

[[routes]]
name = "status"
match = "GET scan.example/{tenant}/scan/{id}"
rate_limits = ["misses"]
timeout = "70s"
compress = true
cache = { mode = "force", ttl = "2s", when = [{ pointer = "/status", in = ["completed", "failed"], ttl = "1h" }], negative_ttl = "1s", stale_if_error = "1m", tags = ["{tenant}"], key = { query_ignore = ["_"], headers = ["X-Lang"] } }

[[routes]]
name = "lists"
match = "GET /{tenant}/lists/{*rest}"

[[routes]]
name = "health"
match = "GET /health"
cache = { mode = "off" }
collapse = "off"
"#;

fn explained(arguments: &[&str]) -> Report {
    let line = [&["forebay", "explain"], arguments].concat();
    let Command::Explain(args) = <Cli as clap::Parser>::try_parse_from(line).unwrap().command else {
        panic!("another command")
    };
    let loaded = config::parse("forebay.toml", CONFIG, &|_| None).unwrap();
    report(&loaded, head(&args).unwrap(), &args).unwrap()
}

fn text(arguments: &[&str]) -> String {
    text::render(&explained(arguments), false)
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&explained(arguments).json()).unwrap()
}

#[test]
fn a_poll_is_explained_from_route_to_upstream() {
    let url = "http://Scan.Example:80/acme//scan/%37?_=1&x=2";
    let poll = [
        "GET",
        url,
        "-H",
        "Cookie: session=hush",
        "--from",
        "10.9.9.9",
        "-H",
        "X-Forwarded-For: 203.0.113.7",
    ];
    insta::assert_snapshot!("poll", text(&poll));
    insta::assert_snapshot!("poll_json", explained(&poll).json());
}

#[test]
fn a_start_is_explained_with_its_limits() {
    let key = "X-Api-Key: hush";
    let start = ["POST", "/acme/scan", "-H", key, "-H", "Content-Length: 7", "--from", "2001:db8:1:2:3::4"];
    insta::assert_snapshot!("start", text(&start));
}

#[test]
fn without_a_route_the_nearest_patterns_say_what_they_miss() {
    insta::assert_snapshot!("nowhere", text(&["PUT", "/acme/lists/a"]));
}

#[test]
fn what_forebay_answers_itself_is_told_with_its_status() {
    for (method, url, header, status) in [
        ("GET", "/a%2fb", "A: b", 400),
        ("GET", "/health", "Transfer-Encoding: gzip", 501),
        ("TRACE", "/health", "A: b", 405),
        ("OPTIONS", "*", "A: b", 204),
        ("POST", "/acme/scan", "Content-Length: 999999999999", 413),
        ("GET", "/nowhere", "A: b", 404),
    ] {
        let report = json(&[method, url, "-H", header]);
        assert_eq!(report["answer"]["status"], status, "{method} {url} {header}");
        assert_eq!(report["route"], Value::Null, "{method} {url} {header}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let secrets = ["-H", "Authorization: Bearer hush", "-H", "X-Api-Key: hush", "-H", "Cookie: a=hush"];
    for request in [["POST", "/acme/scan"], ["GET", "http://scan.example/acme/scan/7"]] {
        let report = explained(&[&request[..], &secrets].concat());
        let told = report.json() + &text::render(&report, true);
        assert!(!told.contains("hush"), "{told}");
    }
    for header in ["Authorization hush", "Bad Name: hush", "X: hush\u{7f}"] {
        let line = ["forebay", "explain", "GET", "/", "-H", header];
        let Command::Explain(args) = <Cli as clap::Parser>::try_parse_from(line).unwrap().command else {
            panic!("another command")
        };
        assert!(!head(&args).unwrap_err().contains("hush"), "{header}");
    }
}

#[test]
fn digests_say_which_requests_are_the_same_in_every_run() {
    let digests = |cookie: &str, id: &str| {
        let url = format!("http://scan.example/acme/scan/{id}");
        let report = json(&["GET", &url, "-H", &format!("Cookie: {cookie}")]);
        let digest = |value: &Value| value.as_str().unwrap().to_owned();
        [&report["identity"]["digest"], &report["cache"]["key"]["digest"], &report["collapse"]["digest"]]
            .map(digest)
    };
    let first = digests("a=1", "7");
    assert_eq!(first, digests("a=1", "7"));
    let other_user = digests("a=2", "7");
    assert!(first.iter().zip(&other_user).all(|(one, other)| one != other));
    let other_scan = digests("a=1", "8");
    assert_eq!(first[0], other_scan[0]);
    assert!(first[1..].iter().zip(&other_scan[1..]).all(|(one, other)| one != other));
}

#[test]
fn why_a_request_goes_alone_is_told() {
    for (header, word) in [
        ("Range: bytes=0-1", "part"),
        ("Upgrade: websocket", "protocol"),
        ("Accept: text/event-stream", "event stream"),
        ("Content-Length: 1", "body"),
        ("If-Match: \"a\"", "condition"),
    ] {
        let report = json(&["GET", "http://scan.example/acme/scan/7", "-H", header]);
        assert_eq!(
            (&report["collapse"]["scope"], &report["cache"]["lookup"]),
            (&"off".into(), &false.into())
        );
        assert!(report["cache"]["because"].as_str().unwrap().contains(word), "{header}");
    }
    let health = json(&["GET", "/health"]);
    assert_eq!((&health["collapse"]["scope"], &health["cache"]["mode"]), (&"off".into(), &"off".into()));
}

#[test]
fn the_requests_own_cache_directives_are_told() {
    let cache = |header: &str| json(&["GET", "/acme/lists/x", "-H", header])["cache"].clone();
    let no_store = cache("Cache-Control: no-store");
    assert_eq!((&no_store["lookup"], &no_store["store"]), (&false.into(), &false.into()));
    for (header, word) in [
        ("Cache-Control: no-cache", "validated"),
        ("Cache-Control: only-if-cached", "504"),
        ("Authorization: a", "public"),
    ] {
        let because = cache(header)["because"].as_str().unwrap().to_owned();
        assert!(because.contains(word), "{header}: {because}");
    }
    let head = json(&["HEAD", "/acme/lists/x"])["cache"].clone();
    assert_eq!((&head["lookup"], &head["store"]), (&true.into(), &false.into()));
}

#[test]
fn what_is_no_request_is_one_line() {
    let line = |arguments: &[&str]| {
        let line = [&["forebay", "explain"], arguments].concat();
        match <Cli as clap::Parser>::try_parse_from(line).unwrap().command {
            Command::Explain(args) => head(&args).unwrap_err(),
            _ => panic!("another command"),
        }
    };
    for arguments in [
        &["G T", "/"][..],
        &["GET", "foo"],
        &["GET", "localhost:8080/a"],
        &["GET", "http://a b/"],
        &["GET", "http://"],
        &["GET", "ftp://x/"],
        &["GET", ""],
        &["GET", "/", "-H", "foo"],
        &["GET", "/", "-H", ": x"],
    ] {
        let message = line(arguments);
        assert!(!message.is_empty() && !message.contains('\n'), "{arguments:?}: {message}");
    }
}
