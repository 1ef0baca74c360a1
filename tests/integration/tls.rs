//! TLS on the public listener: what clients agree upon, what they see, and what happens when it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::{TcpStream, UnixStream};

use crate::harness::client::{HOST, send_raw};
use crate::harness::tls::{Authority, Issued};
use crate::harness::websocket::{handshake, text_frame};
use crate::harness::wire::Wire;
use crate::harness::{
    Connection, Gate, H2, Origin, Proxy, Scratch, Script, concurrently, forebay, request, wait_until, within,
};

/// An authority that has installed a pair for the usual host as `site`.
fn authority() -> (Authority, Issued) {
    let authority = Authority::new();
    let issued = authority.issue(&[HOST]);
    authority.install("site", &issued);
    (authority, issued)
}

fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.cert.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn the_protocol_is_the_one_agreed_upon_and_the_backend_learns_of_tls() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let mut plain = authority.client(&["http/1.1"]).open(proxy.address).await;
    assert_eq!(plain.ask(&request("GET /one")).await.status(), 200);
    assert_eq!(plain.ask(&request("GET /again")).await.status(), 200);
    assert_eq!(origin.only("/one").field("x-forwarded-proto"), Some("https"));
    let mut silent = authority.client(&[]).open(proxy.address).await;
    assert_eq!(silent.ask(&request("GET /no-alpn")).await.status(), 200);
    let stream = authority.client(&["http/1.1", "h2"]).connect(proxy.address, HOST).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let response = H2::over(stream, "https").await.get("/two", &[]).await;
    assert_eq!((response.status(), &*response.head.start), (200, "HTTP/2 200"));
    let seen = origin.only("/two");
    assert_eq!((seen.field("x-forwarded-proto"), seen.field("host")), (Some("https"), Some(HOST)));
    assert!(authority.client(&["spdy/3"]).try_open(proxy.address).await.is_err());
}

#[tokio::test]
async fn http_2_that_was_not_agreed_upon_is_not_spoken() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let mut sly = authority.client(&["http/1.1"]).open(proxy.address).await;
    sly.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await.unwrap();
    assert!(!matches!(within("its end", sly.wire.some(9)).await, Ok(Some(bytes)) if bytes[3] == 4));
}

#[tokio::test]
async fn a_client_sees_the_certificate_for_the_name_that_it_asks_for() {
    let origin = Origin::start();
    let (authority, first) = authority();
    let second = authority.issue(&["other.example", "*.other.example"]);
    authority.install("other", &second);
    let path = |name: &str| authority.path(name).display().to_string();
    let config = format!(
        "{}more = [{{ cert = '{}', key = '{}' }}]",
        authority.config("site"),
        path("other.crt"),
        path("other.key")
    );
    let proxy = Proxy::start(&origin, &config).await;
    let client = authority.client(&[]);
    for (name, issued) in [(HOST, &first), ("other.example", &second), ("a.other.example", &second)] {
        let stream = client.connect(proxy.address, name).await.unwrap();
        assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec(), der(issued), "{name}");
    }
    // Without a certificate for the name the first one is shown, which the client refuses.
    assert!(client.connect(proxy.address, "third.example").await.is_err());
    proxy.wait_for_metric("forebay_tls_handshake_failures_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_handshake_that_a_drain_ends_is_not_counted_as_failed() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("slow").when(&gate));
    let (authority, _) = authority();
    let mut proxy = Proxy::start(&origin, &authority.config("site")).await;
    let mut busy = authority.client(&[]).open(proxy.address).await;
    busy.send(request("GET /slow").bytes()).await.unwrap();
    wait_until("it runs", || async { origin.active("/slow") == 1 }).await;
    let mut silent = Wire::new(TcpStream::connect(proxy.address).await.unwrap());
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 2.0).await;
    proxy.signal("TERM");
    assert!(matches!(within("its end", silent.some(1)).await, Ok(None)));
    assert_eq!(proxy.metric("forebay_tls_handshake_failures_total", &[]).await, 0.0);
    gate.open();
    assert_eq!(busy.wire.response("GET").await.unwrap().text(), "slow");
    drop(busy);
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn with_a_client_ca_nobody_comes_in_without_its_certificate() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let config = format!("{}client_ca = '{}'", authority.config("site"), authority.ca().display());
    let proxy = Proxy::start(&origin, &config).await;
    let known = authority.client_as(&authority.issue(&["a-client"]));
    assert_eq!(known.send(proxy.address, &request("GET /in")).await.unwrap().status(), 200);
    let stranger = Authority::new().issue(&["a-client"]);
    for client in [authority.client(&["http/1.1"]), authority.client_as(&stranger)] {
        assert!(client.send(proxy.address, &request("GET /out")).await.is_err());
    }
    assert_eq!(origin.count("/out"), 0);
}

