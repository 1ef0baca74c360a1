//! What forebay passes on, adds and takes away when it does nothing else.

use crate::harness::client::send_raw;
use crate::harness::{Connection, Origin, Proxy, Script, request};

#[tokio::test]
async fn fields_of_the_hop_stay_on_the_hop_both_ways() {
    let origin = Origin::start();
    let answer = Script::ok("x")
        .field("Connection", "X-Internal")
        .field("X-Internal", "secret")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("X-Kept", "yes");
    origin.on("/hop", answer);
    let proxy = Proxy::start(&origin, "").await;
    let response = proxy
        .send(
            &request("GET /hop")
                .field("Connection", "X-Hop, keep-alive")
                .field("X-Hop", "1")
                .field("Keep-Alive", "timeout=9")
                .field("Proxy-Connection", "keep-alive")
                .field("TE", "gzip")
                .field("X-End", "2"),
        )
        .await;
    let seen = origin.only("/hop");
    for name in ["x-hop", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.field(name), None, "{name} reached the origin");
    }
    assert_eq!(seen.field("x-end"), Some("2"));
    for name in ["x-internal", "proxy-connection"] {
        assert_eq!(response.field(name), None, "{name} reached the client");
    }
    assert_ne!(response.field("keep-alive"), Some("timeout=5"));
    assert_eq!(response.field("x-kept"), Some("yes"));
}

#[tokio::test]
async fn connection_cannot_name_away_who_is_asking() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let asked = request("GET /")
        .field("Connection", "Authorization, Cookie, X-Forwarded-For, Host, keep-alive")
        .field("Authorization", "Bearer me")
        .field("Cookie", "session=1");
    assert_eq!(proxy.send(&asked).await.status(), 200);
    let seen = origin.only("/");
    assert_eq!(seen.field("authorization"), Some("Bearer me"));
    assert_eq!(seen.field("cookie"), Some("session=1"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("host"), Some("scan.example"));
}

#[tokio::test]
async fn forwarding_fields_of_an_untrusted_peer_are_replaced() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let spoofed = request("GET /")
        .field("X-Forwarded-For", "6.6.6.6")
        .field("X-Forwarded-Proto", "https")
        .field("X-Forwarded-Host", "evil.example")
        .field("X-Forwarded-Prefix", "/admin")
        .field("X-Real-IP", "6.6.6.6")
        .field("Forwarded", "for=6.6.6.6");
    const CLAIMS: [&str; 34] = [
        "X-Forwarded",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X_Forwarded_For",
        "Proxy",
        "Content_Length",
        "Transfer_Encoding",
        "Forwarded-For",
        "X-Forward-For",
        "X-Forward-Host",
        "X-Scheme",
        "X-Backend-Host",
        "X-Originating-IP",
        "X-Remote-IP",
        "X-Remote-Addr",
        "Remote-Addr",
        "X-ProxyUser-Ip",
        "X-True-IP",
        "WL-Proxy-Client-IP",
        "Proxy-Client-IP",
        "Fly-Client-IP",
        "X-Azure-ClientIP",
        "X-Azure-SocketIP",
        "X-Appengine-User-IP",
        "X-Envoy-External-Address",
        "X-Envoy-Original-Path",
        "CF-Connecting-IPv6",
        "X-Accel-Redirect",
        "X-Middleware-Subrequest",
    ];
    let spoofed = CLAIMS.iter().fold(spoofed, |request, claim| request.field(claim, "6.6.6.6"));
    proxy.send(&spoofed).await;
    let seen = origin.only("/");
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("scan.example"));
    assert_eq!(seen.field("forwarded"), None);
    assert_eq!(seen.field("x-forwarded-prefix"), None);
    assert_ne!(seen.field("x-real-ip"), Some("6.6.6.6"));
    for claim in CLAIMS {
        assert_eq!(seen.field(claim), None, "{claim} reached the origin");
    }
    assert!(seen.head.all("via").join(", ").ends_with("1.1 forebay"), "{:?}", seen.head);
}

