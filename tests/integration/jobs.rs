//! Jobs: a cap that follows the work, not the request that started it.

mod answers;
mod odd;
mod restart;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Origin, Proxy, Response, Script, request, wait_until};

/// The home case: two scans at a time.
const SCANS: &str = "
    in_flight.scans = { max = 2 }
    [jobs.scan]
    start = 'start'
    id = '/scan_id'
    status = 'status'
    state = '/status'
    done = ['completed', 'failed']
    holds = 'scans'
    [[routes]]
    name = 'start'
    match = 'POST /api/scan/execute'
    in_flight = 'scans'
    [[routes]]
    name = 'status'
    match = 'GET /api/scan/status/{scan_id}'
    cache = { mode = 'force', ttl = '1s' }
    [[routes]]
    name = 'rest'
    match = '/{*rest}'";

/// `SCANS` with more keys in `[jobs.scan]`.
fn scans_with(keys: &str) -> String {
    SCANS.replace("holds = 'scans'", &format!("holds = 'scans'\n{keys}"))
}

/// A scan backend: starts are numbered, statuses are what the test says.
#[derive(Clone)]
struct Scans(Arc<(AtomicUsize, Mutex<HashMap<String, String>>)>);

impl Scans {
    fn on(origin: &Origin) -> Self {
        let scans = Self(Arc::default());
        origin.on_each("POST /api/scan/execute", {
            let scans = scans.clone();
            move |_| {
                let id = format!("s{}", scans.0.0.fetch_add(1, Ordering::SeqCst) + 1);
                scans.set(&id, "running");
                Script::status(202).json(&format!(r#"{{"scan_id":"{id}","status":"running"}}"#))
            }
        });
        origin.on_each("GET /api/scan/status/*", {
            let scans = scans.clone();
            move |seen| {
                let id = seen.path().rsplit('/').next().unwrap_or_default().to_owned();
                match scans.0.1.lock().unwrap().get(&id) {
                    Some(status) => {
                        Script::ok("").json(&format!(r#"{{"scan_id":"{id}","status":"{status}"}}"#))
                    }
                    None => Script::status(404).json("{}"),
                }
            }
        });
        scans
    }

    fn set(&self, id: &str, status: &str) {
        self.0.1.lock().unwrap().insert(id.to_owned(), status.to_owned());
    }
}

impl Script {
    fn json(self, body: &str) -> Self {
        let script = self.field("content-type", "application/json").field("cache-control", "no-store");
        Self { body: Vec::new(), ..script }.body(body.to_owned())
    }
}

async fn start(proxy: &Proxy) -> Response {
    proxy.send(&request("POST /api/scan/execute")).await
}

async fn status(proxy: &Proxy, id: &str) -> Response {
    proxy.get(&format!("/api/scan/status/{id}")).await
}

async fn held(proxy: &Proxy) -> f64 {
    proxy.metric("forebay_in_flight", &["pool=\"scans\""]).await
}

/// Case 1 as it is told: two scans run, the third start is refused although both were answered long ago.
#[tokio::test]
async fn two_scans_run_and_the_third_start_waits_for_the_end_of_one_not_of_its_request() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    for _ in 0..2 {
        assert_eq!(start(&proxy).await.status(), 202);
    }
    let refused = start(&proxy).await;
    refused.assert_problem(429);
    assert!(refused.retry_after().as_secs() >= 1);
    assert_eq!(status(&proxy, "s1").await.json()["status"], "running");
    start(&proxy).await.assert_problem(429);
    scans.set("s1", "completed");
    wait_until("the first is done", || async { status(&proxy, "s1").await.json()["status"] == "completed" })
        .await;
    assert_eq!(start(&proxy).await.status(), 202);
    start(&proxy).await.assert_problem(429);
    assert_eq!(origin.count("POST /api/scan/execute"), 3, "what is refused never reached the backend");
    assert_eq!(proxy.metric("forebay_jobs_active", &["job=\"scan\""]).await, 2.0);
    assert_eq!(proxy.metric("forebay_jobs_total", &["outcome=\"done\""]).await, 1.0);
}

#[tokio::test]
async fn a_queued_start_goes_at_once_when_a_job_is_done() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let config = SCANS.replace("{ max = 2 }", "{ max = 1, queue = { size = 5, timeout = '30s' } }");
    let proxy = Proxy::start(&origin, &config).await;
    assert_eq!(start(&proxy).await.status(), 202);
    let queued = proxy.begin(&request("POST /api/scan/execute"));
    proxy.wait_for_metric("forebay_queue_depth", &["pool=\"scans\""], 1.0).await;
    scans.set("s1", "failed");
    assert_eq!(status(&proxy, "s1").await.json()["status"], "failed");
    assert_eq!(queued.await.unwrap().json()["scan_id"], "s2");
}

#[tokio::test]
async fn equal_starts_are_one_job_with_one_permit() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let config = SCANS.replacen(
        "in_flight = 'scans'",
        "in_flight = 'scans'\n    dedupe = { by = 'body', window = '60s' }",
        1,
    );
    let proxy = Proxy::start(&origin, &config).await;
    let start = |body: &str| request("POST /api/scan/execute").field("Authorization", "ann").body(body);
    let clicks = [0; 5].map(|_| proxy.begin(&start("a")));
    for click in clicks {
        assert_eq!(click.await.unwrap().json()["scan_id"], "s1");
    }
    let active = || proxy.metric("forebay_jobs_active", &["job=\"scan\""]);
    assert_eq!((held(&proxy).await, active().await), (1.0, 1.0));
    assert_eq!(proxy.send(&start("b")).await.json()["scan_id"], "s2");
    proxy.send(&start("c")).await.assert_problem(429);
    assert_eq!(proxy.send(&start("a")).await.json()["scan_id"], "s1", "who shares needs no permit");
    scans.set("s1", "completed");
    wait_until("it is done", || async { status(&proxy, "s1").await.json()["status"] == "completed" }).await;
    assert_eq!((held(&proxy).await, active().await), (1.0, 1.0));
    assert_eq!(origin.count("POST /api/scan/execute"), 2);
}

#[tokio::test]
async fn a_job_ends_by_its_lease_and_by_the_operator() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, &scans_with("lease = '2s'")).await;
    assert_eq!(start(&proxy).await.status(), 202);
    assert_eq!(start(&proxy).await.status(), 202);
    let list = proxy.admin_get("/api/jobs").await.json();
    assert_eq!(list["jobs"][0]["id"], "s1", "{list}");
    let released = proxy.admin_send(&request("DELETE /api/jobs/s2")).await;
    assert_eq!((released.status(), released.json()["released"].clone()), (200, 1.into()));
    assert_eq!(proxy.admin_send(&request("DELETE /api/jobs/s2")).await.status(), 404);
    assert_eq!(held(&proxy).await, 1.0);
    proxy.wait_for_metric("forebay_jobs_total", &["outcome=\"expired\""], 1.0).await;
    assert_eq!(held(&proxy).await, 0.0);
    assert_eq!(status(&proxy, "s1").await.json()["status"], "running");
    assert_eq!(held(&proxy).await, 0.0, "it is not taken in again");
}

