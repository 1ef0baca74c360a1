//! Memory, variants, and what a hit costs.

use super::*;

fn large(size: u64) -> Bytes {
    vec![7_u8; usize::try_from(size).unwrap()].into()
}

fn path(number: u64) -> request::Parts {
    with_method(Method::GET, &format!("/{number}"), &[])
}

#[test]
fn live_memory_keeps_the_bound_with_large_objects_and_four_writers() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let bench = Arc::new(Bench::standard());
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let (bench, handle) = (Arc::clone(&bench), runtime.handle().clone());
            std::thread::spawn(move || {
                let _guard = handle.enter();
                for round in 0..40 {
                    let request = path(thread * 1000 + round);
                    let fetch = bench.begin(&request);
                    let stored = bench.finish(&fetch, &request, &for_a_minute(), large(8 * MIB));
                    // Refused while the other writers still hold what was evicted for this one.
                    assert!(stored.is_ok() || bench.cache.stats().refused > 0);
                    let bytes = bench.cache.stats().bytes;
                    assert!(bytes <= 64 * MIB * 110 / 100, "{bytes} bytes live");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(bench.cache.stats().bytes >= 48 * MIB, "the store is used");
    let evicted = bench.cache.evictions().size.value();
    assert_eq!(evicted + bench.cache.stats().entries + bench.cache.stats().refused, 160);
    assert!(evicted > 80, "{evicted} evicted");
    assert_eq!(bench.policy.figures.evictions.value(), evicted, "each counts for its route");
}

#[test]
fn what_is_still_read_counts_and_keeps_others_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let bench = Bench::standard();
    let store = |number| {
        let fetch = bench.begin(&path(number));
        bench.finish(&fetch, &path(number), &for_a_minute(), large(8 * MIB))
    };
    let readers: Vec<_> =
        (0..8).filter_map(|number| store(number).ok()).map(|stored| stored.body()).collect();
    assert_eq!(readers.len(), 8);
    assert_eq!(store(8).unwrap_err(), NotStored::Full);
    assert_eq!(bench.cache.stats().refused, 1);
    drop(readers);
    store(8).unwrap();
}

/// Takes so much of a body; whether there was room for it.
fn arrive(gathering: &mut Gathering, bytes: u64) -> bool {
    (0..bytes / (MIB / 4)).all(|_| gathering.add(&mut large(MIB / 4)).is_some())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_arrives_has_its_place_before_it_is_stored() {
    let bench = Bench::standard();
    for number in 0..7 {
        let fetch = bench.begin(&path(number));
        bench.finish(&fetch, &path(number), &for_a_minute(), large(8 * MIB)).unwrap();
    }
    let (request, fetch) = (path(9), bench.begin(&path(9)));
    let mut gathering = bench.gather(&request, &for_a_minute());
    assert!(arrive(&mut gathering, MIB / 4));
    assert_eq!(bench.cache.stats().entries, 7, "most bodies are small, and cost no look at the store");
    for _ in 0..7 {
        assert!(arrive(&mut gathering, MIB));
        assert!(bench.cache.stats().bytes <= 64 * MIB, "{:?}", bench.cache.stats());
    }
    assert_eq!((bench.cache.stats().entries, bench.outcome(&path(0))), (6, "uri-miss"));
    gathering.store(&fetch, &request.headers, &for_a_minute()).unwrap();
    assert_eq!((bench.cache.stats().entries, bench.outcome(&request)), (7, "fresh"));
    let stored = bench.cache.stats().bytes;
    let mut broken_off = bench.gather(&path(10), &for_a_minute());
    assert!(arrive(&mut broken_off, 8 * MIB));
    bench.cache.sweep();
    drop(broken_off);
    assert!(bench.cache.stats().bytes < stored, "others have gone for it, and its place is free");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_arrive_get_half_of_the_store() {
    let bench = Bench::standard();
    let mut gatherings: Vec<_> = (0..6).map(|number| bench.gather(&path(number), &for_a_minute())).collect();
    let came: Vec<_> = gatherings.iter_mut().map(|gathering| arrive(gathering, 8 * MIB)).collect();
    assert_eq!(came, [true, true, true, true, false, false]);
    assert_eq!((bench.cache.stats().bytes, bench.cache.stats().refused), (32 * MIB, 2));
    bench.cache.set_limits(Limits { max_bytes: 32 * MIB, max_object: 8 * MIB });
    drop(gatherings);
    assert_eq!(bench.cache.stats().bytes, 0);
    let mut too_large = bench.gather(&path(7), &for_a_minute());
    assert!(!arrive(&mut too_large, 9 * MIB));
}

#[tokio::test(start_paused = true)]
async fn others_are_stored_while_bodies_that_arrive_stall() {
    let bench = Bench::standard();
    let mut gatherings: Vec<_> = (0..4).map(|number| bench.gather(&path(number), &for_a_minute())).collect();
    assert!(gatherings.iter_mut().all(|gathering| arrive(gathering, 8 * MIB)));
    for number in 10..100 {
        let fetch = bench.begin(&path(number));
        bench.finish(&fetch, &path(number), &for_a_minute(), large(MIB)).unwrap();
        assert_eq!(bench.outcome(&path(number)), "fresh");
        assert!(bench.cache.stats().bytes <= 61 * MIB, "{:?}", bench.cache.stats());
    }
    assert_eq!((bench.cache.stats().entries, bench.cache.stats().refused), (27, 0));
    assert_eq!((bench.outcome(&path(99)), bench.outcome(&path(72))), ("fresh", "uri-miss"));
}

#[tokio::test(start_paused = true)]
async fn what_broke_off_is_stored_in_the_place_that_it_had() {
    let bench = Bench::standard();
    let readers: Vec<_> = (0..7)
        .map(|number| {
            let fetch = bench.begin(&path(number));
            bench.finish(&fetch, &path(number), &for_a_minute(), large(8 * MIB)).unwrap().body()
        })
        .collect();
    let (request, fetch) = (path(9), bench.begin(&path(9)));
    let fields = [(CACHE_CONTROL, "max-age=60"), (ETAG, "\"a\""), (CONTENT_LENGTH, "8388608")];
    let head = response(200, &fields);
    let mut gathering = bench.gather(&request, &head);
    assert!(arrive(&mut gathering, 7 * MIB));
    gathering.store_beginning(&fetch, &request.headers, &head).unwrap();
    drop(readers);
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_goes_first() {
    let bench = Bench::standard();
    for number in 0..7 {
        let fetch = bench.begin(&path(number));
        bench.finish(&fetch, &path(number), &for_a_minute(), large(8 * MIB)).unwrap();
    }
    assert_eq!(bench.outcome(&path(0)), "fresh");
    let fetch = bench.begin(&path(7));
    bench.finish(&fetch, &path(7), &for_a_minute(), large(8 * MIB)).unwrap();
    assert_eq!((bench.outcome(&path(0)), bench.outcome(&path(1))), ("fresh", "uri-miss"));
}

#[tokio::test(start_paused = true)]
async fn bounds_change_while_the_store_is_in_use() {
    let bench = Bench::standard();
    for number in 0..6 {
        let fetch = bench.begin(&path(number));
        bench.finish(&fetch, &path(number), &for_a_minute(), large(8 * MIB)).unwrap();
    }
    bench.cache.set_limits(Limits { max_bytes: 32 * MIB, max_object: MIB });
    assert!(bench.cache.stats().bytes <= 32 * MIB);
    assert_eq!(bench.cache.stats().entries, 3);
    let fetch = bench.begin(&path(9));
    let refused = bench.finish(&fetch, &path(9), &for_a_minute(), large(2 * MIB));
    assert_eq!(refused.unwrap_err(), NotStored::TooLarge);
    bench.cache.set_limits(Limits { max_bytes: 64 * MIB, max_object: 8 * MIB });
    assert_eq!(bench.cache.stats().entries, 3, "what is stored survives");
    assert!((0..6).filter(|number| bench.outcome(&path(*number)) == "fresh").count() == 3);
}

/// Hardening 26.
#[tokio::test(start_paused = true)]
async fn variants_of_a_resource_are_bounded() {
    let bench = Bench::standard();
    let varying = response(200, &[(CACHE_CONTROL, "max-age=60"), (VARY, "Accept")]);
    for number in 0..40 {
        bench.store(&get(&[(ACCEPT, &number.to_string())]), &varying, "body").unwrap();
        pass(1).await;
        if number > 0 {
            assert_eq!(bench.outcome(&get(&[(ACCEPT, "0")])), "fresh", "in use all the time");
        }
    }
    assert_eq!(bench.cache.stats().entries, MAX_VARIANTS as u64);
    assert_eq!(bench.cache.evictions().variants.value(), 40 - MAX_VARIANTS as u64);
    assert_eq!(bench.outcome(&get(&[(ACCEPT, "1")])), "vary-miss");
}

#[tokio::test(start_paused = true)]
async fn an_empty_store_holds_no_memory_and_no_names() {
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    let weight = bench.cache.stats().bytes;
    assert!(weight > 500 && weight < 2000, "{weight}");
    bench.cache.purge_all();
    bench.cache.sweep();
    assert_eq!((bench.cache.stats().bytes, bench.cache.stats().entries), (0, 0));
}

/// A browser's usual fields.
fn from_a_browser() -> request::Parts {
    get(&[
        (http::header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64)"),
        (ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (http::header::ACCEPT_LANGUAGE, "en-GB,en;q=0.5"),
        (http::header::ACCEPT_ENCODING, "gzip, deflate, br"),
        (http::header::REFERER, "http://h/"),
        (CACHE_CONTROL, "max-age=3600"),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_hit_allocates_nothing() {
    let bench = Bench::standard();
    let fields = [
        (CACHE_CONTROL, "max-age=60"),
        (CONTENT_TYPE, "application/json"),
        (ETAG, "\"a\""),
        (VARY, "Accept-Encoding"),
        (DATE, "Sun, 06 Nov 2044 08:49:37 GMT"),
    ];
    let request = from_a_browser();
    bench.store(&request, &response(200, &fields), "body").unwrap();
    let now = bench.clock.now();
    let hit = |headers: HeaderMap| {
        let key = bench.key(&request);
        let query = Query { policy: &bench.policy, key, request: &request, credentialed: false, now };
        let Lookup::Fresh(found) = bench.cache.lookup(query) else {
            panic!("a hit");
        };
        let answer = found.answer(&request.method, found.evaluate(&request.headers), None, headers);
        assert!(answer.2.is_some());
        answer.1
    };
    // The first one may set up what the store keeps for each thread.
    let mut headers = hit(request.headers.clone());
    let mut allocated = Vec::new();
    for _ in 0..100 {
        let mut recycled = Some(std::mem::take(&mut headers));
        let counted = allocation_counter::measure(|| headers = hit(recycled.take().unwrap()));
        allocated.push(counted.count_total);
    }
    allocated.sort_unstable();
    assert_eq!(allocated[90], 0, "{allocated:?}");
    // Now and then a hit does the store's housekeeping.
    assert!(allocated.iter().sum::<u64>() < 100, "{allocated:?}");
}
