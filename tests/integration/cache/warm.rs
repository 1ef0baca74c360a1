//! The store is filled before anybody asks.

use serde_json::Value;

use crate::harness::{Gate, Origin, Proxy, Script, wait_until};

const LIMITED: &str = "
    [rate_limits.few]
    rates = ['1/hour']
    [in_flight.one]
    max = 1
    queue = { size = 100, timeout = '20s' }
    [[routes]]
    name = 'lists'
    match = 'GET /lists/{*rest}'
    rate_limits = ['few']
    in_flight = 'one'
    cache = { mode = 'force', ttl = '1h' }
    [[routes]]
    name = 'rest'
    match = '/api/{*rest}'";

fn order(urls: &[&str]) -> String {
    serde_json::json!({ "urls": urls }).to_string()
}

fn line(url: &str, status: u16, stored: bool) -> (Value, Value, Value) {
    (url.into(), status.into(), stored.into())
}

#[tokio::test]
async fn what_was_warmed_is_a_hit_for_the_first_client() {
    let origin = Origin::start();
    origin.on("/lists/*", Script::ok("a list").field("cache-control", "no-store"));
    origin.on("/api/secret", Script::ok("mine").field("cache-control", "private"));
    let proxy = Proxy::start(&origin, LIMITED).await;
    let urls = [
        "http://scan.example/lists/1",
        "http://scan.example/lists/2",
        "http://scan.example/lists/3",
        "http://scan.example/api/secret",
        "http://scan.example/nowhere",
    ];
    let answer = proxy.admin_post("/api/cache/warm", &order(&urls)).await;
    assert_eq!((answer.status(), &answer.json()["stored"]), (200, &3.into()), "{}", answer.text());
    let json = answer.json();
    let results: Vec<_> = json["results"].as_array().unwrap().iter().collect();
    let told = |at: usize| {
        let line = results[at];
        (line["url"].clone(), line["status"].clone(), line["stored"].clone())
    };
    for (at, status, stored) in
        [(0, 200, true), (1, 200, true), (2, 200, true), (3, 200, false), (4, 404, false)]
    {
        assert_eq!(told(at), line(urls[at], status, stored), "{}", results[at]);
    }
    assert!(results[0]["ttl_seconds"].as_i64().unwrap() > 3000);
    assert_eq!(results[3]["because"], "private");
    assert!(results[4]["because"].as_str().unwrap().contains("route"), "{}", results[4]);
    assert_eq!(origin.most_at_once("/lists/*"), 1, "the pool holds for it, too");
    assert!(origin.seen("*").iter().all(|seen| seen.field("cookie").is_none()));
    // Its one request of the hour is still the client's.
    assert!(proxy.get("/lists/1").await.cache_says("hit"));
    assert_eq!((origin.count("/lists/*"), proxy.get("/lists/9").await.status()), (3, 429));
}

#[tokio::test]
async fn what_is_fresh_is_not_fetched_and_what_is_under_way_is_shared() {
    let origin = Origin::start();
    let gate = Gate::closed();
    origin.on("/lists/1", Script::ok("a list").when(&gate));
    let proxy = Proxy::start(&origin, LIMITED).await;
    let client = proxy.begin(&crate::harness::request("GET /lists/1"));
    wait_until("it is asked for", || async { origin.count("*") == 1 }).await;
    let twice = order(&["http://scan.example/lists/1"; 2]);
    let warming = async { proxy.admin_post("/api/cache/warm", &twice).await };
    let opening = async {
        wait_until("both wait", || async {
            proxy.metric("forebay_requests_in_progress", &["lists"]).await >= 3.0
        })
        .await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(warming, opening);
    assert_eq!(answer.json()["stored"], 2, "{}", answer.text());
    assert_eq!(client.await.unwrap().text(), "a list");
    assert_eq!(proxy.admin_post("/api/cache/warm", &twice).await.json()["stored"], 2);
    assert_eq!(origin.count("*"), 1);
}

#[tokio::test]
async fn a_failure_is_told_per_url() {
    let origin = Origin::start();
    origin.on("/lists/gone", Script::nothing());
    let proxy = Proxy::start(&origin, LIMITED).await;
    let answer =
        proxy.admin_post("/api/cache/warm", &order(&["http://scan.example/lists/gone", "/lists/1"])).await;
    let json = answer.json();
    assert_eq!((&json["stored"], &json["results"][0]["status"]), (&0.into(), &502.into()), "{json}");
    assert!(json["results"][1]["because"].as_str().unwrap().contains("http://HOST/PATH"), "{json}");
}
