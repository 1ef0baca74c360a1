//! The endpoints as a client sees them, through the whole rim.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::listener::{connection, spawn};
use super::rim::service;
use super::{Admin, Jobs, Purge, Reloaded, Snapshot, Sources};
use crate::digest::Digester;
use crate::jobs::JobStats;
use crate::policy::AdminPolicy;

fn admin(token: &str) -> Arc<Admin> {
    admin_of(token, false)
}

fn admin_of(token: &str, is_draining: bool) -> Arc<Admin> {
    let sources = Sources {
        snapshot: Box::new(move || Snapshot { is_draining, ..Snapshot::example() }),
        config: Box::new(|| "watch = false\n".to_owned()),
        purge: Box::new(|what| match what {
            Purge::All => Ok(3),
            Purge::Url(url) if !url.starts_with('/') => Err("that is no path".into()),
            Purge::Route(route) if route == "panic" => panic!("as asked"),
            _ => Ok(1),
        }),
        warm: Box::new(|_| Box::pin(async { Vec::new() })),
        jobs: Jobs {
            list: Box::new(|| vec![("scan".into(), job())]),
            release: Box::new(|id, kind| {
                usize::from(id == "a/b c" && kind.is_none_or(|kind| kind == "scan"))
            }),
        },
        reload: Box::new(|| Box::pin(async { Ok(Reloaded { has_changed: true, needs_restart: vec![] }) })),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 9090));
    let rules = AdminPolicy { token: Some(token.to_owned()), hosts: vec![] };
    Admin::new(sources, &rules, address, Digester::random())
}

fn job() -> JobStats {
    JobStats {
        id: "a/b c".to_owned(),
        age: Duration::from_secs(90),
        state: "running".into(),
        last_poll: Some(Duration::from_millis(1500)),
        pollers: 3,
        lease_left: Duration::from_secs(3510),
        is_adopted: false,
    }
}

