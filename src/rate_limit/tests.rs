use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn spec(rates: &[&str]) -> Spec {
    Spec {
        name: "scan-start".into(),
        key: KeySpec::client_ip(),
        tiers: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
        burst: 0,
        charge: Charge::Request,
        observe: false,
        max_keys: 1000,
    }
}

fn limit(spec: Spec) -> (Arc<RateLimit>, Instant) {
    let epoch = Clock::start().now();
    (Arc::new(RateLimit::new(spec, Arc::new(Buckets::new(epoch)))), epoch)
}

fn key(n: u128) -> PartitionKey {
    PartitionKey(n << 64 | n)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn told(headers: impl FnOnce(&mut HeaderMap)) -> Vec<String> {
    let mut map = HeaderMap::new();
    headers(&mut map);
    map.get_all(RATELIMIT).into_iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_third_in_a_minute_is_refused_until_the_first_has_left_the_window() {
    let (limit, start) = limit(spec(&["2/minute"]));
    let at = |seconds_in| start + seconds(seconds_in);
    assert!(limit.check(key(1), at(0)).is_ok());
    assert!(limit.check(key(1), at(20)).is_ok());
    let refused = limit.check(key(1), at(30)).unwrap_err();
    assert_eq!(refused.retry_after(), seconds(30));
    assert_eq!([refused.field().to_str().unwrap()], [r#""scan-start";r=0;t=30"#]);
    assert!(limit.check(key(2), at(30)).is_ok(), "another client is not concerned");
    assert!(limit.check(key(1), at(59)).is_err());
    assert!(limit.check(key(1), at(60)).is_ok());
    assert!(limit.check(key(1), at(61)).is_err());
    assert_eq!(limit.in_words(), "2 per minute for each client address");
}

#[test]
fn a_refusal_tells_whether_others_wait_for_the_same_moment() {
    let refused = |spec: Spec, clients: u128| {
        let (limit, start) = limit(spec);
        (0..clients)
            .find_map(|client| limit.check(key(client), start).err())
            .or_else(|| limit.check(key(0), start).err())
    };
    let global = KeySpec::new(vec![KeySource::Global], 64);
    assert!(!refused(spec(&["1/minute"]), 1).unwrap().is_shared());
    assert!(refused(Spec { key: global, ..spec(&["1/minute"]) }, 1).unwrap().is_shared());
    assert!(refused(Spec { max_keys: 3, ..spec(&["1/minute"]) }, 5000).unwrap().is_shared());
}

#[test]
fn the_stated_wait_is_enough_and_a_second_less_is_not() {
    for rates in
        [&["2/minute", "5/hour"] as &[&str], &["200/minute"], &["3/s", "1000/hour"], &["1/90s"], &["130/7d"]]
    {
        let (limit, start) = limit(spec(rates));
        let mut now = start + Duration::from_nanos(123_456_789);
        for _ in 0..20 {
            let refused = loop {
                if let Err(refused) = limit.check(key(1), now) {
                    break refused;
                }
            };
            let stated = refused.retry_after();
            let too_early = stated.saturating_sub(seconds(1)).max(stated / 2);
            assert!(limit.wait(key(1), now + too_early) > Duration::ZERO, "{rates:?}");
            now += stated;
            assert_eq!(limit.wait(key(1), now), Duration::ZERO, "{rates:?}");
        }
    }
}

#[test]
fn a_refused_request_is_charged_to_no_tier() {
    let (limit, start) = limit(spec(&["2/minute", "4/hour"]));
    for minute in 0..2 {
        for _ in 0..2 {
            assert!(limit.check(key(1), start + seconds(60 * minute)).is_ok());
        }
        for _ in 0..50 {
            assert!(limit.check(key(1), start + seconds(60 * minute + 1)).is_err());
        }
    }
    let refused = limit.check(key(1), start + seconds(120)).unwrap_err();
    assert_eq!(refused.retry_after(), seconds(3480));
    assert_eq!([refused.field().to_str().unwrap()], [r#""scan-start-3600";r=0;t=3480"#]);
}

#[test]
fn a_refund_leaves_no_trace() {
    for rates in [&["2/minute"] as &[&str], &["200/minute"], &["2/minute", "300/hour"]] {
        let (limit, start) = limit(spec(rates));
        for n in 0..1000 {
            let charges = limit.check(key(1), start + Duration::from_millis(n)).unwrap();
            charges.refund();
        }
        let charges = limit.check(key(1), start + seconds(1)).unwrap();
        let remaining = limit.spec().tiers[0].limit() - 1;
        assert!(told(|headers| charges.tell(headers))[0].contains(&format!(";r={remaining};")), "{rates:?}");
    }
}

#[test]
fn an_observed_limit_counts_and_never_refuses() {
    let (limit, start) = limit(Spec { observe: true, ..spec(&["2/minute"]) });
    for _ in 0..5 {
        let charges = limit.check(key(1), start).unwrap();
        assert!(told(|headers| charges.tell(headers)).is_empty());
    }
    let buckets = limit.buckets();
    assert_eq!((buckets.allowed(), buckets.would_refuse.value(), buckets.refused.value()), (2, 3, 0));
}

#[test]
fn all_limits_of_a_request_are_charged_or_none() {
    let (many, start) = limit(spec(&["5/minute"]));
    let (few, _) = limit(Spec { name: "few".into(), ..spec(&["1/hour"]) });
    let limits = [(&many, key(1)), (&few, key(2))];
    assert!(check_all(limits, start).is_ok());
    for _ in 0..10 {
        let refused = check_all(limits, start).unwrap_err();
        assert_eq!((refused.limit(), refused.retry_after()), ("few", seconds(3600)));
    }
    for left in (0..4).rev() {
        let charges = many.check(key(1), start).unwrap();
        assert_eq!(told(|headers| charges.tell(headers)), [format!(r#""scan-start";r={left};t=60"#)]);
    }
    let refused = check_all(limits, start).unwrap_err();
    assert_eq!(refused.limit(), "few", "the longest wait is told");
}

#[test]
fn burst_is_added_to_every_tier() {
    for (rate, at_once) in [("2/minute", 5), ("300/minute", 303)] {
        let (limit, start) = limit(Spec { burst: 3, ..spec(&[rate]) });
        assert_eq!((0..1000).filter(|_| limit.check(key(1), start).is_ok()).count(), at_once);
    }
}

#[test]
fn a_reload_neither_refills_nor_fines() {
    // Rates before and after, and how many of 4 spent requests the new limit still counts.
    let cases = [
        ("4/minute", "4/minute", 4),
        ("4/minute", "10/minute", 4),
        ("4/minute", "10/hour", 4),
        ("10/hour", "200/hour", 4),
        ("200/hour", "500/hour", 4),
        ("200/minute", "100/minute", 4),
    ];
    for (before, after, counted) in cases {
        let epoch = Clock::start().now();
        let buckets = Arc::new(Buckets::new(epoch));
        let old = Arc::new(RateLimit::new(spec(&[before]), Arc::clone(&buckets)));
        for _ in 0..4 {
            let _ = old.check(key(1), epoch);
        }
        let new = Arc::new(RateLimit::new(spec(&[after]), buckets));
        let left = (0..1000).filter(|_| new.check(key(1), epoch).is_ok()).count();
        let allowance = new.spec().tiers[0].limit() as usize;
        // 200/hour keeps its debt in time: 4 of 200 an hour are 10 of 500.
        let counted = if before == "200/hour" { 10 } else { counted };
        assert_eq!(left + counted, allowance, "{before} -> {after}");
        assert!(old.check(key(1), epoch).is_err(), "a request from before the reload obeys the new rules");
    }
}

/// What an exact limit promises, in the plainest words.
struct Reference {
    tiers: Vec<(u32, u64)>,
    allowed: Vec<u64>,
}

impl Reference {
    fn allows(&self, now: u64) -> bool {
        self.tiers.iter().all(|(limit, window)| {
            self.allowed.iter().filter(|at| now - **at < *window).count() < *limit as usize
        })
    }
}

fn tiers() -> impl Strategy<Value = Vec<(u32, u64)>> {
    proptest::collection::vec((1..14_u32, 1..5_000_u64), 1..4)
}

proptest! {
    #[test]
    fn an_exact_limit_never_allows_more_nor_less_than_it_says(
        tiers in tiers(),
        arrivals in proptest::collection::vec((0..900_u64, 0..3_usize, 0..4_u8), 1..200),
    ) {
        let quotas = tiers.iter().map(|(limit, window)| Quota::new(*limit, Duration::from_millis(*window)));
        let (limit, start) = limit(Spec { tiers: quotas.collect(), ..spec(&[]) });
        let mut clients: Vec<Reference> =
            (0..3).map(|_| Reference { tiers: tiers.clone(), allowed: Vec::new() }).collect();
        let mut now = 0;
        for (gap, client, refund) in arrivals {
            now += gap;
            let at = start + Duration::from_millis(now);
            let reference = &mut clients[client];
            match limit.check(key(client as u128), at) {
                Ok(charges) => {
                    prop_assert!(reference.allows(now));
                    if refund == 0 { charges.refund() } else { reference.allowed.push(now) }
                }
                Err(refused) => {
                    prop_assert!(!reference.allows(now));
                    let stated = u64::try_from(refused.retry_after().as_millis()).unwrap();
                    prop_assert!(reference.allows(now + stated));
                    prop_assert!(!reference.allows(now + stated - 1));
                }
            }
            if gap > 800 {
                limit.buckets().sweep(at);
            }
        }
    }

    #[test]
    fn late_refunds_are_exact_too(
        tiers in tiers(),
        steps in proptest::collection::vec((0..900_u64, any::<bool>(), any::<proptest::sample::Index>()), 1..150),
    ) {
        let quotas = tiers.iter().map(|(limit, window)| Quota::new(*limit, Duration::from_millis(*window)));
        let (limit, start) = limit(Spec { tiers: quotas.collect(), ..spec(&[]) });
        let mut reference = Reference { tiers, allowed: Vec::new() };
        let mut pending = Vec::new();
        let mut now = 0;
        for (gap, is_refund, which) in steps {
            now += gap;
            if is_refund && !pending.is_empty() {
                let (at, charges): (u64, Charges) = pending.swap_remove(which.index(pending.len()));
                charges.refund();
                let position = reference.allowed.iter().position(|known| *known == at).unwrap();
                reference.allowed.remove(position);
            }
            match limit.check(key(1), start + Duration::from_millis(now)) {
                Ok(charges) => {
                    prop_assert!(reference.allows(now));
                    reference.allowed.push(now);
                    pending.push((now, charges));
                }
                Err(_) => prop_assert!(!reference.allows(now)),
            }
        }
    }

    #[test]
    fn a_smooth_limit_keeps_its_rate_in_the_long_run(
        number in 129..400_u32,
        arrivals in proptest::collection::vec(0..40_u64, 1..1500),
    ) {
        let (limit, start) = limit(Spec { tiers: vec![Quota::new(number, seconds(1))], ..spec(&[]) });
        let (mut now, mut allowed) = (0, 0_u64);
        for gap in arrivals {
            now += gap;
            allowed += u64::from(limit.check(key(1), start + Duration::from_millis(now)).is_ok());
        }
        prop_assert!(allowed <= u64::from(number) + now * u64::from(number) / 1000 + 1);
    }
}
