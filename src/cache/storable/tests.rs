use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{Request, Response};
use tokio::time::Instant;

use super::*;
use crate::clock::Clock;

const MAX_OBJECT: u64 = 1000;
const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");

fn judge(
    policy: &CachePolicy,
    request: &[(HeaderName, &str)],
    status: u16,
    response: &[(HeaderName, &str)],
) -> Judgement {
    let mut head = Request::get("/").body(()).unwrap().into_parts().0;
    request.iter().for_each(|(name, value)| {
        head.headers.append(name.clone(), value.parse().unwrap());
    });
    let mut answer = Response::builder().status(status).body(()).unwrap().into_parts().0;
    response.iter().for_each(|(name, value)| {
        answer.headers.append(name.clone(), value.parse().unwrap());
    });
    let clock = Clock::start();
    let now: Instant = clock.now();
    let terms = Terms {
        policy,
        method: &Method::GET,
        request: &head,
        credentialed: head.headers.contains_key(AUTHORIZATION) || head.headers.contains_key(COOKIE),
        requested: now,
        received: now,
        received_wall: clock.wall(now),
        max_object: MAX_OBJECT,
    };
    terms.judge(&answer)
}

fn standard(status: u16, response: &[(HeaderName, &str)]) -> Result<Duration, Unstorable> {
    judge(&CachePolicy::standard("route"), &[], status, response).verdict.map(|plan| plan.ttl())
}

