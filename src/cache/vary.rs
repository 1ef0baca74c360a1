//! Which stored variant suits which request (RFC 9111 4.1).
//!
//! Fields are compared as they are, but a difference that means nothing is overlooked: how a list is spread over lines and
//! what white space is around its commas, and where a field's own syntax says so, case and order (codings, languages).
//! Matching allocates nothing.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HOST, HeaderMap,
    HeaderName, HeaderValue, ORIGIN, PROXY_AUTHORIZATION, REFERER, USER_AGENT, VARY,
};

/// Longer lists are compared literally: a client must not make us search long lists in long lists.
const MAX_MEMBERS: usize = 32;
/// Longer values, in bytes over all their lines, are compared literally too.
const MAX_COMPARED: usize = 256;
/// More names than any honest answer has: it suits nobody else then.
const MAX_NAMES: usize = 32;

/// What a response's `Vary` lines say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Vary {
    /// The response suits every request for its URI.
    #[default]
    None,
    /// It suits requests that have the same values in these fields.
    Fields(Vec<HeaderName>),
    /// Nobody but the origin can tell whom it suits: `*`, an endless list, or something that is no list of names.
    Anything,
}

impl Vary {
    /// Reads all `Vary` lines of a response.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for line in headers.get_all(VARY) {
            for member in line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                match HeaderName::from_bytes(member) {
                    // `*` is a legal field name, but here it is not meant as one.
                    _ if member.is_empty() => {}
                    Ok(name) if names.contains(&name) => {}
                    Ok(name) if member != b"*" && names.len() < MAX_NAMES => names.push(name),
                    _ => return Self::Anything,
                }
            }
        }
        if names.is_empty() { Self::None } else { Self::Fields(names) }
    }

    /// The fields that it names.
    pub fn names(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::None | Self::Anything => &[],
        }
    }
}

/// The selecting header fields of a stored response: the request's values in the fields that `Vary` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectingFields(Box<[(HeaderName, Box<[HeaderValue]>)]>);

impl SelectingFields {
    /// Takes the values of `names` from a request.
    pub fn of(names: &[HeaderName], request: &HeaderMap) -> Self {
        let lines = |name: &HeaderName| request.get_all(name).iter().map(unpinned).collect();
        Self(names.iter().map(|name| (name.clone(), lines(name))).collect())
    }

    /// Whether a request has the same values, present or absent.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, stored)| {
            let presented = request.get_all(name);
            stored.iter().eq(presented.iter())
                || (presented.iter().next().is_some() && !stored.is_empty())
                    && is_plain(stored.iter())
                    && is_plain(presented.iter())
                    && Syntax::of(name).is_some_and(|syntax| {
                        syntax.same(|| members(stored.iter()), || members(presented.iter()))
                    })
        })
    }

    /// Whether every request for the URI is suited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About how many bytes of memory the fields take.
    pub fn weight(&self) -> usize {
        let values = |lines: &[HeaderValue]| lines.iter().map(|line| line.len() + 40).sum::<usize>();
        self.0.iter().map(|(name, lines)| name.as_str().len() + 48 + values(lines)).sum()
    }
}

/// Short, and without quotes, within which commas and blanks mean something.
fn is_plain<'a>(mut lines: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut left = MAX_COMPARED;
    lines.all(|line| {
        let fits = left.checked_sub(line.len());
        left = fits.unwrap_or_default();
        fits.is_some() && !line.as_bytes().contains(&b'"')
    })
}

/// A copy that does not keep the connection's read buffer alive.
pub(crate) fn unpinned(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// What a list overlooks besides line breaks and the white space around commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Nothing more.
    Members,
    /// White space around `;` and `=`.
    Parameters,
    /// That, case, and order: preference is told by weights (RFC 9110 12.5.2 to 12.5.4).
    Preferences,
}

