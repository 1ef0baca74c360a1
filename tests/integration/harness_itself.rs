//! The harness without forebay: where these fail, nothing else here says anything.

use crate::harness::backend::Backend;
use crate::harness::origin::Body;
use crate::harness::{Connection, Gate, Origin, Script, concurrently, request, seconds, wait_until};

#[tokio::test]
async fn the_origin_pictures_what_it_got() {
    let origin = Origin::start();
    let asked = request("POST /x?y=1").field("X-Tag", "one").chunked("z".repeat(2500));
    let picture = asked.send(origin.address()).await.json();
    assert_eq!((&picture["method"], &picture["target"]), (&"POST".into(), &"/x?y=1".into()));
    assert_eq!(picture["body_length"], 2500);
    let seen = origin.only("POST /x");
    assert_eq!((seen.field("x-tag"), seen.body), (Some("one"), Body::Whole));
}

#[tokio::test]
async fn the_longest_pattern_answers() {
    let origin = Origin::start();
    origin.on("/a*", Script::ok("prefix"));
    origin.on("/a/b", Script::ok("exact"));
    origin.on("POST /a/b", Script::ok("method"));
    for (line, answer) in [("GET /a/c", "prefix"), ("GET /a/b", "exact"), ("POST /a/b", "method")] {
        assert_eq!(request(line).send(origin.address()).await.text(), answer);
    }
}

#[tokio::test]
async fn faults_are_visible_to_a_client() {
    let origin = Origin::start();
    origin.on("/cut", Script::ok("half").cut());
    origin.on("/reset", Script::ok("half").reset());
    origin.on("/bad-chunk", Script::chunked().body("half").bad_chunk());
    for path in ["/cut", "/reset", "/bad-chunk"] {
        let response = request(&format!("GET {path}")).try_send(origin.address()).await;
        assert!(response.is_err() || response.is_ok_and(|response| response.cut_short.is_some()), "{path}");
    }
    origin.on("/nothing", Script::nothing());
    assert!(request("GET /nothing").try_send(origin.address()).await.is_err());
}

#[tokio::test]
async fn chunks_pauses_and_trailers_come_as_scripted() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/", Script::chunked().body("one").wait(&gate).body("two").trailer("X-Sum", "2"));
    let mut connection = Connection::open(origin.address()).await;
    connection.send(request("GET /").bytes()).await;
    connection.head("GET").await;
    assert_eq!(connection.data().await.unwrap().unwrap(), b"one");
    gate.open();
    assert_eq!(connection.data().await.unwrap().unwrap(), b"two");
    assert_eq!(connection.data().await.unwrap(), None);
    assert_eq!(connection.ask(&request("GET /")).await.trailers, [("X-Sum".into(), "2".into())]);
}

#[tokio::test]
async fn what_is_at_work_at_once_is_counted() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/slow", Script::ok("").when(&gate));
    let address = origin.address();
    let requests =
        tokio::spawn(concurrently(20, move |_| async move { request("GET /slow").send(address).await }));
    wait_until("all are there", || async { origin.active("/slow") == 20 }).await;
    gate.open();
    assert!(requests.await.unwrap().iter().all(|response| response.status() == 200));
    wait_until("all are gone", || async { origin.active("/slow") == 0 }).await;
    assert_eq!((origin.most_at_once("/slow"), origin.count("/slow"), origin.connections()), (20, 20, 20));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let origin = Origin::start();
    origin.on("/slow", Script::ok("").after(seconds(60.0)));
    let mut connection = Connection::open(origin.address()).await;
    connection.send(request("GET /slow").bytes()).await;
    wait_until("it is there", || async { origin.active("/slow") == 1 }).await;
    drop(connection);
    wait_until("it is gone", || async { origin.active("/slow") == 0 }).await;
    assert!(origin.only("/slow").abandoned);
}

#[tokio::test]
async fn a_connection_that_gave_its_responses_is_closed_on_the_next_request() {
    let origin = Origin::start();
    origin.close_connections_after(1);
    let mut connection = Connection::open(origin.address()).await;
    assert_eq!(connection.ask(&request("GET /1")).await.status(), 200);
    connection.send(request("GET /2").bytes()).await;
    assert!(connection.try_response("GET").await.is_err());
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn the_example_backend_runs_and_counts() {
    let backend = Backend::start(&[("STATUS_MS", "1")]).await;
    let status = request("GET /api/scan/status/7").send(backend.address()).await;
    assert_eq!((status.status(), status.field("cache-control")), (404, Some("no-store")));
    assert_eq!(backend.counts().await["requests"]["/api/scan/status/7"], 1);
}
