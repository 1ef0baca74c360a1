//! Jobs outlive the process and its configuration.

use std::time::{Duration, Instant};

use super::{SCANS, Scans, held, scans_with, start, status};
use crate::harness::{Origin, Proxy, Scratch, request, wait_until};

#[tokio::test]
async fn jobs_hold_their_permits_again_after_a_kill_and_are_asked_for_at_once() {
    let (origin, scratch) = (Origin::start(), Scratch::new());
    let scans = Scans::on(&origin);
    let file = scratch.path().join("jobs.json");
    let config = scans_with(&format!("state_file = '{}'\nprobe = '1h'", file.display()));
    let killed = Proxy::start(&origin, &config).await;
    assert_eq!(start(&killed).await.status(), 202);
    assert_eq!(start(&killed).await.status(), 202);
    // At once: whoever was told a job's name can rely on it.
    killed.kill().await;
    scans.set("s1", "completed");
    let proxy = Proxy::start(&origin, &config).await;
    wait_until("the one that is done is known to be", || async { held(&proxy).await == 1.0 }).await;
    assert_eq!((origin.count("/api/scan/status/s1"), origin.count("/api/scan/status/s2")), (1, 1));
    assert_eq!(start(&proxy).await.status(), 202);
    start(&proxy).await.assert_problem(429);
    // An orderly end writes, too.
    drop(proxy);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"s2\"") && text.contains("\"s3\"") && !text.contains("\"s1\""), "{text}");
}

#[tokio::test]
async fn a_torn_file_is_set_aside_and_serving_begins() {
    let (origin, scratch) = (Origin::start(), Scratch::new());
    let _scans = Scans::on(&origin);
    let file = scratch.write("jobs.json", "{\"format\": \"forebay jobs\", \"versi");
    let proxy = Proxy::start(&origin, &scans_with(&format!("state_file = '{}'", file.display()))).await;
    assert!(proxy.log().iter().any(|line| line.contains("set aside")), "{:#?}", proxy.log());
    assert!(scratch.path().join("jobs.json.aside").exists());
    assert_eq!(start(&proxy).await.status(), 202);
    wait_until("a new one is written", || async { file.exists() }).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_of_at_once_and_holds_no_start_up() {
    let (origin, scratch) = (Origin::start(), Scratch::new());
    let _scans = Scans::on(&origin);
    let folder = scratch.path().join("later");
    let file = folder.join("jobs.json");
    let keys = format!("state_file = '{}'\nunknown_hold = '3s'", file.display());
    let proxy = Proxy::start(&origin, &scans_with(&keys)).await;
    wait_until("the log says so before anybody starts anything", || async {
        proxy.log().iter().any(|line| line.contains("cannot be written down") && line.contains("jobs.json"))
    })
    .await;
    assert!(proxy.metric("forebay_jobs_failed_saves_total", &["job=\"scan\""]).await >= 1.0);
    let began = Instant::now();
    assert_eq!(start(&proxy).await.status(), 202);
    assert!(began.elapsed() < Duration::from_secs(2), "it waited for {:?}", began.elapsed());
    std::fs::create_dir(&folder).unwrap();
    wait_until("it is tried again", || async {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"s1\""))
    })
    .await;
}

#[tokio::test]
async fn jobs_survive_a_reload_another_name_and_another_pool() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    assert_eq!(start(&proxy).await.status(), 202);
    assert_eq!(start(&proxy).await.status(), 202);
    let renamed = SCANS.replace("jobs.scan", "jobs.other").replace("scans", "works");
    proxy.rewrite(&renamed);
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    assert_eq!(proxy.metric("forebay_in_flight", &["pool=\"works\""]).await, 2.0);
    start(&proxy).await.assert_problem(429);
    scans.set("s1", "completed");
    assert_eq!(status(&proxy, "s1").await.json()["status"], "completed");
    assert_eq!(proxy.metric("forebay_jobs_active", &["job=\"other\""]).await, 1.0);
    assert_eq!(start(&proxy).await.status(), 202);
    // Without the table nobody could tell that they are done.
    proxy.rewrite("in_flight.works = { max = 2 }\nroutes = [{ name = 'start', match = '/{*rest}', in_flight = 'works' }]");
    assert_eq!(proxy.admin_post("/api/reload", "").await.status(), 200);
    wait_until("the permits are back", || async {
        proxy.metric("forebay_in_flight", &["pool=\"works\""]).await == 0.0
    })
    .await;
    assert_eq!(proxy.send(&request("POST /x")).await.status(), 200);
}
