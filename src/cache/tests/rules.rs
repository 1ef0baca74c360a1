//! What is found again, when, and as what.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stored_response_is_a_hit_until_its_lifetime_ends() {
    let bench = Bench::standard();
    assert_eq!(bench.outcome(&get(&[])), "uri-miss");
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    pass(59).await;
    assert_eq!(bench.outcome(&get(&[])), "fresh");
    pass(1).await;
    assert_eq!(bench.outcome(&get(&[])), "stale-when-disconnected");
}

#[tokio::test(start_paused = true)]
async fn a_hit_has_the_stored_fields_its_age_and_a_status() {
    let bench = Bench::standard();
    let mut stored = for_a_minute();
    for (name, value) in
        [(LINK, "<a>"), (LINK, "<b>"), (AGE, "10"), (VIA, "1.1 x"), (CONTENT_TYPE, "text/plain")]
    {
        stored.headers.append(name, value.parse().unwrap());
    }
    bench.store(&get(&[]), &stored, "four").unwrap();
    for (passed, age, status) in [(0, "10", "ttl=50"), (3, "13", "ttl=47"), (0, "13", "ttl=47")] {
        pass(passed).await;
        let request = get(&[(ACCEPT, "x")]);
        let (code, headers, body) = answer(&bench.fresh(&request), &request);
        assert_eq!((code, body.unwrap().size_hint().exact()), (StatusCode::OK, Some(4)));
        assert_eq!(headers[AGE], age);
        assert_eq!(headers[CACHE_STATUS], format!("forebay; hit; {status}"));
        assert_eq!(headers[CONTENT_LENGTH], "4");
        assert_eq!(headers.get_all(LINK).iter().collect::<Vec<_>>(), ["<a>", "<b>"]);
        assert!(headers.contains_key(DATE) && !headers.contains_key(ACCEPT));
    }
}

/// RFC 9111 4: GET and HEAD share the stored GET.
#[tokio::test(start_paused = true)]
async fn head_is_answered_from_the_stored_get() {
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    let head = with_method(Method::HEAD, "/", &[]);
    let (code, headers, body) = answer(&bench.fresh(&head), &head);
    assert_eq!((code, headers[CONTENT_LENGTH].as_bytes()), (StatusCode::OK, b"4".as_slice()));
    assert!(body.is_none());
}

/// RFC 9110 9.3.2.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_head_has_a_place_of_its_own() {
    let bench = Bench::standard();
    let head = with_method(Method::HEAD, "/", &[]);
    bench.store(&head, &for_a_minute(), "").unwrap();
    assert_eq!((bench.outcome(&head), bench.outcome(&get(&[]))), ("fresh", "uri-miss"));
    pass(60).await;
    assert_eq!(bench.outcome(&head), "uri-miss");
}

#[tokio::test(start_paused = true)]
async fn what_only_an_origin_can_answer_is_not_looked_up() {
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    for (request, expected) in [
        (with_method(Method::POST, "/", &[]), "method"),
        (with_method(Method::from_bytes(b"PURGE").unwrap(), "/", &[]), "method"),
        (get(&[(RANGE, "bytes=0-1")]), "fresh"),
        (get(&[(IF_MATCH, "\"a\"")]), "bypass"),
        (get(&[(CONTENT_LENGTH, "4")]), "bypass"),
        (get(&[(http::header::TRANSFER_ENCODING, "chunked")]), "bypass"),
        (get(&[(CONTENT_LENGTH, "0")]), "fresh"),
    ] {
        assert_eq!(bench.outcome(&request), expected, "{request:?}");
    }
}

/// RFC 9111 5.2.1 and 5.4; the stored response is 30 seconds old and good for 60.
#[tokio::test(start_paused = true)]
async fn the_clients_directives_are_honoured() {
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "body").unwrap();
    pass(30).await;
    for (directives, expected) in [
        ("", "fresh"),
        ("unknown", "fresh"),
        ("no-cache", "request"),
        ("no-store", "request"),
        ("max-age=31", "fresh"),
        ("max-age=30", "fresh"),
        ("max-age=29", "request"),
        ("max-age=0", "request"),
        ("max-age=29, max-stale", "request"),
        ("min-fresh=30", "fresh"),
        ("min-fresh=31", "request"),
        ("only-if-cached", "fresh"),
        ("only-if-cached, max-age=0", "only-if-cached"),
    ] {
        assert_eq!(bench.outcome(&get(&[(CACHE_CONTROL, directives)])), expected, "{directives}");
    }
    assert_eq!(bench.outcome(&get(&[(http::header::PRAGMA, "no-cache")])), "request");
    let elsewhere = with_method(Method::GET, "/other", &[(CACHE_CONTROL, "only-if-cached")]);
    assert_eq!(bench.outcome(&elsewhere), "only-if-cached");
}

