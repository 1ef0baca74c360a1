//! The members of a `Cache-Control` line, whatever they are called.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use super::{MAX_SECONDS, field_names};

/// One directive as it stands in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    name: &'a [u8],
    pub(super) argument: Option<Argument<'a>>,
}

impl Directive<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    pub(super) fn seconds(&self) -> Option<Duration> {
        match self.argument? {
            Argument::Token(text) | Argument::Quoted(text) => delta_seconds(text),
        }
    }

    /// The argument of `private` and `no-cache`; `None` where it is no list of fields.
    pub(super) fn field_names(&self) -> Option<Vec<HeaderName>> {
        field_names(&self.argument?.text())
    }

    /// A lifetime that cannot be read is over (RFC 9111 4.2.1).
    pub(super) fn seconds_or_stale(&self) -> Duration {
        self.seconds().unwrap_or_default()
    }
}

/// What follows a directive's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    Token(&'a [u8]),
    /// What stands between the quotes, escapes and all.
    Quoted(&'a [u8]),
}

impl Argument<'_> {
    fn text(&self) -> Vec<u8> {
        match self {
            Self::Token(text) => text.to_vec(),
            Self::Quoted(text) => {
                let mut escaped = false;
                let keep = |byte: &&u8| {
                    escaped = **byte == b'\\' && !escaped;
                    !escaped
                };
                text.iter().filter(keep).copied().collect()
            }
        }
    }
}

/// The directives of one field line, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    /// Reads a field line.
    pub(super) fn of(line: &'a HeaderValue) -> Self {
        Self { rest: line.as_bytes() }
    }

    /// Cuts off what goes before the first comma that stands outside quotes.
    fn next_member(&mut self) -> &'a [u8] {
        let (mut quoted, mut escaped) = (false, false);
        let comma = self.rest.iter().position(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' if !quoted => return true,
                _ => {}
            }
            false
        });
        let (member, rest) = self.rest.split_at(comma.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        member.trim_ascii()
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        while !self.rest.is_empty() {
            let member = self.next_member();
            if member.is_empty() {
                continue;
            }
            let Some(equals) = member.iter().position(|byte| *byte == b'=') else {
                return Some(Directive { name: member, argument: None });
            };
            let (name, argument) = member.split_at(equals);
            let argument = argument.get(1..).unwrap_or_default();
            let is_padded = name.ends_with(b" ") || name.ends_with(b"\t") || argument.starts_with(b" ");
            let argument = match argument.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
                // No white space stands around the "=" (RFC 9111 5.2): what follows is no argument, and none is known.
                _ if is_padded || argument.starts_with(b"\t") => Argument::Token(b""),
                Some(inner) => Argument::Quoted(inner),
                None => Argument::Token(argument),
            };
            return Some(Directive { name: name.trim_ascii(), argument: Some(argument) });
        }
        None
    }
}

/// Reads `delta-seconds` (RFC 9111 1.2.2): digits only, too large a number is [`MAX_SECONDS`].
pub fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0_u64, |sum, digit| (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS));
    Some(Duration::from_secs(seconds))
}
