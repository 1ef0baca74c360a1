//! Purges and writes against fetches under way.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_a_purge_overtakes_is_not_stored() {
    let bench = Bench::standard();
    let request = get(&[]);
    let fetch = bench.begin(&request);
    bench.cache.purge_route("route");
    let late = bench.finish(&fetch, &request, &for_a_minute(), Bytes::from_static(b"old"));
    assert_eq!(late.unwrap_err(), NotStored::Overtaken);
    assert_eq!(bench.outcome(&request), "uri-miss");
    bench.store(&request, &for_a_minute(), "new").unwrap();
    assert_eq!(bench.outcome(&request), "fresh");
}

#[tokio::test(start_paused = true)]
async fn a_write_drops_its_url_and_what_was_fetched_meanwhile() {
    let bench = Bench::standard();
    let request = get(&[]);
    bench.store(&request, &for_a_minute(), "body").unwrap();
    let fence = bench.cache.fence("h/", &[]);
    let during = bench.begin(&request);
    assert_eq!(bench.outcome(&request), "fresh", "until the write has succeeded");
    assert_eq!(fence.succeeded(&[]), 1);
    assert!(during.is_overtaken());
    assert_eq!(bench.outcome(&request), "uri-miss");
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_drops_nothing() {
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    drop(bench.cache.fence("h/", &[]));
    assert_eq!(bench.outcome(&get(&[])), "fresh");
}

#[tokio::test(start_paused = true)]
async fn ignored_parameters_do_not_save_a_response_from_a_purge() {
    let mut bench = Bench::standard();
    bench.policy.key.query_ignore = vec![NamePattern::new("_")];
    let request = with_method(Method::GET, "/a?_=1&b=2", &[]);
    bench.store(&request, &for_a_minute(), "body").unwrap();
    assert_eq!(bench.cache.purge_url("h/a?b=2"), 1);
    assert_ne!(bench.outcome(&request), "fresh");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_gives_back_the_memory_of_what_was_purged() {
    let bench = Bench::standard();
    for path in ["/a", "/b", "/c"] {
        bench.store(&with_method(Method::GET, path, &[]), &for_a_minute(), "body").unwrap();
    }
    assert_eq!(bench.cache.purge_prefix("h/a"), 1);
    assert_eq!(bench.cache.purge_prefix("/"), 2);
    assert_eq!(bench.cache.route_stats("route").entries, 3, "until the sweep");
    assert_eq!(bench.cache.sweep(), 3);
    assert_eq!((bench.cache.stats().bytes, bench.cache.stats().entries), (0, 0));
    assert_eq!(bench.cache.evictions().purged.value(), 3);
}

/// Readers, writers and a purger at once: after a purge returns nobody is served what was fetched before it.
#[test]
fn nothing_older_than_a_finished_purge_is_ever_served() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let bench = Arc::new(Bench::standard());
    // The version that the origin serves; what is below `purged` must not be seen any more.
    let (version, purged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut threads = Vec::new();
    for _ in 0..3 {
        let (bench, version, purged) = (Arc::clone(&bench), Arc::clone(&version), Arc::clone(&purged));
        let handle = runtime.handle().clone();
        threads.push(std::thread::spawn(move || {
            let _guard = handle.enter();
            let request = get(&[]);
            for _ in 0..3_000 {
                let at_least = purged.load(Ordering::SeqCst);
                if let Lookup::Fresh(found) = bench.lookup(&request) {
                    let text = found.response().field(&VIA).next().unwrap().to_str().unwrap().to_owned();
                    assert!(text.parse::<u64>().unwrap() >= at_least);
                } else {
                    let fetch = bench.begin(&request);
                    let current = version.load(Ordering::SeqCst).to_string();
                    let answer = response(200, &[(CACHE_CONTROL, "max-age=60"), (VIA, &current)]);
                    let _ = bench.finish(&fetch, &request, &answer, Bytes::from_static(b"x"));
                }
            }
        }));
    }
    for _ in 0..500 {
        let next = version.fetch_add(1, Ordering::SeqCst) + 1;
        bench.cache.purge_url("h/");
        purged.store(next, Ordering::SeqCst);
        std::thread::yield_now();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
