//! What survives the process, and a disk that hangs.

use super::*;

#[tokio::test(start_paused = true)]
async fn jobs_come_back_with_their_age_and_are_asked_for_at_once() {
    let folder = std::env::temp_dir().join(format!("forebay-jobs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let spec = Spec { state_file: Some(folder.join("jobs.json")), unknown_hold: seconds(10), ..spec() };
    let (before, pool) = (jobs(spec.clone()), Pool::default());
    before.start("x", start(ALICE), pool.permit());
    before.start("over", start(ALICE), pool.permit());
    before.polled(&pool, "over", ALICE, Reading::Final);
    advance(seconds(60)).await;
    let mut under_way = before.starting();
    before.save().await;
    under_way.written_down().await;
    // A process of its own, by the same clock.
    let (after, pool) = (Jobs::new(spec, before.clock, Arc::default()), Pool::default());
    assert_eq!(after.restore(|| pool.permit()).unwrap(), 2);
    assert_eq!((pool.held(), after.restore(|| pool.permit()).unwrap()), (2, 0), "once");
    let probes = after.tend(after.clock.now());
    assert_eq!(
        probes.iter().map(|probe| (&*probe.id, &*probe.url.path)).collect::<Vec<_>>(),
        [("x", "/status/x")]
    );
    let age = after.list()[0].age;
    assert!(age >= seconds(59) && age < seconds(70), "{age:?}");
    advance(seconds(10)).await;
    after.tend(after.clock.now());
    assert_eq!(
        (pool.held(), after.list()[0].id.as_str()),
        (1, "x"),
        "the start that was under way had its time"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_a_disk_that_hangs_once_and_for_one_that_fails_not_at_all() {
    let nowhere = std::env::temp_dir().join(format!("forebay-nowhere-{}", std::process::id()));
    let spec = Spec { state_file: Some(nowhere.join("jobs.json")), unknown_hold: seconds(3), ..spec() };
    let table = jobs(spec);
    let waited = async |starting: &mut Starting<Permit>| {
        let before = table.clock.now();
        starting.written_down().await;
        let sent = table.clock.now();
        table.changed();
        starting.wait().written_down().await;
        ((sent - before).as_secs(), (table.clock.now() - sent).as_secs())
    };
    // Nobody writes.
    assert_eq!(waited(&mut table.starting()).await, (2, 0));
    table.save().await;
    assert_eq!(table.figures.failed_saves.value(), 1);
    assert_eq!(waited(&mut table.starting()).await, (0, 0));
}