/// RFC 9111 4.2.4 and 5.2.1.2, RFC 5861.
#[tokio::test(start_paused = true)]
async fn stale_responses_are_served_on_allowed_occasions_only() {
    const TEN_LATE: u64 = 70;
    for (said, asked, expected) in [
        ("max-age=60", "", "stale-when-disconnected"),
        ("max-age=60", "max-stale", "fresh"),
        ("max-age=60", "max-stale=10", "fresh"),
        ("max-age=60", "max-stale=9", "stale-when-disconnected"),
        ("max-age=60", "max-stale=10, only-if-cached", "fresh"),
        ("max-age=60", "only-if-cached", "only-if-cached"),
        ("max-age=60", "stale-if-error=11", "stale-if-error"),
        ("max-age=60, must-revalidate", "stale-if-error=11, max-stale", "stale"),
        ("max-age=60, proxy-revalidate", "max-stale", "stale"),
        ("s-maxage=60", "max-stale", "stale"),
        ("max-age=60, stale-while-revalidate=11", "", "stale-while-revalidate"),
        ("max-age=60, stale-while-revalidate=11", "no-cache", "stale"),
        ("max-age=60, stale-while-revalidate=11", "max-age=69", "stale"),
        ("max-age=60, stale-while-revalidate=11", "only-if-cached", "stale-while-revalidate"),
        ("max-age=60, stale-while-revalidate=10", "", "stale-when-disconnected"),
        ("max-age=60, stale-if-error=11", "", "stale-if-error"),
        ("max-age=60, stale-if-error=10", "", "stale-when-disconnected"),
        ("max-age=60, stale-if-error=11, must-revalidate", "", "stale"),
        ("max-age=60, no-cache", "max-stale", "stale"),
    ] {
        let bench = Bench::standard();
        bench.store(&get(&[]), &response(200, &[(CACHE_CONTROL, said), (ETAG, "\"a\"")]), "body").unwrap();
        pass(TEN_LATE).await;
        let request = if asked.is_empty() { get(&[]) } else { get(&[(CACHE_CONTROL, asked)]) };
        assert_eq!(bench.outcome(&request), expected, "{said} / {asked}");
    }
}

/// RFC 9111 4.1.
#[tokio::test(start_paused = true)]
async fn a_variant_is_found_by_the_selecting_fields() {
    let bench = Bench::standard();
    let varying = response(200, &[(CACHE_CONTROL, "max-age=60"), (VARY, "Accept")]);
    let variants = ["a", "b"];
    for kind in variants {
        bench.store(&get(&[(ACCEPT, kind)]), &varying, kind).unwrap();
    }
    for kind in variants {
        let request = get(&[(ACCEPT, kind)]);
        assert_eq!(
            bench.fresh(&request).response().selecting,
            SelectingFields::of(&[ACCEPT], &request.headers)
        );
    }
    assert_eq!(bench.outcome(&get(&[(ACCEPT, "c")])), "vary-miss");
    assert_eq!(bench.outcome(&get(&[])), "vary-miss");
    bench.store(&get(&[(ACCEPT, "a")]), &varying, "newer").unwrap();
    assert_eq!(bench.fresh(&get(&[(ACCEPT, "a")])).response().body().left(), 5);
    assert_eq!(bench.cache.stats().entries, 2);
}

/// RFC 9111 section 4: the most recent one, as determined by `Date`, whichever came last.
#[tokio::test(start_paused = true)]
async fn of_several_that_suit_the_one_made_last_is_chosen() {
    let bench = Bench::standard();
    let accept = HeaderName::from_static("accept-language");
    let now = bench.clock.wall(bench.clock.now());
    let date = |seconds_ago: u64| httpdate::fmt_http_date(now - Duration::from_secs(seconds_ago));
    let (recent, old) = (date(10), date(100));
    let german = get(&[(accept.clone(), "de")]);
    let fields = [(CACHE_CONTROL, "max-age=3600"), (VARY, "accept-language"), (DATE, &recent)];
    bench.store(&german, &response(200, &fields), "recent").unwrap();
    let french = get(&[(accept, "fr")]);
    bench.store(&french, &response(200, &[(CACHE_CONTROL, "max-age=3600"), (DATE, &old)]), "old").unwrap();
    for (request, length) in [(&german, 6), (&french, 3)] {
        let (_, headers, _) = answer(&bench.fresh(request), request);
        assert_eq!(headers[CONTENT_LENGTH], length.to_string());
    }
}