impl Syntax {
    fn of(name: &HeaderName) -> Option<Self> {
        match *name {
            ACCEPT => Some(Self::Parameters),
            ACCEPT_CHARSET | ACCEPT_ENCODING | ACCEPT_LANGUAGE => Some(Self::Preferences),
            // No lists, though they may have commas.
            AUTHORIZATION | COOKIE | HOST | ORIGIN | PROXY_AUTHORIZATION | REFERER | USER_AGENT => None,
            // Lines of one name may be joined into a list by anybody (RFC 9110 5.3).
            _ => Some(Self::Members),
        }
    }

    fn same<'a, I, J>(self, one: impl Fn() -> I, other: impl Fn() -> J) -> bool
    where
        I: Iterator<Item = &'a [u8]>,
        J: Iterator<Item = &'a [u8]>,
    {
        let lengths = (one().take(MAX_MEMBERS + 1).count(), other().take(MAX_MEMBERS + 1).count());
        if lengths.0 != lengths.1 || lengths.0 > MAX_MEMBERS {
            return false;
        }
        match self {
            Self::Members => one().eq(other()),
            Self::Parameters => one().zip(other()).all(|(a, b)| same_member(a, b, true)),
            Self::Preferences => {
                let among = |a: &[u8], mut list: J| list.any(|b| same_member(a, b, false));
                let back = |a: &[u8], mut list: I| list.any(|b| same_member(a, b, false));
                one().all(|member| among(member, other())) && other().all(|member| back(member, one()))
            }
        }
    }
}

/// Compares two members, white space around `;` and `=` left out (RFC 9110 12.4.2).
fn same_member(a: &[u8], b: &[u8], with_case: bool) -> bool {
    let letters = |text: &'_ [u8]| text.iter().filter(|byte| !matches!(byte, b' ' | b'\t')).count();
    letters(a) == letters(b)
        && a.iter()
            .filter(|byte| !matches!(byte, b' ' | b'\t'))
            .zip(b.iter().filter(|byte| !matches!(byte, b' ' | b'\t')))
            .all(|(a, b)| if with_case { a == b } else { a.eq_ignore_ascii_case(b) })
}

