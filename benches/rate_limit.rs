//! What a rate limit costs: time a check with a million clients in the table, and memory a client.
//!
//! A measured check is the whole of `RateLimit::check`: the lock, the look-up, the arithmetic of all tiers, the charge,
//! the counters, and the receipt's drop. Each is for a client that was last seen about a million checks ago, so that its
//! line of the table comes from memory, as it does in a process that has other things to do between two requests. What
//! the memory alone takes is measured beside it. The allocator is the product's: it decides how the table lies in pages.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use forebay::client::{KeySpec, PartitionKey};
use forebay::clock::Clock;
use forebay::digest::BuildDigestHasher;
use forebay::rate_limit::{Buckets, Charge, RateLimit, Spec};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLIENTS: u32 = 1_000_000;

const THREE_TIERS: &[&str] = &["2/minute", "10/hour", "50/day"];
const THREE_SMOOTH: &[&str] = &["200/second", "5000/minute", "100000/hour"];

fn main() {
    for tiers in [THREE_TIERS, THREE_SMOOTH] {
        let before = resident_bytes();
        let limit = Limit::with_clients(tiers);
        let bytes = resident_bytes().saturating_sub(before) / u64::from(CLIENTS);
        eprintln!("{tiers:?}: {bytes} bytes a client, {} clients", limit.limit.buckets().keys());
    }
    divan::main();
}

/// A limit with a charge of every client, and a time that goes on by a millisecond a check.
struct Limit {
    limit: Arc<RateLimit>,
    epoch: Instant,
    checks: AtomicU64,
}

impl Limit {
    fn with_clients(tiers: &[&str]) -> Self {
        let spec = Spec {
            name: "bench".into(),
            key: KeySpec::client_ip(),
            tiers: tiers.iter().filter_map(|tier| tier.parse().ok()).collect(),
            burst: 0,
            charge: Charge::Request,
            observe: false,
            max_keys: 2 * CLIENTS as usize,
        };
        let epoch = Clock::start().now();
        let limit = Arc::new(RateLimit::new(spec, Arc::new(Buckets::new(epoch))));
        for client in 0..u64::from(CLIENTS) {
            let _ = limit.check(key(client), epoch);
        }
        Self { limit, epoch, checks: AtomicU64::new(0) }
    }

    /// The next client.
    fn next(&self) -> (PartitionKey, Instant) {
        let nth = self.checks.fetch_add(1, Relaxed);
        (key(client(nth)), self.epoch + Duration::from_millis(nth))
    }
}

/// Clients in no order that a cache could guess.
fn client(nth: u64) -> u64 {
    nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) % u64::from(CLIENTS)
}

/// A million visits, the number of each client's after Zipf's law: the nth busiest has 1/n of those of the busiest.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number below that of the clients"
)]
fn crowd() -> Vec<u64> {
    let uniform = |nth: u64| f64::from((mix(nth) >> 32) as u32) / f64::from(u32::MAX);
    (0..u64::from(CLIENTS)).map(|nth| client(f64::from(CLIENTS).powf(uniform(nth)) as u64)).collect()
}

fn mix(seed: u64) -> u64 {
    let once = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let twice = (once ^ (once >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    twice ^ (twice >> 31)
}

/// As random as a digest, and made without touching memory.
fn key(client: u64) -> PartitionKey {
    let seed = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    PartitionKey((u128::from(mix(seed)) << 64) | u128::from(mix(!seed)))
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

#[divan::bench(args = [THREE_TIERS, THREE_SMOOTH], sample_count = 50, sample_size = 20_000)]
fn three_tiers_a_million_clients(bencher: Bencher<'_, '_>, tiers: &[&str]) {
    let limit = Limit::with_clients(tiers);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let (key, now) = limit.next();
        black_box(limit.limit.check(key, now).is_ok())
    });
}

/// The same table, asked by a crowd: the busiest client comes a hundred times as often as the hundredth.
#[divan::bench(args = [THREE_TIERS, THREE_SMOOTH], sample_count = 50, sample_size = 20_000)]
fn three_tiers_a_crowd_among_a_million_clients(bencher: Bencher<'_, '_>, tiers: &[&str]) {
    let (limit, crowd) = (Limit::with_clients(tiers), crowd());
    let mut visits = crowd.iter().cycle();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let (_, now) = limit.next();
        let visitor = visits.next().copied().unwrap_or_default();
        black_box(limit.limit.check(key(visitor), now).is_ok())
    });
}

/// What the memory alone costs: the same clients in the same order, a few counters for each in a plain map. Each look-up
/// depends on what the one before it found, as checks cannot overlap either.
#[divan::bench(sample_count = 50, sample_size = 20_000)]
fn a_look_up_among_a_million(bencher: Bencher<'_, '_>) {
    let clients = (0..u64::from(CLIENTS)).map(|client| (key(client), [0; 6]));
    let mut map: HashMap<PartitionKey, [u64; 6], BuildDigestHasher> = clients.collect();
    let (mut nth, mut zero) = (0, 0);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        nth += 1 + zero;
        if let Some([unused, count, ..]) = map.get_mut(&key(client(nth))) {
            zero = black_box(*unused);
            *count += 1;
        }
    });
}

#[divan::bench(args = [THREE_TIERS, THREE_SMOOTH], sample_count = 50, sample_size = 20_000)]
fn three_tiers_a_thousand_clients(bencher: Bencher<'_, '_>, tiers: &[&str]) {
    let limit = Limit::with_clients(tiers);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let (_, now) = limit.next();
        let client = limit.checks.load(Relaxed) % 1000;
        black_box(limit.limit.check(key(client), now).is_ok())
    });
}

#[divan::bench(threads = [1, 2], sample_size = 20_000)]
fn one_limited_client_of_one_tier(bencher: Bencher<'_, '_>) {
    let limit = Limit::with_clients(&["1/hour"]);
    bencher.bench(|| black_box(limit.limit.check(key(7), limit.epoch).is_err()));
}

#[divan::bench(sample_size = 10_000)]
fn charge_and_refund(bencher: Bencher<'_, '_>) {
    let limit = Limit::with_clients(&["2/minute", "10/hour"]);
    bencher.bench(|| {
        if let Ok(charges) = limit.limit.check(key(u64::from(CLIENTS) + 7), limit.epoch) {
            charges.refund();
        }
    });
}

#[divan::bench(sample_size = 10_000)]
fn a_refusal_with_its_field(bencher: Bencher<'_, '_>) {
    let limit = Limit::with_clients(&["1/hour"]);
    bencher.bench(|| limit.limit.check(key(7), limit.epoch).err().map(|limited| limited.field()));
}
