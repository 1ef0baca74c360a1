//! Another configuration without a pause: validated first, taken whole, and nothing forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::websocket::{handshake, text_frame};
use crate::harness::{Connection, Gate, Origin, Proxy, Script, concurrently, request, wait_until};

fn limited(rate: &str) -> String {
    format!(
        "rate_limits.start = {{ key = 'client_ip', rates = ['{rate}'] }}
        [[routes]]
        name = 'all'
        match = '/{{*rest}}'
        rate_limits = ['start']
        cache = {{ mode = 'force', ttl = '1h' }}"
    )
}

/// A route that answers 404 to everything but `/new`.
const ONLY_NEW: &str = "routes = [{ name = 'new', match = '/new' }]";

async fn reload(proxy: &Proxy) -> crate::harness::Response {
    proxy.admin_post("/api/reload", "").await
}

#[tokio::test]
async fn hup_takes_the_new_file() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    assert_eq!(proxy.get("/old").await.status(), 200);
    proxy.rewrite(ONLY_NEW);
    proxy.signal("HUP");
    wait_until("the new routes hold", || async { proxy.get("/old").await.status() == 404 }).await;
    assert_eq!(proxy.get("/new").await.status(), 200);
    assert_eq!(proxy.metric("forebay_config_reloads_total", &["result=\"success\""]).await, 1.0);
    assert_eq!(proxy.metric("forebay_config_last_reload_successful", &[]).await, 1.0);
}

#[tokio::test]
async fn the_admin_endpoint_takes_the_new_file_and_says_so() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    proxy.rewrite(ONLY_NEW);
    assert_eq!(reload(&proxy).await.status(), 200);
    assert_eq!((proxy.get("/old").await.status(), proxy.get("/new").await.status()), (404, 200));
}

#[tokio::test]
async fn a_watched_file_needs_no_word() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "watch = true").await;
    assert_eq!(proxy.get("/old").await.status(), 200);
    proxy.rewrite(&format!("watch = true\n{ONLY_NEW}"));
    wait_until("the new routes hold", || async { proxy.get("/old").await.status() == 404 }).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_with_its_place() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("2/hour")).await;
    assert_eq!(proxy.get("/a").await.status(), 200);
    for bad in ["[listener]\nadress = '127.0.0.1:0'\n", "not toml at all [", "[upstreams.x]\n"] {
        proxy.rewrite_raw(bad);
        let answer = reload(&proxy).await;
        assert!((400..500).contains(&answer.status()), "{bad:?} is answered by {answer:?}");
        assert!(answer.text().contains("forebay.toml"), "{}", answer.text());
    }
    std::fs::remove_file(&proxy.config).unwrap();
    assert!((400..600).contains(&reload(&proxy).await.status()));
    proxy.signal("HUP");
    wait_until("all are counted", || async {
        proxy.metric("forebay_config_reloads_total", &["result=\"failure\""]).await >= 5.0
    })
    .await;
    assert_eq!(proxy.metric("forebay_config_last_reload_successful", &[]).await, 0.0);
    assert!(proxy.get("/a").await.cache_says("hit"));
    assert_eq!(proxy.get("/b").await.status(), 429);
}

#[tokio::test]
async fn limits_and_stored_responses_survive() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("3/hour")).await;
    assert_eq!(proxy.get("/a").await.status(), 200);
    proxy.rewrite(&format!("{}\nserver_timing = true", limited("3/hour")));
    assert_eq!(reload(&proxy).await.status(), 200);
    assert!(proxy.get("/a").await.cache_says("hit"));
    assert_eq!(proxy.get("/b").await.status(), 200);
    assert_eq!(proxy.get("/c").await.status(), 429, "the three of this hour are used up");
    assert_eq!(origin.count("*"), 2);
}

#[tokio::test]
async fn permits_and_connections_survive() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("done").when(&gate));
    let pool = |max: u32| {
        format!(
            "in_flight.scans = {{ max = {max} }}
            routes = [{{ name = 'all', match = '/{{*rest}}', in_flight = 'scans', collapse = 'off' }}]"
        )
    };
    let proxy = Proxy::start(&origin, &pool(1)).await;
    let mut kept = Connection::open(proxy.address).await;
    assert_eq!(kept.ask(&request("GET /1")).await.status(), 200);
    let running = proxy.begin(&request("GET /slow"));
    wait_until("it runs", || async { origin.active("/slow") == 1 }).await;
    assert_eq!(reload(&proxy).await.status(), 200);
    assert_eq!(kept.ask(&request("GET /2")).await.status(), 429, "its permit is still held");
    proxy.rewrite(&pool(2));
    assert_eq!(reload(&proxy).await.status(), 200);
    assert_eq!(kept.ask(&request("GET /3")).await.status(), 200, "the larger pool has room");
    gate.open();
    assert_eq!(running.await.unwrap().text(), "done");
    proxy.wait_for_metric("forebay_in_flight", &["pool=\"scans\""], 0.0).await;
}