#[tokio::test]
async fn nobody_polls_and_forebay_asks_by_itself() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy =
        Proxy::start(&origin, &scans_with("probe = '1s'\nprobe_headers = { X-Api-Key = 'mine' }")).await;
    let secret = request("POST /api/scan/execute").field("Authorization", "Bearer alice");
    assert_eq!(proxy.send(&secret).await.status(), 202);
    let asked = "GET /api/scan/status/s1";
    wait_until("it is asked for", || async { origin.count(asked) >= 1 }).await;
    let probe = &origin.seen(asked)[0];
    assert_eq!((probe.field("x-api-key"), probe.field("authorization")), (Some("mine"), None));
    scans.set("s1", "completed");
    proxy.wait_for_metric("forebay_jobs_active", &["job=\"scan\""], 0.0).await;
    assert_eq!(held(&proxy).await, 0.0);
    assert_eq!(proxy.metric("forebay_upstream_requests_total", &["status=\"200\""]).await, 0.0);
}

#[tokio::test]
async fn the_probe_may_use_the_starters_credentials_where_the_operator_says_so() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, &scans_with("probe = '1s'\nprobe_as = 'starter'")).await;
    let alice =
        request("POST /api/scan/execute").field("Authorization", "Bearer alice").field("X-Other", "1");
    assert_eq!(proxy.send(&alice).await.status(), 202);
    let asked = "GET /api/scan/status/s1";
    wait_until("it is asked for", || async { origin.count(asked) >= 1 }).await;
    let probe = &origin.seen(asked)[0];
    assert_eq!((probe.field("authorization"), probe.field("x-other")), (Some("Bearer alice"), None));
}

#[tokio::test]
async fn a_job_that_others_started_is_taken_in_over_the_cap() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    for id in ["a", "b", "c"] {
        scans.set(id, "running");
    }
    let proxy = Proxy::start(&origin, SCANS).await;
    for id in ["a", "b", "c"] {
        assert_eq!(status(&proxy, id).await.status(), 200);
    }
    assert_eq!(held(&proxy).await, 3.0);
    start(&proxy).await.assert_problem(429);
    scans.set("a", "completed");
    scans.set("b", "completed");
    for id in ["a", "b"] {
        wait_until("it is over", || async { status(&proxy, id).await.json()["status"] == "completed" }).await;
    }
    assert_eq!(held(&proxy).await, 1.0);
    assert_eq!(start(&proxy).await.status(), 202);
}

/// A backend that reads several spellings of a name as one; its jobs must not fill the pool by that.
#[tokio::test]
async fn a_job_that_is_asked_for_in_many_spellings_holds_one_permit() {
    let origin = Origin::start();
    origin.on("GET /api/scan/status/*", Script::ok("").json(r#"{"scan_id":7,"status":"running"}"#));
    origin.on("POST /api/scan/execute", Script::status(202).json(r#"{"scan_id":7}"#));
    let proxy = Proxy::start(&origin, SCANS).await;
    assert_eq!(start(&proxy).await.status(), 202);
    for spelling in ["07", "007", "%207", "7;a"] {
        assert_eq!(status(&proxy, spelling).await.status(), 200);
    }
    assert_eq!(held(&proxy).await, 1.0);
}

#[tokio::test]
async fn a_404_is_believed_from_the_one_who_started_the_job() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    let as_alice = |line: &str| request(line).field("Authorization", "alice");
    assert_eq!(proxy.send(&as_alice("POST /api/scan/execute")).await.status(), 202);
    scans.0.1.lock().unwrap().clear();
    assert_eq!(status(&proxy, "s1").await.status(), 404);
    assert_eq!(held(&proxy).await, 1.0, "a stranger may not see it");
    assert_eq!(proxy.send(&as_alice("GET /api/scan/status/s1")).await.status(), 404);
    assert_eq!(held(&proxy).await, 0.0);
    assert_eq!(proxy.metric("forebay_jobs_total", &["outcome=\"gone\""]).await, 1.0);
}
