//! Directives for us alone (RFC 9213): fields that speak to some caches only, and go before `Cache-Control` there.
//!
//! They are structured fields: one that does not parse, or is empty, counts as absent. Of one that does parse a directive
//! whose value has the wrong type counts as absent where it would let us keep more, and counts where it forbids.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::{MAX_SECONDS, ResponseControl, field_names};

/// The fields that speak to us, the most particular first (RFC 9213 2.2).
const TARGET_LIST: [HeaderName; 2] =
    [HeaderName::from_static("forebay-cache-control"), HeaderName::from_static("cdn-cache-control")];

/// What the first valid field of the target list says; `None` where none does, and `Cache-Control` counts.
pub(super) fn read(headers: &HeaderMap) -> Option<ResponseControl> {
    let directives = TARGET_LIST.iter().find_map(|name| parse(headers, name))?;
    let mut control = ResponseControl { is_targeted: true, ..ResponseControl::default() };
    for (name, value) in &directives {
        take(&mut control, name.as_str(), value);
    }
    Some(control)
}

/// All lines of a field as one dictionary (RFC 9651 4.2).
fn parse(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return None;
    }
    let directives = Parser::new(&lines.join(b", ".as_slice())).parse::<Dictionary>().ok()?;
    (!directives.is_empty()).then_some(directives)
}

fn take(control: &mut ResponseControl, name: &str, value: &ListEntry) {
    let forbids = !is(value, false);
    match name {
        "max-age" => control.max_age = seconds(value),
        "s-maxage" => control.s_maxage = seconds(value),
        "stale-while-revalidate" => control.stale_while_revalidate = seconds(value),
        "stale-if-error" => control.stale_if_error = seconds(value),
        "no-cache" if forbids => control.no_cache.widen(names(value)),
        "private" if forbids => control.private.widen(names(value)),
        "no-store" => control.no_store = forbids,
        "public" => control.public = is(value, true),
        "must-revalidate" => control.must_revalidate = forbids,
        "proxy-revalidate" => control.proxy_revalidate = forbids,
        "must-understand" => control.must_understand = is(value, true),
        "no-transform" => control.no_transform = forbids,
        _ => {}
    }
}

fn is(value: &ListEntry, wanted: bool) -> bool {
    matches!(value, ListEntry::Item(Item { bare_item: BareItem::Boolean(found), .. }) if *found == wanted)
}

/// An integer only: a decimal or a string that looks like one must not be coerced (RFC 9213 2.1).
fn seconds(value: &ListEntry) -> Option<Duration> {
    let ListEntry::Item(Item { bare_item: BareItem::Integer(seconds), .. }) = value else { return None };
    Some(Duration::from_secs(u64::try_from(i64::from(*seconds)).unwrap_or_default().min(MAX_SECONDS)))
}

