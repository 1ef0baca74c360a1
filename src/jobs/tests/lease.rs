//! Leases, probes, starts without a name, reloads.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lease_ends_in_time_and_silence_is_broken_by_a_probe() {
    let (table, pool) = (jobs(Spec { lease: seconds(100), ..spec() }), Pool::default());
    let (began, clock) = (table.clock.now(), table.clock);
    let probes = Arc::new(Mutex::new(Vec::new()));
    let keeper = tokio::spawn({
        let (table, probes) = (Arc::clone(&table), Arc::clone(&probes));
        async move {
            let probe = |_: &Arc<Jobs<Permit>>, probe: Probe| {
                let at = clock.now().saturating_duration_since(began);
                probes.lock().push((at.as_secs(), format!("{} {}", probe.id, probe.url.path)));
            };
            keep(|| vec![Arc::clone(&table)], &table.bells, clock, probe).await;
        }
    });
    let at = |time| tokio::time::sleep_until(began + time);
    at(seconds(1)).await;
    table.start("x", start(ALICE), pool.permit());
    at(seconds(21)).await;
    table.polled(&pool, "x", BOB, running());
    at(seconds(101) - Duration::from_millis(5)).await;
    assert_eq!(pool.held(), 1);
    let asked = |at| (at, "x /status/x".to_owned());
    assert_eq!(*probes.lock(), [asked(51), asked(81)], "30 s after the last news");
    at(seconds(101) + Duration::from_millis(5)).await;
    assert_eq!((pool.held(), table.count(Outcome::Expired)), (0, 1));
    table.polled(&pool, "x", ALICE, running());
    assert_eq!(pool.held(), 0, "it had its time");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_name_keeps_its_permit_for_a_while_and_is_told_once() {
    let (table, pool) = (jobs(spec()), Pool::default());
    table.start_unknown(pool.permit());
    table.start_unknown(pool.permit());
    assert!(table.is_first_warning() && !table.is_first_warning());
    assert_eq!((pool.held(), table.figures.unrecognised_starts.value()), (0, 2));
    let table = jobs(Spec { unknown_hold: seconds(10), ..spec() });
    table.start_unknown(pool.permit());
    table.start_unknown(pool.permit());
    assert_eq!((pool.held(), table.list()[0].id.as_str()), (2, "unknown-1"));
    assert!(table.release("unknown-2") && !table.release("unknown-2"));
    advance(seconds(10)).await;
    assert!(table.tend(table.clock.now()).is_empty());
    assert_eq!((pool.held(), table.count(Outcome::Expired), table.count(Outcome::Released)), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_lease_of_running_jobs_and_what_they_hold() {
    let (table, old, new) = (jobs(spec()), Pool::default(), Pool::default());
    table.start("x", start(ALICE), old.permit());
    table.reconfigure(Spec { lease: seconds(50), ..spec() }, || new.permit());
    assert_eq!((old.held(), new.held()), (1, 0));
    table.reconfigure(Spec { lease: seconds(50), holds: Some("others".into()), ..spec() }, || new.permit());
    assert_eq!((old.held(), new.held()), (0, 1));
    advance(seconds(50)).await;
    table.tend(table.clock.now());
    assert_eq!(new.held(), 0);
}
