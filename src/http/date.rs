//! Dates in header fields, as a cache reads them.
//!
//! All three formats of RFC 9110 section 5.6.7, with letters in any case and in no zone but GMT (RFC 9111 section 4.2). Beyond
//! that as robust as that section asks: the day of the week is redundant, and may be another one; a minute may have a
//! sixty-first second.

use std::time::SystemTime;

use http::header::HeaderValue;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The longest format: RFC 850 on a Wednesday.
const LONGEST: usize = 33;

/// The time that a field's value names; `None` where it is no HTTP date.
pub fn parse(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    // The usual spelling first.
    httpdate::parse_http_date(text).ok().or_else(|| {
        let usual = in_usual_case(text)?;
        httpdate::parse_http_date(&usual).ok().or_else(|| parse_on_any_day(&usual))
    })
}

/// The date whatever day of the week it claims to be, and with a leap second as the one before it.
fn parse_on_any_day(text: &str) -> Option<SystemTime> {
    let (day, rest) = text.split_at_checked(text.find(|c: char| !c.is_ascii_alphabetic())?)?;
    let rest = match rest.rsplit_once(":60") {
        Some((before, behind)) if !behind.contains(':') => format!("{before}:59{behind}"),
        _ => rest.to_owned(),
    };
    let names = DAYS.map(|name| name.get(..3).filter(|_| day.len() == 3).unwrap_or(name));
    if !names.contains(&day) {
        return None;
    }
    names.into_iter().find_map(|name| httpdate::parse_http_date(&format!("{name}{rest}")).ok())
}

/// `SUN, 06 nov 1994 08:49:37 gmt` as the formats have it: names with one capital, the zone in capitals.
fn in_usual_case(text: &str) -> Option<String> {
    if text.len() > LONGEST {
        return None;
    }
    let mut usual = String::with_capacity(text.len());
    for letter in text.chars() {
        let begins_word = !usual.ends_with(|before: char| before.is_ascii_alphabetic());
        usual.push(if begins_word { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() });
    }
    Some(match usual.strip_suffix("Gmt") {
        Some(date) => format!("{date}GMT"),
        None => usual,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_formats_in_any_case_and_no_other_zone() {
        let parsed = |text: &str| parse(&HeaderValue::from_str(text).unwrap());
        let expected = parsed("Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(expected.is_some());
        for same in [
            "SUN, 06 NOV 1994 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            " Sun, 06 Nov 1994 08:49:37 GMT\t",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "sunDAY, 06-nov-94 08:49:37 gMt",
            "Sun Nov  6 08:49:37 1994",
            "SUN NOV  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Friday, 06-Nov-94 08:49:37 GMT",
            "wed Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parsed(same), expected, "{same}");
        }
        let last = parsed("Sat, 31 Dec 2033 23:59:59 GMT");
        assert!(last.is_some());
        assert_eq!(parsed("Sat, 31 Dec 2033 23:59:60 GMT"), last);
        assert_eq!(parsed("Sun Dec 31 23:59:60 2033"), last);
        for none in [
            "",
            "Day, 06 Nov 1994 08:49:37 GMT",
            "Sund, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "0",
            "-1",
            "784111777",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }
    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = parse(&value);
            }
        }

        #[test]
        fn any_time_is_read_in_any_case(seconds in 0_u64..253_402_300_800, upper in any::<bool>()) {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let text = httpdate::fmt_http_date(time);
            let text = if upper { text.to_uppercase() } else { text.to_lowercase() };
            prop_assert_eq!(parse(&HeaderValue::from_str(&text).unwrap()), Some(time));
        }
    }
}
