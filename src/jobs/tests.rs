mod bounds;
mod interleavings;
mod lease;
mod life;
mod restart;

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
