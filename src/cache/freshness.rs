//! How long a response is good and how old it is (RFC 9111 4.2), as pure functions of its head.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{AGE, DATE, EXPIRES, HeaderMap, HeaderName, LAST_MODIFIED};

use super::control::{MAX_SECONDS, ResponseControl, delta_seconds};
use crate::http::date;

/// Of the time since its last change a response without an explicit lifetime is good for a tenth (RFC 9111 4.2.2) ...
const HEURISTIC_SHARE: u32 = 10;

/// ... but not for longer than a day.
const HEURISTIC_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetime that the origin gives: `s-maxage`, else `max-age`, else `Expires` (RFC 9111 4.2.1), which a targeted field
/// silences (RFC 9213 2.2).
pub fn explicit_lifetime(
    control: &ResponseControl,
    headers: &HeaderMap,
    received: SystemTime,
) -> Option<Duration> {
    let directive = control.s_maxage.or(control.max_age);
    directive.or_else(|| {
        // Of several lines the first counts; what is no date, "0" above all, is in the past (RFC 9111 5.3).
        let expires = headers.get(EXPIRES).filter(|_| !control.is_targeted)?;
        let lifetime = date::parse(expires).and_then(|at| at.duration_since(made_at(headers, received)).ok());
        Some(lifetime.unwrap_or_default().min(Duration::from_secs(MAX_SECONDS)))
    })
}

/// A guess from `Last-Modified`; only where the status or `public` allows one (RFC 9111 4.2.2).
pub fn heuristic_lifetime(
    status: StatusCode,
    control: &ResponseControl,
    headers: &HeaderMap,
    received: SystemTime,
) -> Option<Duration> {
    if !is_heuristically_cacheable(status) && !control.public {
        return None;
    }
    let unchanged = made_at(headers, received).duration_since(http_date(headers, &LAST_MODIFIED)?).ok()?;
    Some((unchanged / HEURISTIC_SHARE).min(HEURISTIC_LIMIT))
}

/// The statuses that may be stored without being asked to (RFC 9110 15.1), 206 left out.
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// How old a response was when it arrived (RFC 9111 4.2.3); `delay` is from the request's start to the response's head.
pub fn corrected_initial_age(headers: &HeaderMap, received: SystemTime, delay: Duration) -> Duration {
    let apparent_age = received.duration_since(made_at(headers, received)).unwrap_or_default();
    let corrected_age_value = age_value(headers).saturating_add(delay);
    // A `Date` knows whole seconds only; what is less than that is no age.
    whole_seconds(apparent_age).max(corrected_age_value).min(Duration::from_secs(MAX_SECONDS))
}

/// When the response was made; when it was received where it does not say so (RFC 9110 6.6.1).
pub fn made_at(headers: &HeaderMap, received: SystemTime) -> SystemTime {
    http_date(headers, &DATE).unwrap_or(received)
}

/// The first line of a date field.
pub fn http_date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    date::parse(headers.get(name)?)
}

/// The first member of the first `Age` line; zero where that is none (RFC 9111 5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|line| line.as_bytes().split(|byte| *byte == b',').next());
    first.and_then(|member| delta_seconds(member.trim_ascii())).unwrap_or_default()
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