#[tokio::test]
async fn under_load_no_request_fails() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &limited("1000000/hour")).await;
    let (address, stop, asked) =
        (proxy.address, Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
        concurrently(10, move |client| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            async move {
                let mut connection = Connection::open(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    let line = format!("GET /{client}/{}", number % 50);
                    assert_eq!(connection.ask(&request(&line)).await.status(), 200);
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for round in 0..10 {
        let before = asked.load(Ordering::Relaxed);
        proxy.rewrite(&limited(&format!("{}/hour", 1_000_000 + round)));
        assert_eq!(reload(&proxy).await.status(), 200);
        wait_until("requests go on", || async { asked.load(Ordering::Relaxed) > before + 20 }).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(load.await.unwrap().len(), 10);
}

#[tokio::test]
async fn tunnels_and_event_streams_go_on() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/ws", Script::upgrade());
    origin.on("/events", Script::events().body("data: 1\n\n").wait(&gate).body("data: 2\n\n"));
    let proxy = Proxy::start(&origin, "").await;
    let mut socket = Connection::open(proxy.address).await;
    socket.send(handshake("/ws").bytes()).await;
    assert_eq!(socket.head("GET").await.status(), 101);
    let mut stream = Connection::open(proxy.address).await;
    stream.send(request("GET /events").field("Accept", "text/event-stream").bytes()).await;
    assert_eq!(stream.head("GET").await.status(), 200);
    assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 1\n\n");
    proxy.rewrite(ONLY_NEW);
    assert_eq!(reload(&proxy).await.status(), 200);
    assert_eq!(proxy.get("/events").await.status(), 404, "the new routes hold");
    let frame = text_frame("still here");
    socket.send(&frame).await;
    assert_eq!(socket.wire.exactly(frame.len()).await.unwrap(), frame);
    gate.open();
    assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 2\n\n");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_in_the_answer_and_in_the_log() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let address = proxy.address;
    proxy.rewrite("listener = { address = '127.0.0.1:1', workers = 7 }");
    let answer = reload(&proxy).await;
    let answer: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(answer["needs_restart"], serde_json::json!(["listener.address", "listener.workers"]));
    assert_eq!(request("GET /").send(address).await.status(), 200, "the old address is served");
    wait_until("the log says so", || async {
        proxy.log().iter().any(|line| line.contains("listener.workers") && line.contains("restart forebay"))
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_restart_is_told_until_it_is_as_it_was() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "").await;
    let before = proxy.admin_get("/api/config").await.text().to_owned();
    let told = async || {
        let answer = reload(&proxy).await.json();
        (answer["changed"].as_bool().unwrap(), answer["needs_restart"].clone())
    };
    proxy.rewrite("listener.address = '127.0.0.1:1'");
    let waiting = serde_json::json!(["listener.address"]);
    assert_eq!(told().await, (true, waiting.clone()));
    assert_eq!(told().await, (false, waiting), "it waits still");
    let shown = proxy.admin_get("/api/config").await.text().to_owned();
    let (comment, in_force) = shown.split_once("\n\n").unwrap();
    assert!(comment.starts_with('#') && comment.ends_with(": listener.address"), "{comment}");
    assert_eq!(in_force, before, "what is bound");
    proxy.rewrite("");
    assert_eq!(told().await, (true, serde_json::json!([])));
    assert_eq!(proxy.admin_get("/api/config").await.text(), before);
}

#[tokio::test]
async fn a_smaller_bound_on_connections_holds_after_a_reload_through_the_admin_listener() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, "listener.max_connections = 100").await;
    proxy.rewrite("listener.max_connections = 1");
    assert_eq!(reload(&proxy).await.status(), 200);
    let mut first = Connection::open(proxy.address).await;
    assert_eq!(first.ask(&request("GET /1")).await.status(), 200);
    let second = proxy.begin(&request("GET /2"));
    assert_eq!(first.ask(&request("GET /3")).await.status(), 200);
    assert_eq!(origin.count("/2"), 0, "it waits in the backlog");
    drop(first);
    assert_eq!(second.await.unwrap().status(), 200);
}
