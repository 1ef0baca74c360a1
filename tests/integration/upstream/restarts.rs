//! A backend that is killed and restarted under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Origin, Proxy, Script, request, wait_until};

const CONFIG: &str = "
    upstreams.origin.breaker = { failures = 5, open = '10s' }
    upstreams.origin.health = { path = '/health', interval = '200ms', timeout = '1s', unhealthy_after = 2, healthy_after = 1 }
    [[routes]]
    name = 'stored'
    match = '/stored'
    cache = { mode = 'force', ttl = '20ms', stale_if_error = '1h' }
    [[routes]]
    name = 'all'
    match = '/{*rest}'";

/// What the clients of one kind got.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    refused: usize,
    wrong: Vec<String>,
}

/// Asks for `line` again and again until told to stop.
async fn client(address: std::net::SocketAddr, line: String, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let asked = line.replace('#', &number.to_string());
        match request(&asked).try_send(address).await {
            Ok(answer) if answer.status() == 200 && answer.cut_short.is_none() => {
                let path = asked.split(' ').nth(1).unwrap();
                let is_right = answer.body == path.as_bytes();
                if is_right { tally.right += 1 } else { tally.wrong.push(format!("{asked}: {answer:?}")) }
            }
            // The origin died while it answered, or nobody was there to ask.
            Ok(answer) if answer.status() == 200 || matches!(answer.status(), 502..=504) => {
                tally.refused += 1;
            }
            other => tally.wrong.push(format!("{asked}: {other:?}")),
        }
    }
    tally
}

#[tokio::test]
async fn a_backend_that_dies_and_comes_back_under_load_has_no_request_answered_wrong() {
    let mut origin = Origin::start();
    origin.on_each("*", |seen| Script::ok(seen.path().to_owned()));
    let proxy = Proxy::start(&origin, CONFIG).await;
    assert_eq!(proxy.get("/stored").await.status(), 200);
    let stop = Arc::new(AtomicBool::new(false));
    let begin = |line: &str| tokio::spawn(client(proxy.address, line.to_owned(), Arc::clone(&stop)));
    let stored: Vec<_> = (0..3).map(|_| begin("GET /stored")).collect();
    let others = [begin("GET /a/#"), begin("GET /b/#"), begin("POST /write/#")];
    for round in 0..4 {
        wait_until("requests get through", || async { origin.count("/a/*") >= 20 * (round + 1) }).await;
        origin.stop();
        wait_until("the server is found out", || async {
            proxy.metric("forebay_upstream_healthy", &[]).await == 0.0
        })
        .await;
        origin.restart();
        wait_until("the server is back", || async { proxy.get("/probe").await.status() == 200 }).await;
    }
    stop.store(true, Ordering::Relaxed);
    for one in stored {
        let tally = one.await.unwrap();
        assert!(tally.wrong.is_empty() && tally.refused == 0 && tally.right > 0, "{tally:?}");
    }
    for one in others {
        let tally = one.await.unwrap();
        assert!(tally.wrong.is_empty() && tally.right > 0, "{:?}", tally.wrong.first());
    }
    let mut writes: Vec<_> = origin.seen("/write/*").into_iter().map(|seen| seen.target).collect();
    let sent = writes.len();
    writes.sort();
    writes.dedup();
    assert_eq!(writes.len(), sent, "a POST was sent twice");
}