/// The members of a list field over all its lines.
fn members<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    let split = |line: &'a HeaderValue| line.as_bytes().split(|byte| *byte == b',');
    lines.flat_map(split).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn same(name: &HeaderName, stored: &[&str], presented: &[&str]) -> bool {
        let lines =
            |lines: &[&str]| headers(&lines.iter().map(|line| (name.clone(), *line)).collect::<Vec<_>>());
        SelectingFields::of(std::slice::from_ref(name), &lines(stored)).matches(&lines(presented))
    }

    /// RFC 9110 12.5.5.
    #[test]
    fn vary_is_a_list_of_names_or_anything() {
        for (lines, expected) in [
            (vec![], Vary::None),
            (vec![""], Vary::None),
            (vec!["Accept, COOKIE"], Vary::Fields(vec![ACCEPT, COOKIE])),
            (vec!["accept", "cookie,accept"], Vary::Fields(vec![ACCEPT, COOKIE])),
            (vec!["*"], Vary::Anything),
            (vec!["accept, *"], Vary::Anything),
            (vec!["accept", " * "], Vary::Anything),
            (vec!["not a name"], Vary::Anything),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| (VARY, *line)).collect();
            assert_eq!(Vary::of(&headers(&fields)), expected, "{lines:?}");
        }
    }

    /// RFC 9111 4.1.
    #[test]
    fn a_variant_suits_requests_with_the_same_values() {
        let unknown = HeaderName::from_static("x-kind");
        for (name, stored, presented, expected) in [
            (&unknown, vec!["a"], vec!["a"], true),
            (&unknown, vec!["a"], vec!["A"], false),
            (&unknown, vec!["a, b"], vec!["a,b"], true),
            (&unknown, vec!["a", "b"], vec!["a,\tb"], true),
            (&unknown, vec!["a, b"], vec!["b, a"], false),
            (&unknown, vec!["a b"], vec!["ab"], false),
            (&unknown, vec!["a b"], vec!["a  b"], false),
            (&unknown, vec!["\"a, b\""], vec!["\"a,b\""], false),
            (&COOKIE, vec!["a=1, b"], vec!["a=1,b"], false),
            (&COOKIE, vec!["a=1", "b=2"], vec!["a=1, b=2"], false),
            (&AUTHORIZATION, vec!["Digest a=1, b=2"], vec!["Digest a=1,b=2"], false),
            (&unknown, vec!["a"], vec![], false),
            (&unknown, vec![], vec!["a"], false),
            (&unknown, vec![], vec![""], false),
            (&unknown, vec![], vec![], true),
            (&unknown, vec!["a", "b"], vec!["b", "a"], false),
            (&USER_AGENT, vec!["x (a, b)"], vec!["x (a,b)"], false),
            (&ACCEPT_LANGUAGE, vec!["en, de;q=0.5"], vec!["EN,de; q=0.5"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de"], vec!["en", "de"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de"], vec!["de, en"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de;q=0.5"], vec!["de;q=0.5,en"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de;q=0.5"], vec!["en;q=0.5,de"], false),
            (&ACCEPT_LANGUAGE, vec!["en-US"], vec!["en-us"], true),
            (&ACCEPT_LANGUAGE, vec!["en-US"], vec!["en"], false),
            (&ACCEPT_LANGUAGE, vec!["en"], vec!["en, de"], false),
            (&ACCEPT_LANGUAGE, vec!["en"], vec![""], false),
            (&ACCEPT_ENCODING, vec!["gzip, br"], vec!["BR,gzip"], true),
            (&ACCEPT_ENCODING, vec!["gzip, br"], vec!["gzip, gzip"], false),
            (&ACCEPT_ENCODING, vec!["gzip;q=0"], vec!["gzip"], false),
            (&ACCEPT, vec!["text/html ;q=1"], vec!["text/html;q=1"], true),
            (&ACCEPT, vec!["text/html;p=\"a b\""], vec!["text/html;p=\"ab\""], false),
            (&ACCEPT, vec!["text/html;p=\"a, b\""], vec!["text/html;p=\"a,b\""], false),
            (&ACCEPT, vec!["text/html, */*"], vec!["*/*, text/html"], false),
            (&ACCEPT, vec!["text/html"], vec!["text/HTML"], false),
        ] {
            assert_eq!(same(name, &stored, &presented), expected, "{name}: {stored:?} {presented:?}");
        }
    }

    #[test]
    fn endless_lists_are_compared_literally() {
        let many = "a,".repeat(5000);
        let spaced = "a, ".repeat(5000);
        assert!(same(&ACCEPT_ENCODING, &[&many], &[&many]));
        assert!(!same(&ACCEPT_ENCODING, &[&many], &[&spaced]));
    }

    #[test]
    fn endless_values_are_compared_literally() {
        for (length, expected) in [(250, true), (251, false)] {
            let long = "a".repeat(length);
            let (one, other) = (format!("gzip, {long}"), format!("gzip,{long}"));
            assert!(same(&ACCEPT_ENCODING, &[&one], &[&one]), "{length}");
            assert_eq!(same(&ACCEPT_ENCODING, &[&one], &[&other]), expected, "{length}");
        }
    }

    #[test]
    fn an_endless_vary_is_anything() {
        let names =
            |count: usize| (0..count).map(|number| format!("x-{number}")).collect::<Vec<_>>().join(",");
        let read = |count| Vary::of(&headers(&[(VARY, &names(count)), (VARY, "x-0")]));
        assert_eq!(read(MAX_NAMES).names().len(), MAX_NAMES);
        assert_eq!(read(MAX_NAMES + 1), Vary::Anything);
    }

    #[test]
    fn all_named_fields_must_agree() {
        let request = headers(&[(ACCEPT, "a"), (COOKIE, "x=1")]);
        let fields = SelectingFields::of(&[ACCEPT, COOKIE], &request);
        assert!(fields.matches(&request));
        assert!(fields.matches(&headers(&[(COOKIE, "x=1"), (USER_AGENT, "u"), (ACCEPT, "a")])));
        assert!(!fields.matches(&headers(&[(ACCEPT, "a"), (COOKIE, "x=2")])));
    }
}
