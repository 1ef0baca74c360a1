//! What a permit costs: free, contended, and with a queue of waiters behind it.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use divan::Bencher;
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

/// Each permit goes through the queue: one comes back, one of `waiters` gets it and lines up again.
#[divan::bench(args = [1, 20, 1000], sample_size = 1000)]
fn a_permit_by_way_of_the_queue(bencher: Bencher<'_, '_>, waiters: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    let pool = pool(1, waiters);
    for client in 0..waiters as u128 {
        let pool = Arc::clone(&pool);
        runtime.spawn(async move {
            loop {
                let permit = pool.admit(asking(client)).await;
                tokio::task::yield_now().await;
                drop(permit);
            }
        });
    }
    runtime.block_on(tokio::task::yield_now());
    bencher.bench_local(|| runtime.block_on(tokio::task::yield_now()));
}
