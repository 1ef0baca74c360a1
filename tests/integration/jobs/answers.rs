//! What pollers are told, and what the backend is not asked again.

use super::{SCANS, Scans, scans_with, start, status};
use crate::harness::{Origin, Proxy, request, wait_until};

#[tokio::test]
async fn a_running_job_tells_when_to_ask_again_the_same_to_all() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    start(&proxy).await;
    for tab in 0..3 {
        let answer = status(&proxy, "s1").await;
        assert_eq!(answer.field("cache-control"), Some("private, max-age=5"), "tab {tab}");
        assert_eq!(answer.field("retry-after"), Some("5"), "tab {tab}");
        assert_eq!(answer.cache_says("hit"), tab > 0);
    }
    assert_eq!(origin.count("GET /api/scan/status/s1"), 1);
}

#[tokio::test]
async fn the_pace_slows_down_with_the_jobs_age() {
    let origin = Origin::start();
    let _scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, &scans_with("pace = { initial = '1s', max = '3s', factor = 2 }")).await;
    start(&proxy).await;
    assert_eq!(status(&proxy, "s1").await.field("retry-after"), Some("1"));
    for interval in ["2", "3"] {
        wait_until("it slows down", || async {
            status(&proxy, "s1").await.field("retry-after") == Some(interval)
        })
        .await;
    }
}

#[tokio::test]
async fn a_final_status_is_kept_without_a_pace_until_something_changes_it() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    start(&proxy).await;
    scans.set("s1", "completed");
    for tab in 0..3 {
        let answer = status(&proxy, "s1").await;
        assert_eq!(answer.json()["status"], "completed");
        assert_eq!((answer.field("retry-after"), answer.field("cache-control")), (None, Some("no-store")));
        let says = if tab == 0 { "ttl=3600" } else { "hit" };
        assert!(answer.cache_says(says), "{answer:?}");
    }
    assert_eq!(origin.count("GET /api/scan/status/s1"), 1);
    // A change of the job itself.
    scans.set("s1", "running");
    assert_eq!(proxy.send(&request("DELETE /api/scan/status/s1")).await.status(), 200);
    assert_eq!(status(&proxy, "s1").await.json()["status"], "running");
}

/// A backend that counts its jobs anew after a restart.
#[tokio::test]
async fn a_new_job_of_an_old_name_does_not_inherit_its_status() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    scans.set("s1", "completed");
    assert_eq!(status(&proxy, "s1").await.json()["status"], "completed");
    assert_eq!(start(&proxy).await.json()["scan_id"], "s1");
    assert_eq!(status(&proxy, "s1").await.json()["status"], "running");
}

#[tokio::test]
async fn a_status_is_asked_for_whole_and_uncompressed() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    scans.set("s1", "running");
    let poll = request("GET /api/scan/status/s1")
        .field("Accept-Encoding", "gzip, br")
        .field("If-None-Match", "\"x\"");
    assert_eq!(proxy.send(&poll).await.status(), 200);
    let seen = origin.only("GET /api/scan/status/s1");
    assert_eq!((seen.field("accept-encoding"), seen.field("if-none-match")), (Some("identity"), None));
}

#[tokio::test]
async fn one_users_final_status_is_not_anothers() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let proxy = Proxy::start(&origin, SCANS).await;
    scans.set("s1", "completed");
    for user in ["alice", "bob", "alice"] {
        let poll = request("GET /api/scan/status/s1").field("Authorization", user);
        assert_eq!(proxy.send(&poll).await.status(), 200);
    }
    assert_eq!(origin.count("GET /api/scan/status/s1"), 2);
}

/// Without a store and without collapsing, each poll goes its own way, and tells all the same.
#[tokio::test]
async fn a_route_that_stores_nothing_tells_of_jobs_too() {
    let origin = Origin::start();
    let scans = Scans::on(&origin);
    let config =
        SCANS.replace("cache = { mode = 'force', ttl = '1s' }", "cache = { mode = 'off' }\ncollapse = 'off'");
    let proxy = Proxy::start(&origin, &config).await;
    start(&proxy).await;
    assert_eq!(status(&proxy, "s1").await.field("retry-after"), Some("5"));
    scans.set("s1", "completed");
    assert_eq!(status(&proxy, "s1").await.field("retry-after"), None);
    assert_eq!(super::held(&proxy).await, 0.0);
}
