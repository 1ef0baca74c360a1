//! Starts and statuses that are not as they should be.

use super::{SCANS, Scans, held, scans_with, start, status};
use crate::harness::{Connection, Gate, Origin, Proxy, Script, request, seconds, wait_until};

const START: &str = "POST /api/scan/execute";

async fn unrecognised(proxy: &Proxy, at: &str) -> f64 {
    proxy.metric("forebay_jobs_unrecognised_total", &[&format!("at=\"{at}\"")]).await
}

#[tokio::test]
async fn a_start_without_a_name_gives_its_permit_back_and_is_told_once() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, SCANS).await;
    let long = format!(r#"{{"scan_id":"{}"}}"#, "x".repeat(10 * 1024));
    let answers = ["{}", "not json", r#"{"scan_id":null}"#, &long];
    for answer in answers {
        origin.on(START, Script::status(202).json(answer));
        let got = start(&proxy).await;
        assert_eq!((got.status(), got.text()), (202, answer));
    }
    proxy.wait_for_metric("forebay_jobs_unrecognised_total", &["at=\"start\""], 4.0).await;
    assert_eq!(held(&proxy).await, 0.0);
    let warnings = || proxy.log().iter().filter(|line| line.contains("without a job's name")).count();
    wait_until("it is told", || async { warnings() > 0 }).await;
    assert_eq!(warnings(), 1, "{:#?}", proxy.log());
}

#[tokio::test]
async fn a_start_without_a_name_can_keep_its_permit_for_a_while() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, &scans_with("unknown_hold = '1s'")).await;
    origin.on(START, Script::status(202).json("{}"));
    start(&proxy).await;
    start(&proxy).await;
    start(&proxy).await.assert_problem(429);
    wait_until("they have had their time", || async { held(&proxy).await == 0.0 }).await;
    assert_eq!(start(&proxy).await.status(), 202);
}

#[tokio::test]
async fn a_cap_that_is_found_by_trial_stays_above_what_starts_without_a_name_hold() {
    let origin = Origin::start();
    let config = scans_with("unknown_hold = '60s'")
        .replace("{ max = 2 }", "{ max = 'auto' }")
        .replace("name = 'rest'", "name = 'rest'\nin_flight = 'scans'");
    let proxy = Proxy::start(&origin, &config).await;
    origin.on(START, Script::status(202).json("{}"));
    origin.on("/work", Script::status(503));
    for _ in 0..8 {
        assert_eq!(start(&proxy).await.status(), 202);
    }
    for number in 0..2 {
        assert_eq!(proxy.send(&request("POST /work")).await.status(), 503, "{number}");
    }
    let cap = proxy.metric("forebay_in_flight_max", &["pool=\"scans\""]).await;
    assert_eq!((held(&proxy).await, cap), (8.0, 8.0), "a quarter of 10 less would be too little");
}

