//! The operator's word.

use super::*;

fn forced() -> Bench {
    Bench::new(CachePolicy {
        negative_ttl: Some(Duration::from_secs(1)),
        stale_if_error: Some(Duration::from_secs(5)),
        ..CachePolicy::force("route", Duration::from_secs(2))
    })
}

#[tokio::test(start_paused = true)]
async fn neither_side_can_talk_force_out_of_it() {
    let bench = forced();
    bench.store(&get(&[]), &response(200, &[(CACHE_CONTROL, "no-store, must-revalidate")]), "body").unwrap();
    pass(1).await;
    let request = get(&[(CACHE_CONTROL, "no-cache, no-store, max-age=0")]);
    assert_eq!(bench.outcome(&request), "fresh");
    pass(1).await;
    assert_eq!(bench.outcome(&get(&[])), "stale-if-error");
    pass(5).await;
    assert_eq!(bench.outcome(&get(&[])), "stale");
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_from_the_arrival_and_age_is_told_nevertheless() {
    let bench = forced();
    bench.store(&get(&[]), &response(200, &[(AGE, "100")]), "body").unwrap();
    pass(1).await;
    let (_, headers, _) = answer(&bench.fresh(&get(&[])), &get(&[]));
    assert_eq!(
        (headers[AGE].as_bytes(), headers[CACHE_STATUS].as_bytes()),
        (b"101".as_slice(), b"forebay; hit; ttl=1".as_slice())
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_forced_is_not_served_by_the_rules() {
    let mut bench = forced();
    bench.store(&get(&[]), &response(200, &[(CACHE_CONTROL, "public")]), "body").unwrap();
    bench.policy.mode = Mode::Standard;
    assert_eq!(bench.outcome(&get(&[])), "vary-miss");
    bench.policy.mode = Mode::Off;
    assert_eq!(bench.outcome(&get(&[])), "bypass");
}

#[test]
fn each_identity_has_a_place_of_its_own_unless_credentials_are_shared() {
    let digester = Digester::random();
    let mut policy = CachePolicy::force("route", Duration::from_secs(2));
    let resource = policy.key.key(&digester, "http", &get(&[]));
    let place = |policy: &CachePolicy, identity| policy.storage_key(resource, identity, &digester);
    assert_eq!(place(&policy, None), resource);
    assert_ne!(place(&policy, Some(1)), place(&policy, Some(2)));
    assert_ne!(place(&policy, Some(1)), resource);
    policy.key.shared_credentials = true;
    assert_eq!(place(&policy, Some(1)), resource);
    policy = CachePolicy::standard("route");
    assert_eq!(place(&policy, Some(1)), resource);
}

proptest::proptest! {
    /// Users, cookies and modes in any order: what one user fetched reaches another only by permission.
    #[test]
    fn no_identity_meets_anothers_bytes(
        steps in proptest::collection::vec((0_u8..3, 0_usize..6, proptest::bool::ANY), 1..40),
    ) {
        const SAID: [&str; 6] =
            ["max-age=60", "no-store", "private, max-age=60", "public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"];
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).build().unwrap();
        let guard = runtime.enter();
        let mut bench = forced();
        // Who fetched what: the first letter of the body, and whether it was for everybody.
        for (user, said, force) in steps {
            bench.policy.mode = if force { Mode::Force } else { Mode::Standard };
            let request = match user {
                0 => get(&[]),
                1 => get(&[(COOKIE, "user=1")]),
                _ => get(&[(COOKIE, "user=2")]),
            };
            let identity = (user > 0).then_some(u128::from(user));
            let key = bench.policy.storage_key(bench.key(&request), identity, &bench.digester);
            let now = bench.clock.now();
            let found = bench.cache.lookup(Query {
                policy: &bench.policy,
                key,
                request: &request,
                credentialed: user > 0,
                now,
            });
            if let Lookup::Fresh(found) | Lookup::Stale(found, _) = found {
                let owner = found.response().field(&VIA).next().unwrap().as_bytes()[0] - b'0';
                let for_everybody = found.response().permission == Permission::Everybody;
                proptest::prop_assert!(owner == user || for_everybody, "{user} got {owner}'s");
                continue;
            }
            let answer = response(200, &[(CACHE_CONTROL, SAID[said]), (VIA, &user.to_string())]);
            let fetch = bench.cache.begin(&bench.policy, key, "h/", &[]);
            if let Ok(plan) = bench.cache.judge(&bench.policy, &bench.exchange(&request), &answer).verdict {
                bench.cache.store(&fetch, &plan, &request.headers, &answer, [Bytes::from_static(b"x")]).unwrap();
            }
        }
        drop(guard);
    }
}
