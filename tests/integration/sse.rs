//! Server-sent events: one by one as they happen, each client its own stream.

use crate::harness::{Connection, Gate, Origin, Proxy, Script, request, wait_until};

#[tokio::test]
async fn events_arrive_one_by_one() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/events", Script::events().body("data: 1\n\n").wait(&gate).body("data: 2\n\n"));
    let proxy = Proxy::start(&origin, "").await;
    let mut stream = Connection::open(proxy.address).await;
    stream.send(request("GET /events").field("Accept", "text/event-stream").bytes()).await;
    let head = stream.head("GET").await;
    assert_eq!((head.status(), head.field("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 1\n\n");
    gate.open();
    assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 2\n\n");
}

#[tokio::test]
async fn streams_are_neither_collapsed_nor_stored() {
    let origin = Origin::start();
    origin.on("/events", Script::events().body("data: 1\n\n"));
    let config = "routes = [{ name = 'all', match = '/{*rest}', collapse = 'shared', cache = { mode = 'force', ttl = '1h' } }]";
    let proxy = Proxy::start(&origin, config).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = Connection::open(proxy.address).await;
        stream.send(request("GET /events").field("Accept", "text/event-stream").bytes()).await;
        assert_eq!(stream.head("GET").await.status(), 200);
        assert_eq!(stream.data().await.unwrap().unwrap(), b"data: 1\n\n");
        streams.push(stream);
    }
    assert_eq!(origin.most_at_once("/events"), 3);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_at_the_origin() {
    let origin = Origin::start();
    origin.on("/events", Script::events().body("data: 1\n\n"));
    let proxy = Proxy::start(&origin, "").await;
    let mut stream = Connection::open(proxy.address).await;
    stream.send(request("GET /events").field("Accept", "text/event-stream").bytes()).await;
    stream.head("GET").await;
    drop(stream);
    wait_until("the origin notices", || async { origin.active("/events") == 0 }).await;
}