fn forced(status: u16, response: &[(HeaderName, &str)]) -> Result<Duration, Unstorable> {
    let policy = CachePolicy { negative_ttl: Some(seconds(1)), ..CachePolicy::force("route", seconds(9)) };
    judge(&policy, &[], status, response).verdict.map(|plan| plan.ttl())
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// RFC 9111 3.
#[test]
fn every_final_status_with_an_explicit_lifetime_is_stored() {
    for status in (200..600).filter(|status| ![206, 304].contains(status)) {
        assert_eq!(standard(status, &[(CACHE_CONTROL, "max-age=60")]), Ok(seconds(60)), "{status}");
        assert_eq!(standard(status, &[]), Err(Unstorable::NoFreshness), "{status}");
    }
    for status in [100, 103, 206, 304] {
        assert_eq!(standard(status, &[(CACHE_CONTROL, "max-age=60")]), Err(Unstorable::Status), "{status}");
    }
}

/// RFC 9111 3 and 5.2.2.
#[test]
fn directives_decide_what_is_stored() {
    use Unstorable::{NoFreshness, NoStore, Private, SetCookie as Cookie, Status, TooLarge, VaryAnything};
    let etag = (ETAG, "\"a\"");
    for (status, fields, expected) in [
        (200, vec![(CACHE_CONTROL, "max-age=60, no-store")], Err(NoStore)),
        (200, vec![(CACHE_CONTROL, "max-age=60"), (CACHE_CONTROL, "NO-STORE")], Err(NoStore)),
        (200, vec![(CACHE_CONTROL, "max-age=60, private")], Err(Private)),
        (200, vec![(CACHE_CONTROL, "s-maxage=60, Private")], Err(Private)),
        (200, vec![(CACHE_CONTROL, "max-age=60, private=\"X-Me\"")], Ok(seconds(60))),
        (200, vec![(CACHE_CONTROL, "max-age=60, no-cache=\"X-Me\"")], Ok(seconds(60))),
        (200, vec![(CACHE_CONTROL, "max-age=60, no-cache"), etag.clone()], Ok(seconds(0))),
        (200, vec![(CACHE_CONTROL, "max-age=60, no-cache")], Err(NoFreshness)),
        (200, vec![(CACHE_CONTROL, "max-age=0")], Err(NoFreshness)),
        (200, vec![(CACHE_CONTROL, "max-age=0"), etag.clone()], Ok(seconds(0))),
        (200, vec![(CACHE_CONTROL, "max-age=0, stale-if-error=9")], Ok(seconds(0))),
        (200, vec![(CACHE_CONTROL, "max-age=60"), (SET_COOKIE, "a=b")], Err(Cookie)),
        (200, vec![(CACHE_CONTROL, "public, max-age=60"), (SET_COOKIE, "a=b")], Err(Cookie)),
        (200, vec![(CACHE_CONTROL, "max-age=60"), (VARY, "Accept, *")], Err(VaryAnything)),
        (200, vec![(CACHE_CONTROL, "max-age=60"), (CONTENT_LENGTH, "1000")], Ok(seconds(60))),
        (200, vec![(CACHE_CONTROL, "max-age=60"), (CONTENT_LENGTH, "1001")], Err(TooLarge)),
        (200, vec![(CACHE_CONTROL, "no-store, must-understand, max-age=60")], Ok(seconds(60))),
        (299, vec![(CACHE_CONTROL, "no-store, must-understand, max-age=60")], Err(Status)),
        (299, vec![(CACHE_CONTROL, "must-understand, max-age=60")], Err(Status)),
        (200, vec![(EXPIRES, "0")], Err(NoFreshness)),
        (200, vec![etag.clone()], Ok(seconds(0))),
        (200, vec![(LAST_MODIFIED, "Tue, 06 Nov 1984 08:49:37 GMT")], Ok(seconds(86_400))),
        (302, vec![(LAST_MODIFIED, "Tue, 06 Nov 1984 08:49:37 GMT")], Err(NoFreshness)),
        (302, vec![(CACHE_CONTROL, "no-cache"), etag.clone()], Err(NoFreshness)),
        (302, vec![(CACHE_CONTROL, "public"), etag.clone()], Ok(seconds(0))),
        (302, vec![(CACHE_CONTROL, "max-age=0"), etag.clone()], Ok(seconds(0))),
        (302, vec![(EXPIRES, "0"), etag.clone()], Ok(seconds(0))),
        (302, vec![(EXPIRES, "0"), (CDN, "must-revalidate"), etag.clone()], Err(NoFreshness)),
        (200, vec![(CDN, "max-age=60"), (CACHE_CONTROL, "no-store")], Ok(seconds(60))),
        (200, vec![(CDN, "no-store"), (CACHE_CONTROL, "max-age=60")], Err(NoStore)),
        (200, vec![(CDN, "private"), (CACHE_CONTROL, "max-age=60")], Err(Private)),
        (200, vec![(CDN, "Max-Age=60"), (CACHE_CONTROL, "no-store")], Err(NoStore)),
        (200, vec![(CDN, "max-age=60"), (SET_COOKIE, "a=b")], Err(Cookie)),
    ] {
        assert_eq!(standard(status, &fields), expected, "{status} {fields:?}");
    }
}

/// RFC 9111 3.5 and contract section 7, Identity.
#[test]
fn responses_to_credentials_are_stored_only_with_permission() {
    let authorization = (AUTHORIZATION, "Basic x");
    let cookie = (COOKIE, "a=b");
    let refused = Err(Unstorable::Credentials);
    for (request, said, expected) in [
        (vec![authorization.clone()], "max-age=60", refused),
        (vec![authorization.clone()], "max-age=60, public", Ok(Permission::Everybody)),
        (vec![authorization.clone()], "s-maxage=60", Ok(Permission::Everybody)),
        (vec![authorization.clone()], "max-age=60, must-revalidate", refused),
        (vec![cookie.clone()], "max-age=60", refused),
        (vec![cookie.clone()], "max-age=60, must-revalidate", refused),
        (vec![authorization, cookie.clone()], "max-age=60, must-revalidate", refused),
        (vec![cookie], "s-maxage=60", Ok(Permission::Everybody)),
        (vec![], "max-age=60", Ok(Permission::Anonymous)),
    ] {
        let policy = CachePolicy::standard("route");
        let verdict = judge(&policy, &request, 200, &[(CACHE_CONTROL, said)]).verdict;
        assert_eq!(verdict.map(|plan| plan.permission), expected, "{request:?} {said}");
    }
}

/// RFC 9111 5.2.1.5.
#[test]
fn a_request_can_forbid_storing() {
    let policy = CachePolicy::standard("route");
    let verdict =
        judge(&policy, &[(CACHE_CONTROL, "no-store")], 200, &[(CACHE_CONTROL, "max-age=60")]).verdict;
    assert_eq!(verdict.err(), Some(Unstorable::RequestNoStore));
    let policy = CachePolicy::force("route", seconds(9));
    assert!(judge(&policy, &[(CACHE_CONTROL, "no-store")], 200, &[]).verdict.is_ok());
}

#[test]
fn force_stores_for_its_ttl_what_is_not_personal() {
    for (status, fields, expected) in [
        (200, vec![], Ok(seconds(9))),
        (200, vec![(CACHE_CONTROL, "no-store, no-cache, max-age=0")], Ok(seconds(9))),
        (200, vec![(CACHE_CONTROL, "max-age=3600"), (EXPIRES, "0")], Ok(seconds(9))),
        (200, vec![(http::header::AGE, "100")], Ok(seconds(9))),
        (301, vec![], Ok(seconds(9))),
        (404, vec![], Ok(seconds(1))),
        (410, vec![(CACHE_CONTROL, "no-store")], Ok(seconds(1))),
        (503, vec![], Ok(seconds(1))),
        (200, vec![(CACHE_CONTROL, "private")], Err(Unstorable::Private)),
        (200, vec![(SET_COOKIE, "a=b")], Err(Unstorable::SetCookie)),
        (200, vec![(VARY, "*")], Err(Unstorable::VaryAnything)),
        (206, vec![], Err(Unstorable::Status)),
        (304, vec![], Err(Unstorable::Status)),
        (302, vec![], Err(Unstorable::NoFreshness)),
        (403, vec![], Err(Unstorable::NoFreshness)),
        (403, vec![(CACHE_CONTROL, "no-store, max-age=5")], Err(Unstorable::NoStore)),
        (302, vec![(CACHE_CONTROL, "max-age=5")], Ok(seconds(5))),
    ] {
        assert_eq!(forced(status, &fields), expected, "{status} {fields:?}");
    }
    let no_negative = CachePolicy::force("route", seconds(9));
    assert_eq!(judge(&no_negative, &[], 404, &[]).verdict.err(), Some(Unstorable::NoFreshness));
}

#[test]
fn the_routes_ttl_is_a_default_in_standard_mode() {
    let policy = CachePolicy { ttl: Some(seconds(9)), ..CachePolicy::standard("route") };
    let old = (LAST_MODIFIED, "Tue, 06 Nov 1984 08:49:37 GMT");
    for (status, fields, expected) in [
        (200, vec![], Ok(seconds(9))),
        (200, vec![(http::header::AGE, "30")], Ok(seconds(9))),
        (200, vec![old], Ok(seconds(9))),
        (200, vec![(CACHE_CONTROL, "public")], Ok(seconds(9))),
        (200, vec![(CACHE_CONTROL, "max-age=5")], Ok(seconds(5))),
        (200, vec![(EXPIRES, "0")], Err(Unstorable::NoFreshness)),
        (200, vec![(CACHE_CONTROL, "no-cache")], Err(Unstorable::NoFreshness)),
        (200, vec![(CACHE_CONTROL, "no-store")], Err(Unstorable::NoStore)),
        (302, vec![], Err(Unstorable::NoFreshness)),
        (404, vec![], Err(Unstorable::NoFreshness)),
    ] {
        let verdict = judge(&policy, &[], status, &fields).verdict.map(|plan| plan.ttl());
        assert_eq!(verdict, expected, "{status} {fields:?}");
    }
}

/// RFC 9111 4.2.4, 5.2.2.10; RFC 5861.
#[test]
fn stale_windows_come_from_the_response_before_the_route() {
    let policy = CachePolicy {
        stale_while_revalidate: Some(seconds(3)),
        stale_if_error: Some(seconds(4)),
        ..CachePolicy::standard("route")
    };
    let rules = |said: &str| judge(&policy, &[], 200, &[(CACHE_CONTROL, said)]).verdict.unwrap().stale;
    let windows = |said: &str| (rules(said).while_revalidate.as_secs(), rules(said).if_error.as_secs());
    for (said, expected, disconnected) in [
        ("max-age=60", (3, 4), true),
        ("max-age=60, stale-while-revalidate=7", (7, 4), true),
        ("max-age=60, stale-if-error=0", (3, 0), true),
        ("s-maxage=60", (0, 0), false),
        ("s-maxage=60, stale-while-revalidate=7", (7, 0), false),
        ("max-age=60, must-revalidate, stale-while-revalidate=7", (0, 0), false),
        ("max-age=60, proxy-revalidate", (0, 0), false),
    ] {
        assert_eq!(windows(said), expected, "{said}");
        assert_eq!(rules(said).disconnected > seconds(10), disconnected, "{said}");
    }
    let force = CachePolicy { stale_if_error: Some(seconds(4)), ..CachePolicy::force("route", seconds(9)) };
    let rules = judge(&force, &[], 200, &[(CACHE_CONTROL, "must-revalidate")]).verdict.unwrap().stale;
    assert_eq!((rules.if_error, rules.disconnected), (seconds(4), seconds(4)));
}

#[test]
fn facts_say_who_may_share_a_response() {
    let me = [HeaderName::from_static("x-me")];
    for (fields, is_personal, personal_fields) in [
        (vec![], false, &[][..]),
        (vec![(CACHE_CONTROL, "public")], false, &[]),
        (vec![(CACHE_CONTROL, "private")], true, &[]),
        (vec![(CACHE_CONTROL, "private=\"X-Me\", public")], false, &me),
        (vec![(CACHE_CONTROL, "private=\"X-Me\", private")], true, &[]),
        (vec![(CACHE_CONTROL, "public"), (SET_COOKIE, "a=b")], true, &[]),
    ] {
        let facts = judge(&CachePolicy::standard("route"), &[], 200, &fields).facts;
        assert_eq!(
            (facts.is_personal(), facts.personal_fields()),
            (is_personal, personal_fields),
            "{fields:?}"
        );
    }
}

#[test]
fn nothing_is_stored_when_off_or_for_a_request_with_a_body() {
    let off = CachePolicy { mode: Mode::Off, ..CachePolicy::standard("route") };
    let fields = [(CACHE_CONTROL, "max-age=60")];
    assert_eq!(judge(&off, &[], 200, &fields).verdict.err(), Some(Unstorable::Off));
    for policy in [CachePolicy::standard("route"), CachePolicy::force("route", seconds(9))] {
        for body in [(CONTENT_LENGTH, "1"), (TRANSFER_ENCODING, "chunked")] {
            assert_eq!(judge(&policy, &[body], 200, &fields).verdict.err(), Some(Unstorable::RequestBody));
        }
        assert!(judge(&policy, &[(CONTENT_LENGTH, "0")], 200, &fields).verdict.is_ok());
    }
}
