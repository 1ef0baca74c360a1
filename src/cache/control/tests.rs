use http::header::{AGE, HeaderValue, SET_COOKIE};
use proptest::prelude::*;

use super::*;

fn response(lines: &[&str]) -> ResponseControl {
    let lines = lines.iter().map(|line| (CACHE_CONTROL, line.parse().unwrap()));
    ResponseControl::of(&lines.collect())
}

fn request(lines: &[(HeaderName, &str)]) -> RequestControl {
    RequestControl::of(&lines.iter().map(|(name, line)| (name.clone(), line.parse().unwrap())).collect())
}

fn seconds(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

/// RFC 9111 1.2.2, 4.2.1 and 5.2.
#[test]
fn max_age_is_read_in_all_its_forms() {
    for (line, expected) in [
        ("max-age=60", seconds(60)),
        ("MAX-AGE=60", seconds(60)),
        ("Max-Age=\"60\"", seconds(60)),
        ("  max-age=60  ,public", seconds(60)),
        (",,max-age=60,", seconds(60)),
        ("max-age\t=60", seconds(0)),
        ("max-age = 60", seconds(0)),
        ("max-age= \"60\"", seconds(0)),
        ("max-age=\" 60\"", seconds(0)),
        ("max-age=\"60", seconds(0)),
        ("max-age=60;a=b", seconds(0)),
        ("max-age=+60", seconds(0)),
        ("max-age=0x3c", seconds(0)),
        ("max-age=1e3", seconds(0)),
        ("max-age=60 5", seconds(0)),
        ("\tmax-age=60\t", seconds(60)),
        ("max-age=5, max-age=60", seconds(5)),
        ("max-age=2147483647", seconds(MAX_SECONDS - 1)),
        ("max-age=4294967296", seconds(MAX_SECONDS)),
        ("max-age=18446744073709551616", seconds(MAX_SECONDS)),
        ("public, extension, other=\"a,b\", max-age=60", seconds(60)),
        ("max_age=60", None),
        ("\"max-age=60\"", None),
        ("max-age=007", seconds(7)),
        ("max-age=60, max-age=5", seconds(60)),
        ("max-age=2147483648", seconds(MAX_SECONDS)),
        ("max-age=99999999999999999999999", seconds(MAX_SECONDS)),
        ("max-age=-1", seconds(0)),
        ("max-age=1.5", seconds(0)),
        ("max-age=60s", seconds(0)),
        ("max-age='60'", seconds(0)),
        ("max-age=", seconds(0)),
        ("max-age", seconds(0)),
        ("max-age=x, max-age=60", seconds(0)),
        ("extension=\"max-age=60\"", None),
        ("extension=\"a\\\", max-age=60\"", None),
        ("xmax-age=60", None),
        ("s-maxage=60", None),
        ("", None),
    ] {
        assert_eq!(response(&[line]).max_age, expected, "{line}");
    }
}

#[test]
fn several_lines_are_one_list() {
    let control = response(&["max-age=60", "No-Store, private", "s-maxage=5"]);
    assert!(control.no_store && control.private.is_whole());
    assert_eq!((control.max_age, control.s_maxage), (seconds(60), seconds(5)));
}

/// RFC 9111 5.2.2.4 and 5.2.2.7.
#[test]
fn field_lists_limit_private_and_no_cache() {
    let fields = |names: &[HeaderName]| Scope::Fields(names.to_vec());
    for (line, expected) in [
        ("private=\"Set-Cookie\"", fields(&[SET_COOKIE])),
        ("private=\"set-cookie, AGE\"", fields(&[SET_COOKIE, AGE])),
        ("private=Age", fields(&[AGE])),
        ("private=\"Age\", private=\"Set-Cookie\"", fields(&[AGE, SET_COOKIE])),
        ("private=\"Age\", private", Scope::Whole),
        ("private, private=\"Age\"", Scope::Whole),
        ("private=\"\"", Scope::Whole),
        ("private=\"not a name\"", Scope::Whole),
        ("private=\"A\\ge\"", fields(&[AGE])),
        ("private=\"unfinished", Scope::Whole),
        ("privateer", Scope::Absent),
    ] {
        assert_eq!(response(&[line]).private, expected, "{line}");
        let no_cache = line.replace("private", "no-cache");
        assert_eq!(response(&[&no_cache]).no_cache, expected, "{no_cache}");
    }
}

#[test]
fn what_forbids_stale_answers() {
    for line in ["must-revalidate", "Proxy-Revalidate", "no-cache"] {
        assert!(response(&[line]).forbids_stale(), "{line}");
    }
    for line in ["max-age=1", "s-maxage=1", "no-cache=\"Age\"", "public", ""] {
        assert!(!response(&[line]).forbids_stale(), "{line}");
    }
}

/// RFC 9111 5.2.1 and 5.4.
#[test]
fn request_directives_are_read() {
    let control = request(&[(CACHE_CONTROL, "max-age=5, MIN-FRESH=\"3\", max-stale, only-if-cached")]);
    assert_eq!((control.max_age, control.min_fresh), (seconds(5), seconds(3)));
    assert_eq!(control.max_stale, seconds(MAX_SECONDS));
    assert!(control.only_if_cached && !control.no_cache && !control.no_store);
    assert_eq!(request(&[(CACHE_CONTROL, "max-stale=7")]).max_stale, seconds(7));
    assert_eq!(request(&[(CACHE_CONTROL, "max-stale=x, min-fresh=x")]), RequestControl::default());
    assert_eq!(request(&[(CACHE_CONTROL, "max-age=x")]).max_age, seconds(0));
    assert!(request(&[(CACHE_CONTROL, "no-store, no-cache")]).no_store);
}

#[test]
fn pragma_counts_only_without_cache_control() {
    assert!(request(&[(PRAGMA, "foo, No-Cache")]).no_cache);
    assert!(!request(&[(PRAGMA, "no-cache"), (CACHE_CONTROL, "max-age=3")]).no_cache);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            for name in ["cache-control", "cdn-cache-control"].map(HeaderName::from_static) {
                let headers: HeaderMap = [(name, value.clone())].into_iter().collect();
                let _ = (ResponseControl::of(&headers), RequestControl::of(&headers));
            }
        }
    }

    #[test]
    fn case_and_neighbours_change_nothing(
        upper in any::<[bool; 8]>(), age in 0_u32.., before in "[a-z]{0,8}(=\"[a-z,= ]{0,8}\")?",
    ) {
        let name: String = "no-store".chars().zip(upper)
            .map(|(letter, upper)| if upper { letter.to_ascii_uppercase() } else { letter }).collect();
        let control = response(&[&format!("{before} ,{name},max-age={age}")]);
        prop_assert!(control.no_store);
        prop_assert_eq!(control.max_age, seconds(u64::from(age).min(MAX_SECONDS)));
    }
}