async fn ask(
    admin: &Arc<Admin>,
    ask: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> (http::response::Parts, String) {
    let (method, path) = ask.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:9090");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let (head, body) = service(Arc::clone(admin)).oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8(body.to_vec()).unwrap())
}

async fn status(admin: &Arc<Admin>, what: &str, fields: &[(&str, &str)]) -> u16 {
    ask(admin, what, fields, "{}").await.0.status.as_u16()
}

#[tokio::test]
async fn everything_but_health_and_the_page_needs_the_token() {
    let admin = admin("s3cret");
    for open in ["GET /", "GET /healthz", "GET /readyz", "HEAD /healthz"] {
        assert_eq!(status(&admin, open, &[]).await, 200, "{open}");
    }
    let token = [("authorization", "Bearer s3cret")];
    for closed in [
        "GET /metrics",
        "GET /api/performance",
        "GET /api/cache/stats",
        "POST /api/cache/clear",
        "GET /api/pool/stats",
        "GET /api/limits",
        "GET /api/jobs",
        "GET /api/config",
        "POST /api/reload",
    ] {
        assert_eq!(status(&admin, closed, &[]).await, 401, "{closed}");
        assert_eq!(status(&admin, closed, &[("authorization", "Bearer other")]).await, 401, "{closed}");
        assert_eq!(status(&admin, closed, &token).await, 200, "{closed}");
    }
    assert_eq!(status(&admin, "GET /api/unknown", &[]).await, 401);
    let (refused, _) = ask(&admin, "GET /metrics", &[], "").await;
    assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
}

#[tokio::test]
async fn a_job_is_let_go_by_its_id_and_kind() {
    let admin = admin("");
    for (what, expected) in [
        ("DELETE /api/jobs/a%2Fb%20c", 200),
        ("DELETE /api/jobs/a/b%20c", 200),
        ("DELETE /api/jobs/a%2Fb%20c?job=scan", 200),
        ("DELETE /api/jobs/a%2Fb%20c?job=other", 404),
        ("DELETE /api/jobs/b", 404),
        ("DELETE /api/jobs/%FF", 400),
        ("DELETE /api/jobs/", 404),
        ("DELETE /api/jobs", 405),
        ("GET /api/jobs/b", 405),
    ] {
        assert_eq!(status(&admin, what, &[]).await, expected, "{what}");
    }
    let (_, list) = ask(&admin, "GET /api/jobs", &[], "").await;
    insta::assert_snapshot!(list.trim(), @r#"{"jobs":[{"job":"scan","id":"a/b c","state":"running","age_seconds":90.0,"lease_left_seconds":3510.0,"last_poll_seconds":1.5,"pollers":3,"adopted":false}]}"#);
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let admin = admin("");
    for (fields, expected) in [
        (vec![], 200),
        (vec![("origin", "http://127.0.0.1:9090")], 200),
        (vec![("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9090")], 200),
        (vec![("sec-fetch-site", "none")], 200),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:9090")], 403),
    ] {
        for changing in ["POST /api/reload", "POST /api/cache/clear"] {
            assert_eq!(status(&admin, changing, &fields).await, expected, "{changing} {fields:?}");
        }
    }
    assert_eq!(status(&admin, "GET /api/limits", &[("origin", "http://evil.example")]).await, 200);
    let (head, _) = ask(&admin, "GET /api/limits", &[("origin", "http://evil.example")], "").await;
    assert!(!head.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn every_answer_is_typed_and_kept_by_nobody() {
    let admin = admin("");
    for (what, content_type) in [
        ("GET /", "application/json"),
        ("GET /metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("GET /api/performance", "application/json"),
        ("GET /api/config", "application/toml"),
        ("GET /nowhere", "application/problem+json"),
        ("DELETE /api/limits", "application/problem+json"),
    ] {
        let (head, _) = ask(&admin, what, &[], "").await;
        assert_eq!(head.headers["content-type"], content_type, "{what}");
        assert_eq!(head.headers["cache-control"], "no-store", "{what}");
        assert_eq!(head.headers["x-content-type-options"], "nosniff", "{what}");
        assert_eq!(head.headers["cross-origin-resource-policy"], "same-origin", "{what}");
    }
}

#[tokio::test]
async fn a_wrong_path_is_told_the_right_ones_and_a_wrong_method_the_right_one() {
    let admin = admin("");
    let (head, body) = ask(&admin, "GET /api/cache", &[], "").await;
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((head.status.as_u16(), &problem["status"]), (404, &Value::from(404)));
    assert!(problem["endpoints"].as_array().unwrap().contains(&"POST /api/cache/clear".into()), "{body}");
    for (what, allow) in
        [("GET /api/reload", "POST"), ("POST /metrics", "GET, HEAD"), ("OPTIONS /", "GET, HEAD")]
    {
        let (head, _) = ask(&admin, what, &[], "").await;
        assert_eq!((head.status.as_u16(), head.headers["allow"].to_str().unwrap()), (405, allow), "{what}");
    }
}

#[tokio::test]
async fn clearing_says_how_many_or_what_is_wrong() {
    let admin = admin("");
    for (body, expected, says) in [
        ("{}", 200, "{\"cleared\":3}\n"),
        (r#"{"tag":"scans"}"#, 200, "{\"cleared\":1}\n"),
        (r#"{"url":"x"}"#, 400, "that is no path"),
        (r#"{"everything":true}"#, 400, "everything"),
        ("", 400, "JSON object"),
    ] {
        let (head, answer) = ask(&admin, "POST /api/cache/clear", &[], body).await;
        assert_eq!(head.status.as_u16(), expected, "{body}: {answer}");
        assert!(answer.contains(says), "{body}: {answer}");
    }
    let large = "x".repeat(100_000);
    let (head, _) = ask(&admin, "POST /api/cache/clear", &[], &large).await;
    assert_eq!(head.status.as_u16(), 413);
}

#[tokio::test]
async fn a_panic_costs_one_answer() {
    let admin = admin("");
    let (head, body) = ask(&admin, "POST /api/cache/clear", &[], r#"{"route":"panic"}"#).await;
    assert_eq!((head.status.as_u16(), head.headers["cache-control"].to_str().unwrap()), (500, "no-store"));
    assert!(!body.contains("as asked"), "{body}");
    assert_eq!(status(&admin, "GET /healthz", &[]).await, 200);
}

#[tokio::test]
async fn readiness_ends_when_draining_begins() {
    assert_eq!(status(&admin(""), "GET /readyz", &[]).await, 200);
    let admin = admin_of("", true);
    let (head, body) = ask(&admin, "GET /readyz", &[], "").await;
    assert_eq!(head.status.as_u16(), 503);
    assert!(body.contains("\"reason\":\"draining\""), "{body}");
    assert_eq!(status(&admin, "GET /healthz", &[]).await, 200);
}

#[tokio::test]
async fn json_fields_are_as_documented() {
    let admin = admin("");
    let mut pages = String::new();
    for page in ["/api/cache/stats", "/api/pool/stats", "/api/limits", "/readyz"] {
        let (_, body) = ask(&admin, &format!("GET {page}"), &[], "").await;
        let page_value: Value = serde_json::from_str(&body).unwrap();
        pages.push_str(&format!("{page}\n{}\n", serde_json::to_string_pretty(&page_value).unwrap()));
    }
    insta::assert_snapshot!(pages);
}

#[tokio::test]
async fn a_connection_is_served_until_the_listener_stops() {
    let (admin, stop) = (admin(""), CancellationToken::new());
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let served = async {
        connection(server, &admin, &stop).await;
    };
    let asks = async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        stop.cancel();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
    };
    tokio::join!(served, asks);
}

#[test]
fn the_listener_has_a_thread_of_its_own_and_ends_when_told() {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let thread = spawn(listener, admin(""), stop.clone()).unwrap();
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"status\":\"ready\""), "{answer}");
    stop.cancel();
    thread.join().unwrap();
}

#[tokio::test]
async fn a_reload_changes_the_token_at_once() {
    let admin = admin("old");
    admin.secure(&AdminPolicy { token: Some("new".into()), hosts: vec![] });
    assert_eq!(status(&admin, "GET /api/limits", &[("authorization", "Bearer old")]).await, 401);
    assert_eq!(status(&admin, "GET /api/limits", &[("authorization", "Bearer new")]).await, 200);
}
