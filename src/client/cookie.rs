//! Cookies, which every server reads in its own way: with blanks around them or without, in quotes, with escapes.
//!
//! Limits and identity need opposite readings. A limit that tells spellings apart gives one client as many allowances as it
//! finds spellings, so keys are made of the loosest reading there is ([`values`]): at worst two clients share an allowance.
//! An identity that takes two values for one hands one user's answer to another, so credentials count as they came
//! ([`candidates`]): at worst one user asks the upstream twice.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;

use super::form::decode;

/// The cookies of a request in order, over all `Cookie` lines (HTTP/2 sends one a line, RFC 9113 8.2.3), without the
/// space around them.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
}

/// For limits: the values of the cookies called `name` (case counts, RFC 6265 5.4), in their loosest reading.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = Cow<'h, [u8]>> {
    all(headers).filter_map(move |cookie| {
        let (found, value) = cookie.split_at_checked(cookie.iter().position(|byte| *byte == b'=')?)?;
        (*decode(trimmed(found)) == *name.as_bytes()).then(|| loosest(value.get(1..).unwrap_or_default()))
    })
}

/// For identity: the cookies that some server may take for one called `name`, name and value as they came. Servers overlook
/// blanks and case and undo percent-encoding, and some begin a new cookie behind a blank or a comma.
pub(super) fn candidates<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let is_called_so = move |word: &[u8]| {
        let found = word.split(|byte| *byte == b'=').next().unwrap_or_default();
        decode(trimmed(found)).eq_ignore_ascii_case(name.as_bytes())
    };
    all(headers).filter(move |cookie| cookie.split(|byte| is_blank(*byte) || *byte == b',').any(is_called_so))
}

/// A value without what servers overlook: blanks, quotes with their escapes, percent-encoding, and what follows a blank or a
/// comma, neither of which a value may have (RFC 6265 4.1.1).
fn loosest(value: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(*byte, b'"' | b'%' | b'+' | b',');
    if value.iter().all(is_plain) {
        return Cow::Borrowed(value);
    }
    let value = trimmed(value);
    let bare = match value.strip_prefix(b"\"") {
        Some(quoted) => Cow::Owned(unquoted(quoted)),
        None => {
            Cow::Borrowed(value.split(|byte| is_blank(*byte) || *byte == b',').next().unwrap_or_default())
        }
    };
    let mut decoded = decode(&bare).into_owned();
    // A plus is a space to some and itself to others.
    decoded.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    Cow::Owned(trimmed(&decoded).to_vec())
}

/// What stands before the closing quote, `\x` and the octal `\ooo` undone as Python does. Without a closing quote, all but the
/// last byte, whatever that is: some take it for the quote unseen.
fn unquoted(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    loop {
        match rest {
            [b'"', ..] => return out,
            [] => {
                out.pop();
                return out;
            }
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..] => {
                out.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = after;
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

/// Without blanks at both ends.
fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// What one server or another strips: those who read fields as Latin-1 strip U+0085 and U+00A0, too.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x85 | 0xa0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn cookies(line: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(line).unwrap())])
    }

    #[test]
    fn every_spelling_of_a_value_is_one_key() {
        for line in [
            &b"sid=k1"[..],
            b"a=2; sid=k1;b",
            b"sid= k1",
            b"sid =k1",
            b"sid\t=\t k1 ",
            b"sid=\xa0k1\x85",
            b"\xa0sid=k1",
            b"sid=\"k1\"",
            b"sid=\" k1 \"",
            b"sid=\"\\153\\061\"",
            b"sid=\"\\k\\1\"",
            b"sid=\"k1\" x=7",
            b"sid=\"k1\"7",
            b"sid=\"k17",
            b"sid=%6b1",
            b"sid=%6B%31",
            b"sid=\"%6b1\"",
            b"%73id=k1",
            b"sid=k1 x=7",
            b"sid=k1,x=7",
            b"sid=k1+",
            b"sid=+k1",
            b"sid=%20k1",
        ] {
            let headers = cookies(line);
            let found: Vec<_> = values(&headers, "sid").collect();
            assert_eq!(found, [Cow::Borrowed(b"k1")], "{}", line.escape_ascii());
        }
        let plus = (cookies(b"sid=a+b"), cookies(b"sid=a%2Bb"));
        assert!(values(&plus.0, "sid").eq(values(&plus.1, "sid")));
    }

    #[test]
    fn different_values_are_different_keys() {
        let lines = ["k1", "k2", "K1", "k", "1", "k%31%32", "\"k1\\\"\"", "%2", "\\153\\061"];
        let keys: Vec<_> = lines.map(|value| cookies(format!("sid={value}").as_bytes())).into();
        for (i, one) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(values(one, "sid").eq(values(other, "sid")), i == j, "{one:?} {other:?}");
            }
        }
        for line in ["SID=k1", "xsid=k1", "sid", "=sid", "sids=k1", "theme=sid"] {
            assert_eq!(values(&cookies(line.as_bytes()), "sid").count(), 0, "{line}");
        }
    }

    #[test]
    fn whatever_may_be_a_cookie_of_that_name_counts_for_identity_as_it_came() {
        for line in [
            "sid=k1",
            "sid =k1",
            "sid= k1",
            "SID=k1",
            "sid=\"k1\"",
            "%73id=k1",
            "theme=dark sid=k1",
            "theme=dark,sid=k1",
            "sid=k1 x=7",
            "sid",
        ] {
            let headers = cookies(format!("a=1; {line} ;b").as_bytes());
            assert!(candidates(&headers, "sid").eq([line.as_bytes()]), "{line}");
        }
        for line in ["xsid=k1", "sids=k1", "theme=sid", ""] {
            assert_eq!(candidates(&cookies(line.as_bytes()), "sid").count(), 0, "{line}");
        }
    }
}