#[tokio::test]
async fn forwarding_fields_of_a_trusted_peer_are_continued() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.trusted_proxies = ['127.0.0.1/32']").await;
    let asked = request("GET /").field("X-Forwarded-For", "203.0.113.7").field("Via", "1.1 edge");
    proxy.send(&asked).await;
    proxy.send(&request("GET /forwarded").field("Forwarded", "for=203.0.113.7")).await;
    let seen = origin.only("/");
    assert_eq!(seen.head.all("x-forwarded-for").join(", "), "203.0.113.7, 127.0.0.1");
    assert_eq!(seen.head.all("via").join(", "), "1.1 edge, 1.1 forebay");
    let forwarded = origin.only("/forwarded").head.all("forwarded").join(", ");
    assert!(forwarded.starts_with("for=203.0.113.7,") && forwarded.contains("127.0.0.1"), "{forwarded}");
}

#[tokio::test]
async fn a_request_id_is_kept_or_made_and_told_to_both_sides() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let kept = proxy.send(&request("GET /kept").field("X-Request-Id", "tab-17/poll-3")).await;
    assert_eq!(kept.field("x-request-id"), Some("tab-17/poll-3"));
    assert_eq!(origin.only("/kept").field("x-request-id"), Some("tab-17/poll-3"));

    let too_long = "x".repeat(129);
    for (path, id) in [("/none", None), ("/spaced", Some("a b")), ("/long", Some(too_long.as_str()))] {
        let asked = request(&format!("GET {path}"));
        let asked = id.map_or(asked.clone(), |id| asked.field("X-Request-Id", id));
        let response = proxy.send(&asked).await;
        let made = response.must("x-request-id");
        assert_ne!(Some(made), id, "{path}");
        assert_eq!(origin.only(path).field("x-request-id"), Some(made), "{path}");
    }
}

#[tokio::test]
async fn host_is_preserved_or_the_upstreams_as_configured() {
    let origin = Origin::start();
    let config = "
        [upstreams.kept]
        [upstreams.own]
        host = 'upstream'
        [[routes]]
        name = 'kept'
        match = '/kept'
        upstream = 'kept'
        [[routes]]
        name = 'own'
        match = '/own'
        upstream = 'own'";
    let proxy = Proxy::start(&origin, config).await;
    proxy.get("/kept").await;
    proxy.get("/own").await;
    assert_eq!(origin.only("/kept").field("host"), Some("scan.example"));
    assert_eq!(origin.only("/own").field("host"), Some(origin.address().to_string().as_str()));
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let origin = Origin::start();
    origin.on("/doc", Script::ok("twelve bytes"));
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    let head = connection.ask(&request("HEAD /doc")).await;
    assert_eq!((head.status(), head.field("content-length"), head.body.len()), (200, Some("12"), 0));
    assert_eq!(connection.ask(&request("GET /doc")).await.text(), "twelve bytes");
    assert_eq!(origin.count("HEAD /doc"), 1);
}

#[tokio::test]
async fn trailers_reach_a_client_that_takes_them() {
    let origin = Origin::start();
    let answer = Script::chunked().field("Trailer", "X-Sum").body("part one, ").body("part two");
    origin.on("/sum", answer.trailer("X-Sum", "42"));
    let proxy = Proxy::start(&origin, "").await;
    let asked = request("GET /sum").field("TE", "trailers").field("Connection", "TE");
    let response = proxy.send(&asked).await;
    assert_eq!(response.text(), "part one, part two");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let plain = proxy.get("/sum").await;
    assert_eq!(plain.text(), "part one, part two");
    assert_eq!(plain.trailers, []);
}