#[cfg(test)]
mod tests {
    use http::header::CACHE_CONTROL;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn received() -> SystemTime {
        httpdate::parse_http_date("Sun, 06 Nov 1994 09:49:37 GMT").unwrap()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// RFC 9111 4.2.1 and 5.3.
    #[test]
    fn s_maxage_goes_before_max_age_before_expires() {
        const AN_HOUR_AGO: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const NOW: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
        const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");
        for (fields, expected) in [
            (vec![], None),
            (vec![(CACHE_CONTROL, "max-age=5, s-maxage=7")], Some(seconds(7))),
            (vec![(CACHE_CONTROL, "max-age=5"), (EXPIRES, NOW)], Some(seconds(5))),
            (vec![(CACHE_CONTROL, "max-age=x"), (EXPIRES, NOW), (DATE, AN_HOUR_AGO)], Some(seconds(0))),
            (vec![(EXPIRES, NOW), (DATE, AN_HOUR_AGO)], Some(HOUR)),
            (vec![(EXPIRES, "Sunday, 06-Nov-94 09:49:37 GMT"), (DATE, AN_HOUR_AGO)], Some(HOUR)),
            (vec![(EXPIRES, "Sun Nov  6 09:49:37 1994"), (DATE, AN_HOUR_AGO)], Some(HOUR)),
            (vec![(EXPIRES, NOW), (DATE, "nonsense")], Some(seconds(0))),
            (vec![(EXPIRES, "Sun, 06 Nov 1994 09:50:37 GMT")], Some(seconds(60))),
            (vec![(EXPIRES, AN_HOUR_AGO)], Some(seconds(0))),
            (vec![(EXPIRES, "0")], Some(seconds(0))),
            (vec![(EXPIRES, "SUN, 06 NOV 1994 09:50:37 gmt")], Some(seconds(60))),
            (vec![(EXPIRES, "Sun, 06 Nov 1994 09:50:37 CET")], Some(seconds(0))),
            (vec![(EXPIRES, NOW), (CDN, "public"), (DATE, AN_HOUR_AGO)], None),
            (vec![(EXPIRES, NOW), (CDN, "max-age=5"), (CACHE_CONTROL, "max-age=9")], Some(seconds(5))),
            (vec![(EXPIRES, "-1"), (EXPIRES, NOW), (DATE, AN_HOUR_AGO)], Some(seconds(0))),
            (vec![(EXPIRES, "Fri, 31 Dec 9999 23:59:59 GMT")], Some(seconds(MAX_SECONDS))),
        ] {
            let headers = headers(&fields);
            let control = ResponseControl::of(&headers);
            assert_eq!(explicit_lifetime(&control, &headers, received()), expected, "{fields:?}");
        }
    }

    /// RFC 9111 4.2.2.
    #[test]
    fn a_guess_is_a_tenth_of_the_time_since_the_last_change() {
        let guess = |status: u16, fields: &[(HeaderName, &str)]| {
            let headers = headers(fields);
            let control = ResponseControl::of(&headers);
            heuristic_lifetime(StatusCode::from_u16(status).unwrap(), &control, &headers, received())
        };
        let changed = (LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT");
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert_eq!(guess(status, std::slice::from_ref(&changed)), Some(HOUR / 10), "{status}");
        }
        for status in [201, 202, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503, 504, 599] {
            assert_eq!(guess(status, std::slice::from_ref(&changed)), None, "{status}");
        }
        assert_eq!(guess(403, &[changed, (CACHE_CONTROL, "public")]), Some(HOUR / 10));
        assert_eq!(
            guess(200, &[(LAST_MODIFIED, "Sun, 06 Nov 1904 08:49:37 GMT")]),
            None,
            "no such HTTP date"
        );
        assert_eq!(guess(200, &[(LAST_MODIFIED, "Tue, 31 Nov 1984 08:49:37 GMT")]), None, "no such day");
        assert_eq!(guess(200, &[(LAST_MODIFIED, "Tue, 06 Nov 1984 08:49:37 GMT")]), Some(HEURISTIC_LIMIT));
        assert_eq!(guess(200, &[(LAST_MODIFIED, "Mon, 07 Nov 1994 08:49:37 GMT")]), None);
        assert_eq!(guess(200, &[]), None);
    }

    /// RFC 9111 4.2.3 and 5.1.
    #[test]
    fn age_is_the_worse_of_what_is_said_and_what_is_seen() {
        let delay = Duration::from_millis(500);
        for (fields, expected) in [
            (vec![], delay),
            (vec![(AGE, "10")], seconds(10) + delay),
            (vec![(AGE, "10, 20")], seconds(10) + delay),
            (vec![(AGE, "10"), (AGE, "20")], seconds(10) + delay),
            (vec![(AGE, "-10")], delay),
            (vec![(AGE, "1.5")], delay),
            (vec![(AGE, "abc, 10")], delay),
            (vec![(AGE, "0, 60")], delay),
            (vec![(AGE, "60;a=b")], delay),
            (vec![(AGE, "\"60\"")], delay),
            (vec![(AGE, "+60")], delay),
            (vec![(AGE, "")], delay),
            (vec![(AGE, " 060 ")], seconds(60) + delay),
            (vec![(AGE, "2147483648")], seconds(MAX_SECONDS)),
            (vec![(AGE, "99999999999999999999")], seconds(MAX_SECONDS)),
            (vec![(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")], HOUR),
            (vec![(DATE, "Sun, 06 Nov 1994 08:49:37 GMT"), (AGE, "7200")], HOUR * 2 + delay),
            (vec![(DATE, "Sun, 06 Nov 1994 10:49:37 GMT")], delay),
            (vec![(DATE, "nonsense")], delay),
        ] {
            assert_eq!(corrected_initial_age(&headers(&fields), received(), delay), expected, "{fields:?}");
        }
    }
}