#[tokio::test]
async fn a_part_of_a_status_says_nothing_of_the_whole() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    start(&proxy).await;
    let part = Script::status(206).field("content-range", "bytes 10-31/40");
    origin.on("GET /api/scan/status/s1", part.json(r#"{"status":"completed"}"#));
    let chosen = request("GET /api/scan/status/s1").field("Range", "bytes=10-31");
    assert_eq!(proxy.send(&chosen).await.status(), 206);
    assert_eq!(held(&proxy).await, 1.0);
}

#[tokio::test]
async fn a_head_makes_no_old_status_fresh() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    start(&proxy).await;
    assert_eq!(status(&proxy, "s1").await.json()["status"], "running");
    scans.set("s1", "completed");
    // As long as the stored one.
    origin.on("HEAD /*", Script::ok("").json(r#"{"scan_id":"s1","status":"stopped"}"#));
    tokio::time::sleep(seconds(1.1)).await;
    assert_eq!(proxy.send(&request("HEAD /api/scan/status/s1")).await.status(), 200);
    assert_eq!(status(&proxy, "s1").await.json()["status"], "completed");
}

#[tokio::test]
async fn a_location_names_the_job_as_well() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, SCANS).await;
    origin.on(START, Script::status(202).field("location", "/api/scan/status/a%20b").json("{}"));
    assert_eq!(start(&proxy).await.status(), 202);
    assert_eq!(held(&proxy).await, 1.0);
    assert_eq!(proxy.admin_get("/api/jobs").await.json()["jobs"][0]["id"], "a b");
    origin.on("GET /api/scan/status/a%20b", Script::ok("").json(r#"{"status":"completed"}"#));
    assert_eq!(status(&proxy, "a%20b").await.status(), 200);
    assert_eq!(held(&proxy).await, 0.0);
}

#[tokio::test]
async fn a_start_whose_client_leaves_is_known_all_the_same() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let gate = Gate::closed();
    let proxy = Proxy::start(&origin, SCANS).await;
    let body = r#"{"scan_id":"late","status":"running"}"#;
    scans.set("late", "running");
    // Before the head, and in the middle of the body.
    for script in [
        Script::status(202).json(body).when(&gate),
        Script { status: 202, ..Script::chunked() }
            .body(&body.as_bytes()[..9])
            .wait(&gate)
            .body(&body.as_bytes()[9..]),
    ] {
        origin.on(START, script);
        let mut client = Connection::open(proxy.address).await;
        client.send(request(START).bytes()).await;
        wait_until("the start is with the backend", || async { origin.active(START) == 1 }).await;
        drop(client);
    }
    gate.open();
    proxy.wait_for_metric("forebay_jobs_active", &[], 1.0).await;
    wait_until("nothing else holds a permit", || async { held(&proxy).await == 1.0 }).await;
}

#[tokio::test]
async fn a_start_that_is_told_504_is_known_all_the_same() {
    let origin = Origin::start();
    let gate = Gate::closed();
    let config = SCANS.replace("in_flight = 'scans'", "in_flight = 'scans'\ntimeout = '500ms'");
    let proxy = Proxy::start(&origin, &config).await;
    origin.on(START, Script::status(202).json(r#"{"scan_id":"slow"}"#).when(&gate));
    start(&proxy).await.assert_problem(504);
    assert_eq!(held(&proxy).await, 1.0);
    gate.open();
    proxy.wait_for_metric("forebay_jobs_active", &[], 1.0).await;
    assert_eq!(held(&proxy).await, 1.0);
}

#[tokio::test]
async fn a_start_that_fails_starts_nothing() {
    let origin = Origin::start();
    let proxy = Proxy::start(&origin, SCANS).await;
    for status in [400, 409, 500, 302] {
        origin.on(START, Script::status(status).json(r#"{"scan_id":"x"}"#));
        assert_eq!(start(&proxy).await.status(), status);
    }
    origin.on(START, Script::status(202).json(r#"{"scan_id":"x","status":"completed"}"#));
    assert_eq!(start(&proxy).await.status(), 202);
    wait_until("every permit is back", || async { held(&proxy).await == 0.0 }).await;
    assert_eq!(unrecognised(&proxy, "start").await, 0.0);
}

#[tokio::test]
async fn statuses_that_cannot_be_read_pass_and_decide_nothing() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    start(&proxy).await;
    // Zeros of a megabyte, compressed to a kilobyte: nobody unpacks them.
    let bomb = Script::ok(vec![0x1f, 0x8b, 8, 0]).field("content-encoding", "gzip");
    let huge = Script::chunked()
        .body(r#"{"status":"completed","results":""#)
        .repeat(vec![b'x'; 1 << 20], 100)
        .body("\"}");
    for (script, length) in
        [(bomb, 4), (huge, (100 << 20) + 35), (Script::ok("<html>"), 6), (Script::status(500), 0)]
    {
        origin.on("GET /api/scan/status/s1", script);
        let answer = proxy.send(&request("GET /api/scan/status/s1").field("Cache-Control", "no-cache")).await;
        assert_eq!((answer.body.len(), answer.cut_short), (length, None));
        tokio::time::sleep(seconds(1.1)).await;
    }
    assert_eq!(held(&proxy).await, 1.0);
    assert!(proxy.resident() < 100 << 20, "{} bytes", proxy.resident());
    let id = "x".repeat(10 * 1024);
    origin.on(&format!("/api/scan/status/{id}"), Script::ok("").json(r#"{"status":"running"}"#));
    assert_eq!(status(&proxy, &id).await.status(), 200);
    assert_eq!((held(&proxy).await, unrecognised(&proxy, "status").await), (1.0, 4.0));
}

/// Two backends that both call their first job 1.
#[tokio::test]
async fn equal_names_of_two_upstreams_are_two_jobs() {
    let origin = Origin::start();
    let config = "
        upstreams.one = {}
        upstreams.two = {}
        in_flight.one = { max = 1 }
        in_flight.two = { max = 1 }
        jobs.one = { start = 'start-1', id = '/id', status = 'status-1', state = '/s', done = ['ok'] }
        jobs.two = { start = 'start-2', id = '/id', status = 'status-2', state = '/s', done = ['ok'] }
        routes = [
            { name = 'start-1', match = 'POST /1/jobs', upstream = 'one', in_flight = 'one' },
            { name = 'start-2', match = 'POST /2/jobs', upstream = 'two', in_flight = 'two' },
            { name = 'status-1', match = 'GET /1/jobs/{id}', upstream = 'one' },
            { name = 'status-2', match = 'GET /2/jobs/{id}', upstream = 'two' },
        ]";
    let proxy = Proxy::start(&origin, config).await;
    origin.on("POST /1/jobs", Script::status(201).json(r#"{"id":1,"s":"at work"}"#));
    origin.on("POST /2/jobs", Script::status(201).json(r#"{"id":1,"s":"at work"}"#));
    origin.on("/1/jobs/1", Script::ok("").json(r#"{"s":"ok"}"#));
    for path in ["/1/jobs", "/2/jobs"] {
        assert_eq!(proxy.send(&request(&format!("POST {path}"))).await.status(), 201);
        proxy.send(&request(&format!("POST {path}"))).await.assert_problem(429);
    }
    assert_eq!(proxy.get("/1/jobs/1").await.status(), 200);
    assert_eq!((active(&proxy, "one").await, active(&proxy, "two").await), (0.0, 1.0));
    proxy.send(&request("POST /2/jobs")).await.assert_problem(429);
    assert_eq!(proxy.send(&request("POST /1/jobs")).await.status(), 201);
    let released = proxy.admin_send(&request("DELETE /api/jobs/1?job=one")).await;
    assert_eq!(released.json()["released"], 1);
    assert_eq!((active(&proxy, "one").await, active(&proxy, "two").await), (0.0, 1.0));
}

async fn active(proxy: &Proxy, job: &str) -> f64 {
    proxy.metric("forebay_jobs_active", &[&format!("job=\"{job}\"")]).await
}