#[tokio::test]
async fn identity_in_trailers_reaches_no_origin() {
    const DROPPED: [&str; 14] = [
        "Authorization",
        "Cookie",
        "Cookie2",
        "X-Api-Key",
        "X-Remote-User",
        "Remote-User",
        "X-Auth-Request-User",
        "X-Client-Cert",
        "X-SSL-Client-Verify",
        "X-User",
        "Origin",
        "Sec-Fetch-Site",
        "Early-Data",
        "X-Tenant",
    ];
    let origin = Origin::start();
    // What the configuration tells users apart by is no secret.
    let proxy =
        Proxy::start(&origin, "routes = [{ name = 'all', match = '/{*rest}', identity = ['X-Tenant'] }]")
            .await;
    let named = DROPPED.join(", ");
    let lines: String = DROPPED.iter().map(|name| format!("{name}: evil\r\n")).collect();
    let upload = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: {named}, Content-Digest\r\n\r\n\
         2\r\nhi\r\n0\r\n{lines}Content-Digest: md5=:x:\r\n\r\n"
    );
    assert_eq!(send_raw(proxy.address, upload).await.status(), 200);
    let seen = origin.only("/up");
    assert_eq!(seen.body_start, b"hi");
    assert_eq!(seen.field("authorization"), None);
    let names: Vec<_> = seen.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(names, ["content-digest"], "{seen:?}");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it_before_it_sends() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    connection
        .send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(connection.head("POST").await.status(), 100);
    connection.send("hello").await;
    assert_eq!(connection.response("POST").await.json()["body"], "hello");
    assert_eq!(origin.only("/up").body_length, 5);
}

