//! Any order of what can happen: no permit leaks, none is given back twice.

use super::*;

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