#[tokio::test]
async fn a_session_from_before_a_reload_lets_nobody_in_whom_the_new_ca_does_not_know() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let config = |ca: &Authority| format!("{}client_ca = '{}'", authority.config("site"), ca.ca().display());
    let proxy = Proxy::start(&origin, &config(&authority)).await;
    let known = authority.client_as(&authority.issue(&["a-client"]));
    for _ in 0..2 {
        assert_eq!(known.send(proxy.address, &request("GET /")).await.unwrap().status(), 200);
    }
    let successor = Authority::new();
    proxy.rewrite(&config(&successor));
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    assert!(known.send(proxy.address, &request("GET /out")).await.is_err());
    assert_eq!(origin.count("/out"), 0);
}

#[tokio::test]
async fn a_reload_shows_new_certificates_to_new_connections_and_keeps_the_old_ones() {
    let origin = Origin::start();
    let (authority, old) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let client = authority.client(&["http/1.1"]);
    let mut kept = client.open(proxy.address).await;
    assert_eq!((kept.ask(&request("GET /1")).await.status(), &kept.shown), (200, &der(&old)));
    let new = authority.issue(&[HOST]);
    authority.install("site", &new);
    assert_eq!(client.open(proxy.address).await.shown, der(&old), "nobody was told yet");
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    assert_eq!(client.open(proxy.address).await.shown, der(&new));
    assert_eq!(kept.ask(&request("GET /2")).await.status(), 200);
}