/// A string, a token, or a list of them.
fn names(value: &ListEntry) -> Option<Vec<HeaderName>> {
    let one = |item: &Item| match &item.bare_item {
        BareItem::String(text) => field_names(text.as_str().as_bytes()),
        BareItem::Token(text) => field_names(text.as_str().as_bytes()),
        _ => None,
    };
    match value {
        ListEntry::Item(item) => one(item),
        ListEntry::InnerList(list) => {
            let names: Vec<_> = list.items.iter().map(one).collect::<Option<Vec<_>>>()?.concat();
            (!names.is_empty()).then_some(names)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{AGE, CACHE_CONTROL, ETAG};

    use super::super::Scope;
    use super::*;

    const OURS: &str = "forebay-cache-control";
    const CDN: &str = "cdn-cache-control";

    fn control(lines: &[(&'static str, &str)]) -> ResponseControl {
        let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        ResponseControl::of(&lines.collect())
    }

    /// What counts for the lifetime, and whether a targeted field said it.
    fn max_age(lines: &[(&'static str, &str)]) -> (Option<u64>, bool) {
        let control = control(lines);
        (control.max_age.map(|age| age.as_secs()), control.is_targeted)
    }

    /// RFC 9213 2.2.
    #[test]
    fn the_first_valid_field_of_the_target_list_counts_alone() {
        let general = (CACHE_CONTROL.as_str(), "max-age=1, no-store");
        for (lines, expected) in [
            (vec![general], (Some(1), false)),
            (vec![(CDN, "max-age=2"), general], (Some(2), true)),
            (vec![(OURS, "max-age=3"), (CDN, "max-age=2"), general], (Some(3), true)),
            (vec![(OURS, ""), (CDN, "max-age=2"), general], (Some(2), true)),
            (vec![(OURS, "&"), (CDN, "max-age=2"), general], (Some(2), true)),
            (vec![(OURS, "public"), (CDN, "max-age=2"), general], (None, true)),
            (vec![("other-cache-control", "max-age=2"), general], (Some(1), false)),
        ] {
            assert_eq!(max_age(&lines), expected, "{lines:?}");
            assert_eq!(control(&lines).no_store, !expected.1, "{lines:?}");
        }
    }

    /// RFC 9213 2.1, RFC 9651 4.2.2.
    #[test]
    fn a_field_is_a_dictionary_or_absent() {
        for (value, expected) in [
            ("max-age=60", (Some(60), true)),
            ("  max-age=60 ", (Some(60), true)),
            ("a=\"b, max-age=5\", max-age=60, c", (Some(60), true)),
            ("max-age=60;a=b;c", (Some(60), true)),
            ("max-age=60,\tpublic", (Some(60), true)),
            ("max-age=5, max-age=60", (Some(60), true)),
            ("max-age=0060", (Some(60), true)),
            ("max-age=-1", (Some(0), true)),
            ("max-age=999999999999999", (Some(MAX_SECONDS), true)),
            ("max-age=60.0", (None, true)),
            ("max-age=\"60\"", (None, true)),
            ("max-age=(60)", (None, true)),
            ("max-age=sixty", (None, true)),
            ("max-age", (None, true)),
            ("s-maxage=60", (None, true)),
            ("max-age=1000000000000000", (None, false)),
            ("max-age =60", (None, false)),
            ("max-age= 60", (None, false)),
            ("max-age=60,", (None, false)),
            ("max-age=60,, public", (None, false)),
            ("max-age=60; public=", (None, false)),
            ("MAX-AGE=60", (None, false)),
            ("max-age='60'", (None, false)),
            ("max-age=60s", (None, false)),
            ("max-age=60, a=\"b", (None, false)),
            ("max-age=60, &", (None, false)),
            ("", (None, false)),
        ] {
            assert_eq!(max_age(&[(CDN, value)]), expected, "{value}");
        }
        assert_eq!(max_age(&[(CDN, "public"), (CDN, "max-age=60")]), (Some(60), true));
    }

    #[test]
    fn every_directive_is_understood_and_what_forbids_counts_in_any_type() {
        let said = control(&[(
            CDN,
            "s-maxage=1, stale-while-revalidate=2, stale-if-error=3, public, must-revalidate, proxy-revalidate, \
             must-understand, no-transform, no-store",
        )]);
        assert_eq!(said.s_maxage, Some(Duration::from_secs(1)));
        assert_eq!(said.stale_while_revalidate, Some(Duration::from_secs(2)));
        assert_eq!(said.stale_if_error, Some(Duration::from_secs(3)));
        assert!(said.public && said.must_revalidate && said.proxy_revalidate);
        assert!(said.must_understand && said.no_transform && said.no_store);
        let other = control(&[(CDN, "no-store=1, must-revalidate=x, public=1, must-understand=1")]);
        assert!(other.no_store && other.must_revalidate && !other.public && !other.must_understand);
        let not = control(&[(CDN, "no-store=?0, private=?0, no-cache=?0, public=?0, proxy-revalidate=?0")]);
        assert_eq!(not, ResponseControl { is_targeted: true, ..ResponseControl::default() });
    }

    #[test]
    fn field_lists_are_strings_tokens_or_lists() {
        for (value, expected) in [
            ("private", Scope::Whole),
            ("private=\"Age, ETag\"", Scope::Fields(vec![AGE, ETAG])),
            ("private=Age", Scope::Fields(vec![AGE])),
            ("private=(\"Age\" etag)", Scope::Fields(vec![AGE, ETAG])),
            ("private=()", Scope::Whole),
            ("private=5", Scope::Whole),
            ("private=\"not a name\"", Scope::Whole),
        ] {
            assert_eq!(control(&[(CDN, value)]).private, expected, "{value}");
            let no_cache = value.replace("private", "no-cache");
            assert_eq!(control(&[(CDN, &no_cache)]).no_cache, expected, "{no_cache}");
        }
    }
}