#[tokio::test]
async fn bodies_pass_both_ways_in_either_framing() {
    let origin = Origin::start();
    origin.on("/length", Script::ok("a known length"));
    origin.on("/chunked", Script::chunked().body("in ").body("pieces"));
    origin.on("/until-close", Script::ok("until the close").until_close());
    let proxy = Proxy::start(&origin, "").await;
    let large = "0123456789".repeat(20_000);
    let whole = proxy.send(&request("POST /a").body(large.clone())).await;
    let pieces = proxy.send(&request("POST /b").chunked(large.clone())).await;
    for (response, path) in [(whole, "/a"), (pieces, "/b")] {
        assert_eq!(response.json()["body_length"], large.len());
        assert_eq!(origin.only(path).body_start, large.as_bytes());
    }
    assert_eq!(proxy.get("/length").await.field("content-length"), Some("14"));
    assert_eq!(proxy.get("/length").await.text(), "a known length");
    assert_eq!(proxy.get("/chunked").await.text(), "in pieces");
    assert_eq!(proxy.get("/until-close").await.text(), "until the close");
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whole_whatever_the_method() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for method in ["GET", "OPTIONS", "DELETE", "QUERY"] {
        let response = proxy.send(&request(&format!("{method} /{method}")).chunked("hello")).await;
        assert_eq!(response.status(), 200, "{method}");
        let seen = origin.only(&format!("/{method}"));
        assert_eq!(seen.body_start, b"hello", "{method}");
        assert_eq!(seen.head.all("transfer-encoding"), ["chunked"], "{method}");
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::start();
    origin.on("/chunked", Script::chunked().body("in ").body("pieces"));
    let proxy = Proxy::start(&origin, "").await;
    let response = send_raw(proxy.address, "GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.text(), "in pieces");
    assert!(origin.only("/chunked").head.start.ends_with("HTTP/1.1"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::start();
    origin.on("/slow", Script::ok("slow").after(crate::harness::seconds(0.2)));
    origin.on("/fast", Script::ok("fast"));
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    connection.send([request("GET /slow").bytes(), request("GET /fast").bytes()].concat()).await;
    assert_eq!(connection.response("GET").await.text(), "slow");
    assert_eq!(connection.response("GET").await.text(), "fast");
}

#[tokio::test]
async fn the_authority_of_an_absolute_target_replaces_host() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let asked = request("GET http://other.example/path?q=1").field("Host", "scan.example");
    assert_eq!(proxy.send(&asked).await.status(), 200);
    let seen = origin.only("/path");
    assert_eq!(seen.target, "/path?q=1");
    assert_eq!(seen.field("host"), Some("other.example"));
}

#[tokio::test]
async fn options_asterisk_is_answered_by_forebay_itself() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let response = proxy.send(&request("OPTIONS *")).await;
    assert_eq!((response.status(), response.body.as_slice()), (204, &b""[..]), "{response:?}");
    assert!(response.must("allow").contains("GET") && response.field("content-length").is_none());
    proxy.send(&request("GET *")).await.assert_problem(400);
    assert_eq!(origin.count("*"), 0);
}

#[tokio::test]
async fn path_and_query_arrive_as_they_were_sent() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    for target in ["/a%20b/c?x=%2F&y=a+b", "/", "/?", "/x;v=1/~me?a=1&a=2", "/%C3%A9"] {
        proxy.get(target).await;
        let seen = origin.seen("*").pop().unwrap();
        assert_eq!(seen.target.trim_end_matches('?'), target.trim_end_matches('?'));
    }
}

#[tokio::test]
async fn field_lines_of_one_name_stay_apart_and_in_order() {
    let origin = Origin::start();
    let answer = Script::ok("").field("Set-Cookie", "a=1").field("Set-Cookie", "b=2");
    origin.on("/", answer);
    let proxy = Proxy::start(&origin, "").await;
    let response = proxy.send(&request("GET /").field("X-Tag", "one").field("X-Tag", "two")).await;
    assert_eq!(response.head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(origin.only("/").head.all("x-tag"), ["one", "two"]);
}

#[tokio::test]
async fn interim_answers_do_not_stand_in_for_the_final_one() {
    let origin = Origin::start();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let answer = Script::ok("final").informational(hints).informational("HTTP/1.1 102 Processing\r\n\r\n");
    origin.on("/", answer);
    let proxy = Proxy::start(&origin, "").await;
    let response = proxy.get("/").await;
    assert_eq!((response.status(), response.text()), (200, "final"));
    assert!(response.interim.iter().all(|head| head.status() == 103), "{response:?}");
}

#[tokio::test]
async fn answers_without_content_leave_the_connection_usable() {
    let origin = Origin::start();
    origin.on("/none", Script::status(204));
    origin.on("/same", Script::status(304).field("ETag", "\"v1\""));
    let proxy = Proxy::start(&origin, "").await;
    let mut connection = Connection::open(proxy.address).await;
    assert_eq!(connection.ask(&request("GET /none")).await.status(), 204);
    let asked = request("GET /same").field("If-None-Match", "\"v1\"");
    assert_eq!(connection.ask(&asked).await.status(), 304);
    assert_eq!(connection.ask(&request("GET /after")).await.status(), 200);
}

#[tokio::test]
async fn a_path_without_a_route_is_forebays_own_404() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "routes = [{ name = 'api', match = '/api/{*rest}' }]").await;
    proxy.get("/elsewhere").await.assert_problem(404);
    assert_eq!(proxy.get("/api/x").await.status(), 200);
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn the_most_specific_route_wins_whatever_the_order() {
    let origin = Origin::start();
    let config = "
        [upstreams.any]
        host = 'upstream'
        [upstreams.scan]
        [[routes]]
        name = 'rest'
        match = '/{*rest}'
        upstream = 'any'
        [[routes]]
        name = 'one'
        match = 'GET /api/scan/status/{id}'
        upstream = 'scan'";
    let proxy = Proxy::start(&origin, config).await;
    proxy.get("/api/scan/status/7").await;
    proxy.send(&request("POST /api/scan/status/8")).await;
    assert_eq!(origin.only("/api/scan/status/7").field("host"), Some("scan.example"));
    assert_ne!(origin.only("/api/scan/status/8").field("host"), Some("scan.example"));
}
