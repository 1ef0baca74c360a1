//! Random schedules: what must hold whoever comes, leaves and finishes when.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Ask { client: u128, priority: u8 },
    Poll(proptest::sample::Index),
    Leave(proptest::sample::Index),
    Release(proptest::sample::Index),
    Resize(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u128, 0..10_u8).prop_map(|(client, priority)| Step::Ask { client, priority }),
        4 => any::<proptest::sample::Index>().prop_map(Step::Poll),
        2 => any::<proptest::sample::Index>().prop_map(Step::Leave),
        4 => any::<proptest::sample::Index>().prop_map(Step::Release),
        1 => (1..5_usize).prop_map(Step::Resize),
        1 => (0..6_000_u64).prop_map(Step::Wait),
    ]
}

fn small() -> Spec {
    Spec { per: Some((KeySpec::client_ip(), 2)), ..queued(3, 6) }
}

/// Random requests, departures, releases and sizes; in the end nothing may be left.
async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let pool = pool(small());
    let mut requests: Vec<(u128, Request<'_>)> = Vec::new();
    let mut held: Vec<(u128, Permit)> = Vec::new();
    let mut max = 3;
    for step in steps {
        let in_flight_before = pool.stats().in_flight;
        match step {
            Step::Ask { client, priority } => {
                let mut request = Request::new(&pool, urgent(client, priority));
                match request.poll() {
                    Some(Ok(permit)) => held.push((client, permit)),
                    Some(Err(_)) => {}
                    None => requests.push((client, request)),
                }
            }
            Step::Poll(which) if !requests.is_empty() => {
                let at = which.index(requests.len());
                if let Some(answer) = requests[at].1.poll() {
                    let (client, _) = requests.swap_remove(at);
                    held.extend(answer.ok().map(|permit| (client, permit)));
                }
            }
            Step::Leave(which) if !requests.is_empty() => {
                requests.swap_remove(which.index(requests.len()));
            }
            Step::Release(which) if !held.is_empty() => {
                drop(held.swap_remove(which.index(held.len())));
            }
            Step::Resize(to) => {
                max = to;
                pool.reconfigure(Spec { max, ..small() });
            }
            Step::Wait(millis) => advance(Duration::from_millis(millis)).await,
            Step::Poll(_) | Step::Leave(_) | Step::Release(_) => {}
        }
        let stats = pool.stats();
        prop_assert!(stats.in_flight <= max.max(in_flight_before), "{stats:?}");
        prop_assert!(stats.in_flight >= held.len() && stats.queued <= 6);
        for client in 0..4 {
            prop_assert!(held.iter().filter(|(holder, _)| *holder == client).count() <= 2);
        }
        if stats.in_flight < max {
            prop_assert_eq!(stats.queued, stats.held_back, "whoever waits is held back by its own key");
        }
    }
    // Nobody starves: whoever is still there goes when permits come back.
    for _ in 0..requests.len() + held.len() {
        held.pop();
        let mut left = Vec::new();
        for (client, mut request) in requests.drain(..) {
            match request.poll() {
                Some(answer) => held.extend(answer.ok().map(|permit| (client, permit))),
                None => left.push((client, request)),
            }
        }
        requests = left;
    }
    prop_assert!(requests.is_empty(), "{} are left behind", requests.len());
    held.clear();
    prop_assert_eq!((pool.stats().in_flight, pool.stats().queued), (0, 0));
    prop_assert!(pool.admit(asking(1)).await.is_ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn never_over_the_cap_and_nothing_leaks(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps))?;
    }

    #[test]
    fn no_client_is_served_twice_while_another_of_its_priority_waits(counts in proptest::collection::vec(1..6_usize, 2..5)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let served = runtime.block_on(async {
            let pool = pool(queued(1, 30));
            let mut holder = Some(pool.admit(asking(99)).await.unwrap());
            let clients = counts.iter().enumerate().flat_map(|(client, count)| std::iter::repeat_n(client as u128, *count));
            let mut waiting: Vec<_> = clients.map(|client| (client, Request::waiting(&pool, asking(client)))).collect();
            let mut served = Vec::new();
            while !waiting.is_empty() {
                drop(holder.take());
                let at = waiting.iter_mut().position(|(_, request)| match request.poll() {
                    Some(permit) => { holder = permit.ok(); true }
                    None => false,
                }).unwrap();
                served.push(usize::try_from(waiting.remove(at).0).unwrap());
            }
            served
        });
        let mut left = counts.clone();
        let mut turns = vec![0_usize; left.len()];
        for client in served {
            left[client] -= 1;
            turns[client] += 1;
            for (other, waiting) in left.iter().enumerate() {
                prop_assert!(*waiting == 0 || turns[client] <= turns[other] + 1);
            }
        }
    }
}
