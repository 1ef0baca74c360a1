//! What ends a job and what does not: its status, a 404, who says so and when.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_job_holds_its_permit_until_its_status_is_final() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("x", start(ALICE), pool.permit());
    advance(seconds(60)).await;
    assert_eq!(jobs.polled(&pool, "x", BOB, running()), Standing::Running(seconds(60)));
    for nothing in [Reading::Nothing, Reading::Unreadable] {
        assert_eq!(jobs.polled(&pool, "x", ALICE, nothing), Standing::Unknown);
    }
    assert_eq!((pool.held(), jobs.active()), (1, 1));
    assert_eq!(jobs.polled(&pool, "x", BOB, Reading::Final), Standing::Final);
    assert_eq!(jobs.polled(&pool, "x", ALICE, Reading::Final), Standing::Final, "every tab is told");
    assert_eq!((pool.held(), jobs.active(), jobs.count(Outcome::Done)), (0, 0, 1));
    assert_eq!(pool.given_back.load(Ordering::Relaxed), 1);
    assert_eq!(jobs.figures.unrecognised_statuses.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_404_counts_from_the_starter_and_from_the_probe_only() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("x", start(ALICE), pool.permit());
    for stranger in [BOB, Identity::Anonymous] {
        jobs.polled(&pool, "x", stranger, Reading::Gone);
        assert_eq!(pool.held(), 1);
    }
    jobs.polled(&pool, "x", ALICE, Reading::Gone);
    assert_eq!((pool.held(), jobs.count(Outcome::Gone)), (0, 1));
    // Nobody here started this one.
    jobs.polled(&pool, "y", ALICE, running());
    jobs.polled(&pool, "y", ALICE, Reading::Gone);
    assert_eq!(pool.held(), 1);
    jobs.seen(&pool, "y", By::Probe, Reading::Gone, jobs.clock.now());
    assert_eq!(pool.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_404_from_elsewhere_or_from_another_without_credentials_ends_nothing() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("x", start(Identity::Anonymous), pool.permit());
    for (client, host, path, held) in [
        (7, "other", "/status/x", 1),
        (7, "host", "/elsewhere/x", 1),
        (8, "host", "/status/x", 1),
        (7, "host", "/status/x?_=1", 0),
    ] {
        let by = By::Poller { identity: Identity::Anonymous, client: PartitionKey(client) };
        let seen = Seen { reading: Reading::Gone, asked: jobs.clock.now(), by, url: Url::new(host, path) };
        jobs.observe("x", &seen, || pool.permit());
        assert_eq!(pool.held(), held, "{client} {host} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_probe_asks_where_a_job_was_found_and_not_where_it_was_looked_for() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("x", Start { url: None, ..start(ALICE) }, pool.permit());
    for (path, reading) in [
        ("/evil/x", Reading::Gone),
        ("/odd/x", Reading::Unreadable),
        ("/status/x", running()),
        ("/b/x", running()),
    ] {
        let by = By::Poller { identity: BOB, client: PartitionKey(8) };
        let seen = Seen { reading, asked: jobs.clock.now(), by, url: Url::new("host", path) };
        jobs.observe("x", &seen, || pool.permit());
    }
    advance(seconds(30)).await;
    let probes = jobs.tend(jobs.clock.now());
    assert_eq!(probes[0].url, Url::new("host", "/status/x").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_name_in_another_spelling_is_the_same_job() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("7", start(ALICE), pool.permit());
    for (in_path, own, expected) in [
        ("7", Some("8"), "7"),
        ("07", Some("7"), "7"),
        ("7;x", Some("7"), "7"),
        ("9", Some("9"), "9"),
        ("unheard", None, "unheard"),
    ] {
        assert_eq!(jobs.name(in_path.to_owned(), || own.map(Box::from)), expected, "{in_path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_started_here_takes_a_permit() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    assert_eq!(jobs.polled(&pool, "x", BOB, running()), Standing::Running(Duration::ZERO));
    jobs.polled(&pool, "x", ALICE, running());
    assert_eq!(pool.held(), 1);
    // Its start is answered after its first status.
    jobs.start("x", start(ALICE), pool.permit());
    assert_eq!((pool.held(), jobs.active()), (1, 1));
    assert!(!jobs.list()[0].is_adopted);
    jobs.polled(&pool, "over", BOB, Reading::Final);
    jobs.polled(&pool, "never", BOB, Reading::Gone);
    assert_eq!((pool.held(), jobs.active()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_older_than_the_news_changes_nothing() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    let by = By::Poller { identity: ALICE, client: PartitionKey(7) };
    let before = jobs.clock.now();
    advance(seconds(1)).await;
    jobs.start("x", start(ALICE), pool.permit());
    jobs.seen(&pool, "x", by, Reading::Final, before);
    assert_eq!(pool.held(), 1, "it was the last job of that name that was over");
    let while_running = jobs.clock.now();
    advance(seconds(1)).await;
    jobs.polled(&pool, "x", ALICE, Reading::Final);
    assert_eq!(jobs.seen(&pool, "x", by, running(), while_running), Standing::Unknown);
    assert_eq!((pool.held(), jobs.active()), (0, 0), "a slow answer brings no job back");
    // The upstream says so again: it runs once more.
    advance(seconds(1)).await;
    jobs.polled(&pool, "x", ALICE, running());
    assert_eq!(pool.held(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_let_go_stays_so_while_the_upstream_goes_on_about_it() {
    let (jobs, pool) = (jobs(spec()), Pool::default());
    jobs.start("x", start(ALICE), pool.permit());
    assert!(jobs.release("x") && !jobs.release("x") && !jobs.release("y"));
    assert_eq!((pool.held(), jobs.count(Outcome::Released)), (0, 1));
    for _ in 0..100 {
        advance(seconds(60)).await;
        assert!(matches!(jobs.polled(&pool, "x", ALICE, running()), Standing::Running(_)));
        jobs.tend(jobs.clock.now());
        assert_eq!(pool.held(), 0);
    }
    jobs.start("x", start(ALICE), pool.permit());
    assert_eq!(pool.held(), 1, "a new start is a new job");
}

/// The keeper under paused time: what is due happens then, not a second later.

#[test]
fn a_body_that_no_pointer_matches_and_one_that_is_compressed_say_nothing() {
    let spec = Spec { state: Pointer::parse("/a/b/c").unwrap(), ..spec() };
    for body in [&br#"{"status":"completed"}"#[..], b"\x1f\x8b\x08\x00bomb", b"[[[[[["] {
        assert_eq!(spec.read_status(StatusCode::OK, Some(body)), Reading::Unreadable);
        assert_eq!(spec.read_start(Some(b"{}")), StartReading::Nameless);
    }
}
