//! Asking the origin again (RFC 9111 4.3).

use super::*;

const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

async fn stale(fields: Fields<'_>) -> (Bench, Selected) {
    let bench = Bench::standard();
    let mut stored = for_a_minute();
    fields.iter().for_each(|(name, value)| {
        stored.headers.append(name.clone(), value.parse().unwrap());
    });
    bench.store(&get(&[]), &stored, "body").unwrap();
    pass(61).await;
    let selected = bench.stale(&get(&[])).0;
    (bench, selected)
}

fn freshen(bench: &Bench, selected: &Selected, news: &response::Parts) -> Option<Freshened> {
    let request = get(&[]);
    let fetch = bench.begin(&request);
    bench.cache.freshen(&fetch, &bench.policy, selected, &bench.exchange(&request), news)
}

#[tokio::test(start_paused = true)]
async fn our_conditions_take_the_place_of_the_clients() {
    let (_, selected) = stale(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, CHANGED)]).await;
    let mut headers = get(&[(IF_NONE_MATCH, "\"mine\"")]).headers;
    selected.add_conditions(&mut headers);
    assert_eq!(headers.get_all(IF_NONE_MATCH).iter().collect::<Vec<_>>(), ["W/\"a\""]);
    assert_eq!(headers[IF_MODIFIED_SINCE], CHANGED);
}

/// RFC 9111 3.2 and 4.3.4.
#[tokio::test(start_paused = true)]
async fn a_304_brings_the_fields_up_to_date_and_keeps_the_body() {
    let old = [
        (ETAG, "\"a\""),
        (LINK, "<a>"),
        (LINK, "<b>"),
        (CONTENT_ENCODING, "gzip"),
        (CONTENT_TYPE, "text/plain"),
    ];
    let (bench, selected) = stale(&old).await;
    let news = response(
        304,
        &[
            (ETAG, "\"a\""),
            (CACHE_CONTROL, "max-age=120"),
            (LINK, "<c>"),
            (VIA, "1.1 new"),
            (CONTENT_TYPE, "text/html"),
            (CONTENT_ENCODING, "br"),
            (CONTENT_LENGTH, "0"),
        ],
    );
    let freshened = freshen(&bench, &selected, &news).unwrap();
    assert_eq!(freshened.stored, Ok(()));
    pass(100).await;
    let found = bench.fresh(&get(&[]));
    let headers = found.response().headers();
    assert_eq!(headers.get_all(LINK).iter().collect::<Vec<_>>(), ["<c>"]);
    for (name, value) in
        [(VIA, "1.1 new"), (CONTENT_TYPE, "text/html"), (CONTENT_ENCODING, "gzip"), (CONTENT_LENGTH, "4")]
    {
        assert_eq!(headers[&name], value, "{name}");
    }
    assert_eq!((found.ttl(), found.response().body().left()), (20, 4));
    assert_eq!(bench.cache.stats().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_changes_nothing() {
    for (stored, news, about) in [
        (vec![(ETAG, "\"a\"")], vec![(ETAG, "\"b\"")], false),
        (vec![(ETAG, "\"a\"")], vec![(ETAG, "W/\"a\"")], true),
        (vec![(ETAG, "\"a\"")], vec![], true),
        (vec![(LAST_MODIFIED, CHANGED)], vec![(LAST_MODIFIED, "Sat, 05 Nov 1994 08:49:37 GMT")], false),
        (vec![(LAST_MODIFIED, CHANGED)], vec![(LAST_MODIFIED, CHANGED)], true),
        (vec![(LAST_MODIFIED, CHANGED)], vec![(ETAG, "\"a\"")], true),
    ] {
        let (bench, selected) = stale(&stored).await;
        let freshened = freshen(&bench, &selected, &response(304, &news));
        assert_eq!(freshened.is_some(), about, "{stored:?} {news:?}");
        assert_eq!(bench.outcome(&get(&[])) == "fresh", about);
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_serves_one_answer_and_drops_the_rest() {
    for (news, reason) in [
        ((CACHE_CONTROL, "no-store"), Unstorable::NoStore),
        ((CACHE_CONTROL, "private"), Unstorable::Private),
        ((SET_COOKIE, "a=b"), Unstorable::SetCookie),
    ] {
        let (bench, selected) = stale(&[(ETAG, "\"a\"")]).await;
        let freshened = freshen(&bench, &selected, &response(304, &[news])).unwrap();
        assert_eq!(freshened.stored, Err(NotStored::Unstorable(reason)));
        let (code, headers, body) = answer(&freshened.selected, &get(&[]));
        assert_eq!((code, body.unwrap().left()), (StatusCode::OK, 4));
        assert!(!headers.contains_key(SET_COOKIE));
        assert_eq!(bench.outcome(&get(&[])), "uri-miss");
    }
}

#[tokio::test(start_paused = true)]
async fn a_validation_that_a_purge_overtakes_is_not_stored() {
    let (bench, selected) = stale(&[(ETAG, "\"a\"")]).await;
    let request = get(&[]);
    let fetch = bench.begin(&request);
    assert_eq!(bench.cache.purge_url("/"), 1);
    let news = response(304, &[]);
    let freshened =
        bench.cache.freshen(&fetch, &bench.policy, &selected, &bench.exchange(&request), &news).unwrap();
    assert_eq!(freshened.stored, Err(NotStored::Overtaken));
    assert_eq!(bench.outcome(&request), "uri-miss");
}

/// RFC 9111 4.3.5.
#[tokio::test(start_paused = true)]
async fn a_head_brings_news_of_the_stored_get() {
    for (fields, outcome) in [
        (vec![(ETAG, "\"a\""), (CONTENT_LENGTH, "4"), (CACHE_CONTROL, "max-age=5")], "fresh"),
        (vec![(ETAG, "\"b\"")], "uri-miss"),
        (vec![(ETAG, "\"a\""), (CONTENT_LENGTH, "5")], "uri-miss"),
    ] {
        let (bench, selected) = stale(&[(ETAG, "\"a\"")]).await;
        let request = with_method(Method::HEAD, "/", &[]);
        let fetch = bench.begin(&request);
        let news = response(200, &fields);
        let news = bench.cache.freshen(&fetch, &bench.policy, &selected, &bench.exchange(&request), &news);
        assert_eq!(news.is_some(), outcome == "fresh");
        assert_eq!(bench.outcome(&get(&[])), outcome, "{fields:?}");
    }
}

/// RFC 9111 4.3.3.
#[tokio::test(start_paused = true)]
async fn what_a_validation_has_replaced_is_forgotten() {
    let (bench, selected) = stale(&[(ETAG, "\"a\"")]).await;
    let fetch = bench.begin(&get(&[]));
    bench.cache.forget(&fetch, &selected);
    assert_eq!(bench.outcome(&get(&[])), "uri-miss");
    assert_eq!(bench.cache.stats().entries, 0);
}
