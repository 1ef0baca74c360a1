//! What a permit costs: free, contended, and with a queue of waiters behind it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use forebay::admission::{Asking, Pool, QueueSpec, Spec};
use forebay::client::{KeySpec, PartitionKey};
use forebay::clock::Clock;
use http::StatusCode;

fn main() {
    divan::main();
}

fn pool(max: usize, queue: usize) -> Arc<Pool> {
    let spec = Spec {
        name: "bench".into(),
        max,
        auto: None,
        per: Some((KeySpec::client_ip(), max)),
        queue: Some(QueueSpec { size: queue, timeout: Duration::from_secs(3600) }),
        status: StatusCode::TOO_MANY_REQUESTS,
        observe: false,
    };
    Arc::new(Pool::new(spec, Clock::start()))
}

fn asking(client: u128) -> Asking {
    Asking { per_key: Some(PartitionKey(client)), client: PartitionKey(client), priority: 5 }
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn a_free_permit(bencher: Bencher<'_, '_>) {
    let pool = pool(100, 20);
    bencher.bench(|| {
        let admit = pin!(pool.admit(asking(1)));
        // Dropped here, not after the sample.
        admit.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    });
}

#[divan::bench(sample_size = 10_000)]
fn a_refusal(bencher: Bencher<'_, '_>) {
    let pool = pool(0, 0);
    bencher.bench(|| {
        let admit = pin!(pool.admit(asking(1)));
        admit.poll(&mut Context::from_waker(Waker::noop()))
    });
}

/// So many permits make one measured sample.
const GRANTS: u64 = 1_000;

/// Each permit goes through the queue: one comes back, one of `waiters` gets it and lines up again. Ten requests of each
/// client wait, with all priorities.
#[divan::bench(args = [1, 20, 1_000, 10_000], sample_count = 200, sample_size = 1)]
fn a_thousand_permits_by_way_of_the_queue(bencher: Bencher<'_, '_>, waiters: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    let pool = pool(1, waiters);
    let granted = Arc::new(AtomicU64::new(0));
    for number in 0..=waiters as u128 {
        let (pool, granted) = (Arc::clone(&pool), Arc::clone(&granted));
        let priority = u8::try_from(number % 10).unwrap_or(0);
        runtime.spawn(async move {
            let asking = Asking { priority, ..asking(client(number / 10)) };
            loop {
                let permit = pool.admit(asking).await;
                granted.fetch_add(1, Relaxed);
                // The one who has it lets the others line up first.
                if granted.load(Relaxed) <= 1 {
                    tokio::task::yield_now().await;
                }
                drop(permit);
            }
        });
    }
    let mut goal = 0;
    bencher.counter(ItemsCount::new(GRANTS)).bench_local(|| {
        goal += GRANTS;
        runtime.block_on(async {
            while granted.load(Relaxed) < goal {
                tokio::task::yield_now().await;
            }
        });
    });
}

/// Digests are random.
fn client(number: u128) -> u128 {
    (number + 1).wrapping_mul(0xd6e8_feb8_6659_fd93_9e37_79b9_7f4a_7c15)
}
