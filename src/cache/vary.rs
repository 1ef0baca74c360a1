//! Which stored variant suits which request (RFC 9111 4.1).
//!
//! Fields are compared as they are; where a field's own syntax says that a difference means nothing (white space and
//! line breaks in a list, case of a coding or a language, order of codings), the difference is overlooked. Matching
//! allocates nothing.

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue, VARY,
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
                    && is_short(stored.iter())
                    && is_short(presented.iter())
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

fn is_short<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> bool {
    lines.map(HeaderValue::len).sum::<usize>() <= MAX_COMPARED
}

/// A copy that does not keep the connection's read buffer alive.
pub(crate) fn unpinned(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// What a known list field overlooks besides white space and line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Members are compared literally and in order.
    Ordered,
    /// Members are compared without case, in order (RFC 9110 12.5.4: some read the order as preference).
    OrderedWithoutCase,
    /// Members are compared without case and order (RFC 9110 12.5.3).
    SetWithoutCase,
}

impl Syntax {
    fn of(name: &HeaderName) -> Option<Self> {
        match *name {
            ACCEPT => Some(Self::Ordered),
            ACCEPT_CHARSET | ACCEPT_LANGUAGE => Some(Self::OrderedWithoutCase),
            ACCEPT_ENCODING => Some(Self::SetWithoutCase),
            _ => None,
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
            Self::Ordered => one().zip(other()).all(|(a, b)| same_member(a, b, true)),
            Self::OrderedWithoutCase => one().zip(other()).all(|(a, b)| same_member(a, b, false)),
            Self::SetWithoutCase => {
                let among = |a: &[u8], mut list: J| list.any(|b| same_member(a, b, false));
                let back = |a: &[u8], mut list: I| list.any(|b| same_member(a, b, false));
                one().all(|member| among(member, other())) && other().all(|member| back(member, one()))
            }
        }
    }
}

/// Compares two members, white space around `;` and `=` left out (RFC 9110 12.4.2).
fn same_member(a: &[u8], b: &[u8], with_case: bool) -> bool {
    // Quoted parameters may hold meaningful blanks: those members must be equal to the byte.
    if a.contains(&b'"') || b.contains(&b'"') {
        return a == b;
    }
    let letters = |text: &'_ [u8]| text.iter().filter(|byte| !matches!(byte, b' ' | b'\t')).count();
    letters(a) == letters(b)
        && a.iter()
            .filter(|byte| !matches!(byte, b' ' | b'\t'))
            .zip(b.iter().filter(|byte| !matches!(byte, b' ' | b'\t')))
            .all(|(a, b)| if with_case { a == b } else { a.eq_ignore_ascii_case(b) })
}

/// The members of a list field over all its lines; commas within quotes make both sides split alike.
fn members<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    let split = |line: &'a HeaderValue| line.as_bytes().split(|byte| *byte == b',');
    lines.flat_map(split).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use http::header::{COOKIE, USER_AGENT};

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
            (&unknown, vec!["a, b"], vec!["a,b"], false),
            (&unknown, vec!["a"], vec![], false),
            (&unknown, vec![], vec!["a"], false),
            (&unknown, vec![], vec![""], false),
            (&unknown, vec![], vec![], true),
            (&unknown, vec!["a", "b"], vec!["b", "a"], false),
            (&USER_AGENT, vec!["x (a, b)"], vec!["x (a,b)"], false),
            (&ACCEPT_LANGUAGE, vec!["en, de;q=0.5"], vec!["EN,de; q=0.5"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de"], vec!["en", "de"], true),
            (&ACCEPT_LANGUAGE, vec!["en, de"], vec!["de, en"], false),
            (&ACCEPT_LANGUAGE, vec!["en"], vec!["en, de"], false),
            (&ACCEPT_LANGUAGE, vec!["en"], vec![""], false),
            (&ACCEPT_ENCODING, vec!["gzip, br"], vec!["BR,gzip"], true),
            (&ACCEPT_ENCODING, vec!["gzip, br"], vec!["gzip, gzip"], false),
            (&ACCEPT_ENCODING, vec!["gzip;q=0"], vec!["gzip"], false),
            (&ACCEPT, vec!["text/html ;q=1"], vec!["text/html;q=1"], true),
            (&ACCEPT, vec!["text/html;p=\"a b\""], vec!["text/html;p=\"ab\""], false),
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