#[tokio::test]
async fn a_key_of_another_certificate_changes_nothing_and_is_told_with_its_remedy() {
    let origin = Origin::start();
    let (authority, old) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let client = authority.client(&["http/1.1"]);
    authority.install("site", &Issued { key: old.key.clone(), ..authority.issue(&[HOST]) });
    let answer = proxy.admin_post("/api/reload", "").await;
    assert_eq!(answer.status(), 422);
    for word in ["site.key", "does not belong to the certificate", "forebay.toml:"] {
        assert!(answer.text().contains(word), "{}", answer.text());
    }
    assert_eq!(client.open(proxy.address).await.shown, der(&old));
    std::fs::remove_file(authority.path("site.key")).unwrap();
    assert!(proxy.admin_post("/api/reload", "").await.text().contains("cannot be read"));
    assert_eq!(client.send(proxy.address, &request("GET /")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn watched_certificates_need_no_word() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let config = format!("watch = true\n{}", authority.config("site"));
    let proxy = Proxy::start(&origin, &config).await;
    let (client, new) = (authority.client(&["http/1.1"]), authority.issue(&[HOST]));
    authority.install("site", &new);
    wait_until("the new certificate is shown", || async {
        client.open(proxy.address).await.shown == der(&new)
    })
    .await;
}

#[tokio::test]
async fn a_plain_request_is_told_that_this_is_https() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let response = send_raw(proxy.address, request("GET /plain").bytes()).await;
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("https://"), "{}", response.text());
    let mut noise = Connection::open(proxy.address).await;
    noise.send([0xff; 9]).await;
    noise.assert_closes().await;
    assert_eq!(origin.count("*"), 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_within_the_header_timeout() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let config = format!(
        "listener.max_connections = 2\nlistener.header_timeout = '500ms'\n{}",
        authority.config("site")
    );
    let proxy = Proxy::start(&origin, &config).await;
    let mut silent = Connection::open(proxy.address).await;
    let mut slow = Connection::open(proxy.address).await;
    slow.send(b"\x16\x03\x01\x02").await;
    // Both places are taken: this one waits until they are free again.
    let response = authority.client(&["http/1.1"]).send(proxy.address, &request("GET /")).await;
    assert_eq!(response.unwrap().status(), 200);
    silent.assert_closes().await;
    slow.assert_closes().await;
}

#[tokio::test]
async fn what_is_stored_for_https_answers_no_plain_request() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let files = Scratch::new();
    let socket = files.path().join("forebay.sock");
    let config = format!(
        "listener.address = ['127.0.0.1:0', 'unix:{}']\n{}
        [[routes]]
        name = 'all'
        match = '/{{*rest}}'
        cache = {{ mode = 'force', ttl = '1h' }}",
        socket.display(),
        authority.config("site")
    );
    let proxy = Proxy::start(&origin, &config).await;
    let client = authority.client(&["http/1.1"]);
    for expected in [1, 1] {
        assert_eq!(client.send(proxy.address, &request("GET /a")).await.unwrap().status(), 200);
        assert_eq!(origin.count("/a"), expected);
    }
    // Unix sockets stay in the clear.
    let mut plain = UnixStream::connect(&socket).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, &request("GET /a").bytes()).await.unwrap();
    let response = within("an answer", Wire::new(plain).response("GET")).await.unwrap();
    assert_eq!((response.status(), origin.count("/a")), (200, 2));
    assert_eq!(origin.seen("/a")[1].field("x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_closes_with_a_close_notify() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("slow").when(&gate));
    let (authority, _) = authority();
    let config = format!("listener.drain_timeout = '60s'\n{}", authority.config("site"));
    let mut proxy = Proxy::start(&origin, &config).await;
    let client = authority.client(&["http/1.1"]);
    let mut idle = client.open(proxy.address).await;
    assert_eq!(idle.ask(&request("GET /")).await.status(), 200);
    let mut busy = client.open(proxy.address).await;
    busy.send(request("GET /slow").bytes()).await.unwrap();
    wait_until("it runs", || async { origin.active("/slow") == 1 }).await;
    proxy.signal("TERM");
    idle.assert_closes_politely().await;
    gate.open();
    let response = within("the answer", busy.wire.response("GET")).await.unwrap();
    assert_eq!((response.text(), response.field("connection")), ("slow", Some("close")));
    busy.assert_closes_politely().await;
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_tunnel_over_tls_is_closed_politely_at_the_end_of_a_drain() {
    let origin = Origin::start();
    origin.on("/ws", Script::upgrade());
    let (authority, _) = authority();
    let config = format!("listener.drain_timeout = '300ms'\n{}", authority.config("site"));
    let mut proxy = Proxy::start(&origin, &config).await;
    let mut socket = authority.client(&["http/1.1"]).open(proxy.address).await;
    socket.send(handshake("/ws").bytes()).await.unwrap();
    assert_eq!(within("a head", socket.wire.head()).await.unwrap().unwrap().status(), 101);
    let frame = text_frame("hello");
    socket.send(&frame).await.unwrap();
    assert_eq!(within("an echo", socket.wire.exactly(frame.len())).await.unwrap(), frame);
    proxy.signal("TERM");
    socket.assert_closes_politely().await;
    assert_eq!(proxy.ended().await.code(), Some(1));
    wait_until("the origin's side is closed", || async { origin.active("*") == 0 }).await;
}

#[tokio::test]
async fn rotation_and_reloads_under_load_fail_no_request() {
    let origin = Origin::start();
    let (authority, _) = authority();
    let proxy = Proxy::start(&origin, &authority.config("site")).await;
    let (address, client) = (proxy.address, authority.client(&["http/1.1"]));
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        concurrently(8, move |number| {
            let (stop, asked, client) = (Arc::clone(&stop), Arc::clone(&asked), client.clone());
            async move {
                let mut kept = client.open(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let request = request(&format!("GET /{number}"));
                    assert_eq!(kept.ask(&request).await.status(), 200);
                    assert_eq!(client.send(address, &request).await.unwrap().status(), 200);
                    asked.fetch_add(2, Ordering::Relaxed);
                }
            }
        })
    });
    for _ in 0..8 {
        let before = asked.load(Ordering::Relaxed);
        authority.install("site", &authority.issue(&[HOST]));
        assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
        wait_until("requests go on", || async { asked.load(Ordering::Relaxed) > before + 16 }).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(load.await.unwrap().len(), 8);
    assert_eq!(proxy.metric("forebay_tls_handshake_failures_total", &[]).await, 0.0);
}

#[tokio::test]
async fn check_tells_of_every_file_that_is_not_as_it_should_be() {
    let (authority, issued) = authority();
    let files = Scratch::new();
    let upstream = "[upstreams.a]\nservers = ['http://127.0.0.1:1']\n[[routes]]\nname = 'a'\nmatch = '/'\n";
    let check = |config: String| {
        files.write("forebay.toml", &format!("{config}\n{upstream}"));
        forebay(&["check"]).within(files.path()).run()
    };
    let good = check(authority.config("site")).await;
    assert_eq!((good.status, &*good.stderr), (Some(0), ""), "{}", good.stdout);
    authority.install("site", &Issued { cert: issued.cert.clone(), ..authority.issue(&[HOST]) });
    let bad = check(format!("{}client_ca = '/nowhere/ca.crt'", authority.config("site"))).await;
    assert_eq!(bad.status, Some(2));
    for word in ["site.key: the key does not belong", "/nowhere/ca.crt: cannot be read", "help:", "^^^"] {
        assert!(bad.stderr.contains(word), "{word} is not in {}", bad.stderr);
    }
    let half = check("[listener.tls]\ncert = '/nowhere/a.crt'".to_owned()).await;
    assert!(half.stderr.contains("this table needs `key`"), "{}", half.stderr);
}
