//! Bytes that belong to no answer: they reach nobody, least of all the next client.

use crate::harness::{Gate, Origin, Proxy, Script, concurrently, request, wait_until};

const EVIL: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\nX-Evil: 1\r\n\r\nevil";

/// Answers with which something comes that was not asked for.
fn with_more() -> Vec<(&'static str, &'static str, Script)> {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
    let after = |answer: String| Script::raw(answer + EVIL).kept();
    let three = head("Content-Length: 3") + "abc";
    let chunks = head("Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n";
    vec![
        ("GET", "abc", after(three.clone())),
        ("GET", "abc", after(chunks)),
        ("GET", "", after(head("Content-Length: 0"))),
        ("GET", "", after("HTTP/1.1 204 No Content\r\n\r\n".into())),
        ("GET", "", after("HTTP/1.1 204 No Content\r\nContent-Length: 200\r\n\r\n".into())),
        ("GET", "", after("HTTP/1.1 304 Not Modified\r\nContent-Length: 200\r\n\r\n".into())),
        ("HEAD", "", after(head("Content-Length: 200"))),
        ("HEAD", "", after(head("Transfer-Encoding: chunked"))),
        ("POST", "abc", after(three.clone())),
        ("GET", "abc", Script::raw(three.clone() + "\r\n").kept()),
        ("GET", "abc", Script::raw(three.clone() + "x").kept()),
        ("GET", "abc", Script::raw(three.clone() + "HTTP/1.1 100 Continue\r\n\r\n").kept()),
        (
            "GET",
            "abc",
            Script::raw(three + "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").kept(),
        ),
        ("GET", "abc", Script::raw(head("Connection: close\r\nContent-Length: 3") + "abc" + EVIL).kept()),
        (
            "GET",
            "abc",
            Script::raw("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_owned() + EVIL).kept(),
        ),
    ]
}

#[tokio::test]
async fn what_comes_beyond_an_answer_reaches_nobody() {
    for route in ["collapse = 'off', cache = { mode = 'off' }", "cache = { mode = 'force', ttl = '1h' }"] {
        let origin = Origin::start();
        let config = format!("routes = [{{ name = 'all', match = '/{{*rest}}', {route} }}]");
        let proxy = Proxy::start(&origin, &config).await;
        for (number, (method, body, script)) in with_more().into_iter().enumerate() {
            let path = format!("/{number}");
            origin.on(&path, script);
            let answer = proxy.send(&request(&format!("{method} {path}"))).await;
            assert_eq!(String::from_utf8_lossy(&answer.body), body, "{number}: {method}");
            let used = origin.seen(&path).last().map(|seen| seen.connection);
            for next in ["GET", "POST"] {
                let target = format!("/{number}/{next}");
                let answer = proxy.send(&request(&format!("{next} {target}"))).await;
                assert_eq!(answer.json()["target"], target.as_str(), "{number}: {method}");
                assert_ne!(Some(origin.only(&target).connection), used, "{number}: {method}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_on_a_kept_connection_closes_it() {
    let late = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate";
    for more in [late, EVIL, "HTTP/1.1 100 Continue\r\n\r\n", "\r\n", "x"] {
        let (origin, gate) = (Origin::start(), Gate::closed());
        let first = Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
        origin.on("/first", first.wait(&gate).body(more).kept());
        let proxy = Proxy::start(&origin, "upstreams.origin.max_connections = 1").await;
        assert_eq!(proxy.get("/first").await.text(), "abc");
        gate.open();
        wait_until("it came", || async { origin.active("/first") == 0 }).await;
        for line in ["POST /next", "GET /next"] {
            assert_eq!(proxy.send(&request(line)).await.json()["target"], "/next", "{line} after {more:?}");
        }
    }
}

#[tokio::test]
async fn connections_that_close_at_the_worst_moment_cost_reads_nothing() {
    let origin = Origin::start();
    origin.on("*", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"));
    let proxy = Proxy::start(&origin, "upstreams.origin.retry_budget = 1.0").await;
    let address = proxy.address;
    let answers = concurrently(8, move |client| async move {
        let mut answers = Vec::new();
        for number in 0..40 {
            answers.push(request(&format!("GET /{client}/{number}")).send(address).await);
        }
        answers
    })
    .await;
    let failed: Vec<_> = answers.into_iter().flatten().filter(|answer| answer.body != b"abc").collect();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
}

#[tokio::test]
async fn an_answer_that_broke_off_in_its_head_is_asked_for_once() {
    let origin = Origin::start();
    origin.on("/half", Script::raw("HTTP/1.1 200 OK\r\nContent-Le"));
    let proxy = Proxy::start(&origin, "").await;
    for way in ["GET", "HEAD", "DELETE"] {
        assert_eq!(proxy.get("/warm").await.status(), 200);
        assert_eq!(proxy.send(&request(&format!("{way} /half"))).await.status(), 502, "{way}");
        assert_eq!(origin.count(&format!("{way} /half")), 1, "{way}: a byte had come");
    }
    wait_until("nothing is left over", || async { origin.active("*") == 0 }).await;
}
