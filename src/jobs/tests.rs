use std::sync::atomic::AtomicI64;

use http::StatusCode;
use proptest::prelude::*;
use tokio::time::advance;

use super::*;

/// A pool that counts: what a job holds is a permit of it.
#[derive(Debug, Clone, Default)]
struct Pool {
    held: Arc<AtomicI64>,
    given_back: Arc<AtomicI64>,
}

#[derive(Debug)]
struct Permit(Pool);

impl Pool {
    fn permit(&self) -> Permit {
        self.held.fetch_add(1, Ordering::Relaxed);
        Permit(self.clone())
    }

    fn held(&self) -> i64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.given_back.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn spec() -> Spec {
    Spec {
        name: "scan".into(),
        routes: ("start".into(), "status".into()),
        id: Pointer::parse("/scan_id").unwrap(),
        state: Pointer::parse("/status").unwrap(),
        done: ["completed", "failed"].map(Box::from).into(),
        holds: Some("scans".into()),
        lease: seconds(3600),
        probe: seconds(30),
        unknown_hold: Duration::ZERO,
        pace: Pace { initial: seconds(5), max: seconds(30), factor: 1.2 },
        state_file: None,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn jobs(spec: Spec) -> Arc<Jobs<Permit>> {
    Arc::new(Jobs::new(spec, Clock::start(), Arc::default()))
}

fn start(identity: Identity) -> Start {
    Start {
        starter: By::Poller { identity, client: PartitionKey(7) },
        url: Url::new("host", "/status/x"),
        credentials: None,
    }
}

const ALICE: Identity = Identity::Known(1);
const BOB: Identity = Identity::Known(2);

impl Jobs<Permit> {
    /// A status answer to a poller, asked for and answered now.
    fn polled(&self, pool: &Pool, id: &str, identity: Identity, reading: Reading) -> Standing {
        self.seen(pool, id, By::Poller { identity, client: PartitionKey(7) }, reading, self.clock.now())
    }

    fn seen(&self, pool: &Pool, id: &str, by: By, reading: Reading, asked: Instant) -> Standing {
        let seen = Seen { reading, asked, by, url: Url::new("host", "/status/x") };
        self.observe(id, &seen, || pool.permit())
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.figures.outcome(outcome).value()
    }
}

fn running() -> Reading {
    Reading::Running("running".into())
}

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

#[tokio::test(start_paused = true)]
async fn a_million_jobs_through_a_cap_of_two_leave_nothing_behind() {
    let (table, pool) = (jobs(spec()), Pool::default());
    let mut most = [0; 3];
    for number in 0..500_000_u32 {
        let ids = [format!("a{number}"), format!("b{number}")];
        for id in &ids {
            table.start(id, start(ALICE), pool.permit());
        }
        assert_eq!(pool.held(), 2);
        match number % 4 {
            0 => ids.iter().for_each(|id| assert!(table.release(id))),
            1 => ids
                .iter()
                .for_each(|id| assert_eq!(table.polled(&pool, id, ALICE, Reading::Gone), Standing::Unknown)),
            _ => ids
                .iter()
                .for_each(|id| assert_eq!(table.polled(&pool, id, BOB, Reading::Final), Standing::Final)),
        }
        if number % 1000 == 0 {
            advance(seconds(1)).await;
        }
        if number % 50 != 0 {
            continue;
        }
        for (most, size) in most.iter_mut().zip(table.table.lock().sizes()) {
            *most = size.max(*most);
        }
    }
    assert_eq!((pool.held(), pool.given_back.load(Ordering::Relaxed)), (0, 1_000_000));
    assert!(most[0] <= 10_004 && most[1] <= 2 && most[2] <= 10_002, "{most:?}");
    advance(seconds(1300)).await;
    table.start("last", start(ALICE), pool.permit());
    assert!(table.release("last"));
    assert_eq!(table.table.lock().sizes(), [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn invented_jobs_fill_the_table_to_its_bound_and_not_beyond() {
    let (table, pool) = (jobs(spec()), Pool::default());
    for number in 0..70_000 {
        table.polled(&pool, &number.to_string(), BOB, running());
    }
    assert_eq!(
        (pool.held(), table.active(), table.figures.overflowed.value()),
        (65_536, 65_536, 70_000 - 65_536)
    );
}

#[derive(Debug, Clone)]
enum Step {
    /// A POST, if there is a permit; its answer comes later.
    Send,
    /// The answer to one of the POSTs, read to its end whether its client is there or not.
    Answer(prop::sample::Index, Option<u8>),
    Status {
        id: u8,
        by: u8,
        reading: u8,
        asked_ago: u64,
    },
    Delete(u8),
    Tend,
    Reload {
        lease: u64,
        other_pool: bool,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Send),
        4 => (any::<prop::sample::Index>(), prop::option::weighted(0.8, 0..6_u8)).prop_map(|(which, id)| Step::Answer(which, id)),
        6 => (0..6_u8, 0..3_u8, 0..5_u8, 0..3_u64)
            .prop_map(|(id, by, reading, asked_ago)| Step::Status { id, by, reading, asked_ago }),
        1 => (0..6_u8).prop_map(Step::Delete),
        2 => Just(Step::Tend),
        1 => (1..100_u64, any::<bool>()).prop_map(|(lease, other_pool)| Step::Reload { lease, other_pool }),
        2 => (0..40_u64).prop_map(Step::Wait),
    ]
}

/// Any order of starts, answers, polls, probes, deletions, leases and reloads.
async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    const CAP: i64 = 2;
    let spec = |lease| Spec { lease: seconds(lease), unknown_hold: seconds(5), ..spec() };
    let (table, mut pool, mut lease) = (jobs(spec(60)), Pool::default(), 60);
    let pools = [pool.clone(), Pool::default()];
    let (mut sent, mut adopted) = (Vec::new(), 0);
    for step in steps {
        let before = table.active();
        match step {
            Step::Send if pool.held() < CAP => sent.push(pool.permit()),
            Step::Answer(which, id) if !sent.is_empty() => {
                let permit = sent.swap_remove(which.index(sent.len()));
                match id {
                    Some(id) => table.start(&id.to_string(), start(ALICE), permit),
                    None => table.start_unknown(permit),
                }
            }
            Step::Send | Step::Answer(..) => {}
            Step::Status { id, by, reading, asked_ago } => {
                let poller = |identity| By::Poller { identity, client: PartitionKey(1) };
                let by = [By::Probe, poller(ALICE), poller(BOB)][usize::from(by)];
                let reading = match reading {
                    0 | 1 => running(),
                    2 => Reading::Final,
                    3 => Reading::Gone,
                    _ => Reading::Nothing,
                };
                let asked = table.clock.now().checked_sub(seconds(asked_ago)).unwrap();
                table.seen(&pool, &id.to_string(), by, reading, asked);
                adopted += i64::from(table.active() > before);
            }
            Step::Delete(id) => drop(table.release(&id.to_string())),
            Step::Tend => drop(table.tend(table.clock.now())),
            Step::Reload { lease: next, other_pool } => {
                lease = next;
                if other_pool {
                    // What is being sent holds a permit of the old one until it is answered.
                    sent.clear();
                    pool = pools[usize::from(Arc::ptr_eq(&pool.held, &pools[0].held))].clone();
                }
                let holds = Some(if Arc::ptr_eq(&pool.held, &pools[0].held) { "one" } else { "two" }.into());
                let new = pool.clone();
                table.reconfigure(Spec { holds, ..spec(lease) }, || new.permit());
            }
            Step::Wait(time) => advance(seconds(time)).await,
        }
        let all = pools.iter().map(Pool::held).sum::<i64>();
        let at_work = i64::try_from(table.active()).unwrap();
        prop_assert_eq!(
            all,
            at_work + i64::try_from(sent.len()).unwrap(),
            "every job holds one, and nobody else any"
        );
        prop_assert!(all <= CAP + adopted, "{} with {} adopted", all, adopted);
    }
    drop(sent);
    advance(seconds(lease.max(5))).await;
    table.tend(table.clock.now());
    prop_assert_eq!((table.active(), pools.iter().map(Pool::held).sum::<i64>()), (0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn permits_never_leak_and_are_given_back_once(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps))?;
    }
}

#[test]
fn a_body_that_no_pointer_matches_and_one_that_is_compressed_say_nothing() {
    let spec = Spec { state: Pointer::parse("/a/b/c").unwrap(), ..spec() };
    for body in [&br#"{"status":"completed"}"#[..], b"\x1f\x8b\x08\x00bomb", b"[[[[[["] {
        assert_eq!(spec.read_status(StatusCode::OK, Some(body)), Reading::Unreadable);
        assert_eq!(spec.read_start(Some(b"{}")), StartReading::Nameless);
    }
}
