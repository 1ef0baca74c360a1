//! TLS towards servers: whom forebay believes, as whom it appears, and what it says when that fails.

use tokio::io::AsyncWriteExt as _;

use super::assert_proxy_error;
use crate::harness::modern::Modern;
use crate::harness::tls::Authority;
use crate::harness::{Origin, Proxy, Scratch, forebay, request, wait_until};

/// A configuration in front of `origin` that believes this authority.
pub(super) fn believing(authority: &Authority, origin: &Modern, more: &str) -> String {
    let (port, ca) = (origin.address.port(), authority.ca());
    let tls = format!("tls = {{ ca = '{}'{more} }}", ca.display());
    format!("upstreams.origin = {{ servers = ['https://localhost:{port}'], {tls} }}")
}

/// Issues a certificate, installed under its name.
fn install(authority: &Authority, name: &str) {
    authority.install(name, &authority.issue(&[name]));
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_its_name() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &["http/1.1"], false)).await;
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, "")).await;
    let answer = proxy.send(&request("POST /up").body("x".repeat(200_000))).await.json();
    assert_eq!((&answer["version"], &answer["body_length"]), (&"HTTP/1.1".into(), &200_000.into()));
    assert_eq!(proxy.get("/bytes/1000000").await.body.len(), 1_000_000);
    assert_eq!(origin.connections(), 1);

    let other = Modern::tls(authority.server("backend.example", &["http/1.1"], false)).await;
    let proxy = Proxy::before(other.address, &believing(&authority, &other, "")).await;
    assert_proxy_error(&proxy.get("/").await, 502, "tls_certificate_error");
    let named = believing(&authority, &other, ", server_name = 'backend.example'");
    assert_eq!(Proxy::before(other.address, &named).await.get("/").await.status(), 200);
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_told_otherwise() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = Modern::tls(stranger.server("localhost", &["http/1.1"], false)).await;
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, "")).await;
    assert_proxy_error(&proxy.get("/").await, 502, "tls_certificate_error");
    assert_eq!(origin.count("/"), 0);
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, ", insecure = true")).await;
    assert_eq!(proxy.get("/").await.status(), 200);
    assert!(proxy.log().iter().any(|line| line.contains("tls.insecure")), "{:?}", proxy.log());
    let checked = forebay(&["check", "--config", &proxy.config.display().to_string()]).run().await;
    assert_eq!(checked.status, Some(0));
    assert!(checked.stderr.contains("warning: upstreams.origin: tls.insecure"), "{}", checked.stderr);
}

#[tokio::test]
async fn a_server_that_wants_to_know_us_is_shown_a_certificate() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &["http/1.1"], true)).await;
    install(&authority, "forebay.example");
    let path = |end| authority.path(&format!("forebay.example.{end}")).display().to_string();
    let ours = format!(", cert = '{}', key = '{}'", path("crt"), path("key"));
    let config = believing(&authority, &origin, &ours);
    assert_eq!(Proxy::before(origin.address, &config).await.get("/").await.status(), 200);
    let proxy = Proxy::before(origin.address, &believing(&authority, &origin, "")).await;
    proxy.get("/").await.assert_problem(502);
    assert_eq!(origin.count("/"), 1);
}

#[tokio::test]
async fn a_handshake_that_fails_or_hangs_is_told_in_time() {
    let origin = Origin::start();
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let config = format!("upstreams.origin = {{ servers = ['{server}'], tls = {{ insecure = true }} }}");
    let proxy = Proxy::start(&origin, &config).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status(), 502);
    assert!(response.must("proxy-status").contains("tls_protocol_error"), "{response:?}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let config = format!(
        "upstreams.origin = {{ servers = ['{server}'], connect_timeout = '300ms', tls = {{ insecure = true }} }}"
    );
    let proxy = Proxy::start(&origin, &config).await;
    assert_proxy_error(&proxy.get("/").await, 504, "connection_timeout");
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_offers_it_and_health_checks_speak_it_too() {
    let authority = Authority::new();
    let origin = Modern::tls(authority.server("localhost", &["h2", "http/1.1"], false)).await;
    let health = "{ health = { path = '/health', interval = '100ms', timeout = '1s' },";
    let config = believing(&authority, &origin, "").replacen('{', health, 1);
    let proxy = Proxy::before(origin.address, &config).await;
    let answer = proxy.send(&request("PUT /up?a=b").body("x".repeat(200_000))).await.json();
    assert_eq!((&answer["version"], &answer["body_length"]), (&"HTTP/2.0".into(), &200_000.into()));
    assert_eq!(answer["uri"], "https://scan.example/up?a=b");
    wait_until("it was checked", || async {
        proxy.metric("forebay_upstream_health_checks_total", &["result=\"passed\""]).await >= 2.0
    })
    .await;
}

#[tokio::test]
async fn check_names_what_is_wrong_with_the_files() {
    let (authority, scratch) = (Authority::new(), Scratch::new());
    install(&authority, "one.example");
    install(&authority, "other.example");
    let file = |name: &str| authority.path(name).display().to_string();
    for (server, tls, told) in [
        ("https://a", "ca = '/nowhere/ca.pem'".to_owned(), "/nowhere/ca.pem: cannot be read"),
        ("https://a", format!("ca = '{}'", file("one.example.key")), "there is no certificate in it"),
        ("https://a", format!("cert = '{}'", file("one.example.crt")), "a certificate needs its key"),
        (
            "https://a",
            format!("cert = '{}', key = '{}'", file("one.example.crt"), file("other.example.key")),
            "the key does not belong to the certificate",
        ),
        ("https://a", "server_name = 'no name'".to_owned(), "`no name` is no name of a server"),
        ("http://a", "insecure = true".to_owned(), "no server of this upstream is https"),
    ] {
        let text = format!(
            "[upstreams.a]\nservers = ['{server}']\ntls = {{ {tls} }}\n[[routes]]\nname = 'all'\nmatch = '/{{*rest}}'\n"
        );
        let config = scratch.write("forebay.toml", &text).display().to_string();
        let ended = forebay(&["check", "--config", &config]).run().await;
        assert!(ended.status == Some(2) && ended.stderr.contains(told), "{told}: {}", ended.stderr);
        assert!(ended.stderr.contains("forebay.toml:3:"), "{}", ended.stderr);
    }
}