/// RFC 9111 3.5 and contract section 7, Identity.
#[tokio::test(start_paused = true)]
async fn credentials_meet_only_what_is_for_everybody() {
    let users = [get(&[(AUTHORIZATION, "Basic x")]), get(&[(COOKIE, "a=b")])];
    let bench = Bench::standard();
    bench.store(&get(&[]), &for_a_minute(), "anonymous").unwrap();
    for user in &users {
        assert_eq!(bench.outcome(user), "vary-miss");
        let refused = NotStored::Unstorable(Unstorable::Credentials);
        assert_eq!(bench.store(user, &for_a_minute(), "mine").unwrap_err(), refused);
    }
    bench.store(&users[0], &response(200, &[(CACHE_CONTROL, "public, max-age=60")]), "everybody's").unwrap();
    for request in users.iter().chain([&get(&[])]) {
        assert_eq!(bench.outcome(request), "fresh");
    }
}

#[tokio::test(start_paused = true)]
async fn listed_fields_and_cookies_are_not_kept() {
    let bench = Bench::standard();
    let fields =
        [(CACHE_CONTROL, "max-age=60, private=\"Link\", no-cache=\"Via\""), (LINK, "<me>"), (VIA, "1.1 x")];
    bench.store(&get(&[]), &response(200, &fields), "body").unwrap();
    let headers = bench.fresh(&get(&[])).response().headers();
    assert!(!headers.contains_key(LINK) && !headers.contains_key(VIA) && headers.contains_key(CACHE_CONTROL));
}

/// RFC 9111 3.3 and hardening 22.
#[tokio::test(start_paused = true)]
async fn what_is_cut_short_is_not_stored() {
    let bench = Bench::standard();
    let mut said = for_a_minute();
    said.headers.insert(CONTENT_LENGTH, "5".parse().unwrap());
    assert_eq!(bench.store(&get(&[]), &said, "four").unwrap_err(), NotStored::Truncated);
    assert_eq!(bench.outcome(&get(&[])), "uri-miss");
}

/// RFC 9111 4.3.2 and RFC 9110 15.4.5.
#[tokio::test(start_paused = true)]
async fn a_client_that_has_it_already_gets_a_304() {
    let bench = Bench::standard();
    let fields = [
        (CACHE_CONTROL, "max-age=60"),
        (ETAG, "\"a\""),
        (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (CONTENT_TYPE, "text/plain"),
        (CONTENT_ENCODING, "gzip"),
        (VARY, "Accept"),
    ];
    bench.store(&get(&[]), &response(200, &fields), "body").unwrap();
    let request = get(&[(IF_NONE_MATCH, "\"x\", W/\"a\"")]);
    let (code, headers, body) = answer(&bench.fresh(&request), &request);
    assert_eq!(code, StatusCode::NOT_MODIFIED);
    assert!(body.is_none());
    for name in [CACHE_CONTROL, ETAG, VARY, DATE, AGE, CACHE_STATUS] {
        assert!(headers.contains_key(&name), "{name}");
    }
    for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH, LAST_MODIFIED] {
        assert!(!headers.contains_key(&name), "{name}");
    }
    let request = get(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(answer(&bench.fresh(&request), &request).0, StatusCode::OK);
    let request = get(&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(answer(&bench.fresh(&request), &request).0, StatusCode::NOT_MODIFIED);
}

/// RFC 9110 13.2.1: conditions are for successful answers.
#[tokio::test(start_paused = true)]
async fn a_stored_error_is_answered_in_full_whatever_the_conditions() {
    let bench = Bench::standard();
    bench
        .store(&get(&[]), &response(404, &[(CACHE_CONTROL, "max-age=60"), (ETAG, "\"a\"")]), "gone")
        .unwrap();
    let request = get(&[(IF_NONE_MATCH, "*")]);
    assert_eq!(answer(&bench.fresh(&request), &request).0, StatusCode::NOT_FOUND);
}
