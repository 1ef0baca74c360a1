//! Which bytes of a representation a client asks for (RFC 9110 14), and the answer that has just them.
//!
//! Promises: what a client gets of several ranges is never more than the whole and the few lines between the parts, for
//! overlapping and neighbouring ranges are sent once; bytes are never copied; a range of another version than the
//! client's (`If-Range`) is never sent.

mod multipart;

use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, RANGE, VARY,
};

pub use multipart::Multipart;

use super::body::StoredBody;
use super::stored::Validators;
use super::{freshness, validation};
use crate::http::date::parse as http_date;
use crate::http::fields;

/// More ranges than these in one request are no reader's wish (RFC 9110 14.2 lets us ignore them).
const MAX_RANGES: usize = 32;
/// Ranges with no more than this between them are sent as one: a part of their own would cost more.
const GAP: u64 = 80;

/// Bytes `first` to `last`, both included; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl Span {
    /// How many bytes.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether all bytes of the other are in it.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Of a representation of that length, as in `Content-Range`.
    pub(super) fn content_range(self, length: u64) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("bytes {}-{}/{length}", self.first, self.last)).ok()
    }

    fn is_near(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(GAP) && other.first <= self.last.saturating_add(GAP)
    }

    fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What of a representation a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: no range was asked for, or none that can be honoured.
    Whole,
    /// None of the ranges has a byte in it (416).
    Nothing,
    /// These, which do not touch; at least one.
    Spans(Vec<Span>),
}

impl Wanted {
    /// Reads `Range` for a representation of that length.
    ///
    /// Whatever cannot be understood is ignored (RFC 9110 14.2): other units, broken lists, several lines.
    pub fn of(request: &HeaderMap, length: u64) -> Self {
        let mut lines = request.get_all(RANGE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return Self::Whole };
        Self::parse(line.as_bytes(), length).unwrap_or(Self::Whole)
    }

    fn parse(line: &[u8], length: u64) -> Option<Self> {
        let (unit, set) = line.split_at_checked(line.iter().position(|byte| *byte == b'=')?)?;
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut spans = Vec::new();
        let members = set.get(1..)?.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut asked = 0;
        for member in members.filter(|member| !member.is_empty()) {
            asked += 1;
            if asked > MAX_RANGES {
                return None;
            }
            if let Some(span) = Spec::parse(member)?.within(length) {
                add(&mut spans, span);
            }
        }
        match () {
            () if asked == 0 => None,
            // Of nothing there is no part that `Content-Range` could name.
            () if length == 0 => None,
            () if spans.is_empty() => Some(Self::Nothing),
            () => Some(Self::Spans(spans)),
        }
    }
}

/// One range as it is written.
#[derive(Debug, Clone, Copy)]
enum Spec {
    From(u64),
    Between(u64, u64),
    Suffix(u64),
}

impl Spec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (member.get(..dash)?, member.get(dash + 1..)?);
        match (first.is_empty(), last.is_empty()) {
            (true, _) => Some(Self::Suffix(number(last)?)),
            (false, true) => Some(Self::From(number(first)?)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// The part of it that there is (RFC 9110 14.1.2).
    fn within(self, length: u64) -> Option<Span> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::From(first) => (first, end),
            Self::Between(first, last) => (first, last.min(end)),
            Self::Suffix(0) => return None,
            Self::Suffix(wanted) => (length.saturating_sub(wanted), end),
        };
        (first <= last).then_some(Span { first, last })
    }
}

/// Digits; a number beyond all lengths is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

/// Adds a range in its place; those that it touches become one with it, where the first of them stood (RFC 9110 15.3.7.2).
fn add(spans: &mut Vec<Span>, mut span: Span) {
    let mut place = spans.len();
    while let Some(index) = spans.iter().position(|other| other.is_near(span)) {
        span = span.join(spans.remove(index));
        place = place.min(index);
    }
    spans.insert(place.min(spans.len()), span);
}

/// Whether the client's `If-Range` allows a part (RFC 9110 13.1.5): strong comparison of tags, an exact date that is a
/// strong validator. `date` is the representation's `Date`.
pub(super) fn if_range_holds(request: &HeaderMap, stored: &Validators, date: Option<SystemTime>) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(condition) = lines.next() else { return true };
    if lines.next().is_some() {
        return false;
    }
    if condition.as_bytes().first() == Some(&b'"') {
        return stored.etag.as_ref() == Some(condition);
    }
    let modified = stored.last_modified.as_ref().and_then(http_date);
    // RFC 9110 8.8.2.2: within one second there may have been two versions.
    let is_strong = |modified| date.is_some_and(|date| date >= modified + Duration::from_secs(1));
    modified.is_some_and(|modified| http_date(condition) == Some(modified) && is_strong(modified))
}

/// A body that has been cut to what a request gets.
#[derive(Debug)]
pub enum Cut {
    /// None.
    Empty,
    /// One piece.
    Piece(StoredBody),
    /// Several.
    Several(Box<Multipart>),
}

/// Makes the answer with the whole representation one with what is wanted of it.
pub(super) fn cut(
    wanted: &Wanted,
    status: &mut StatusCode,
    headers: &mut HeaderMap,
    body: StoredBody,
) -> Cut {
    let length = body.left();
    match wanted {
        Wanted::Whole => Cut::Piece(body),
        Wanted::Nothing => {
            refuse(status, headers, length);
            Cut::Empty
        }
        Wanted::Spans(spans) => match spans.as_slice() {
            [span] => {
                describe(*span, length, status, headers);
                Cut::Piece(body.span(*span))
            }
            several => {
                let multipart = Multipart::new(several, &body, headers.get(CONTENT_TYPE));
                become_partial(status, headers, multipart.length());
                headers.insert(CONTENT_TYPE, multipart.content_type());
                Cut::Several(Box::new(multipart))
            }
        },
    }
}

/// Makes the head of a whole response that streams by that of the one part of it which a client wants, and says which.
/// `None`: the whole, because it wants that, or several parts, or because nobody knows how long it is.
pub fn cut_live(request: &HeaderMap, status: &mut StatusCode, headers: &mut HeaderMap) -> Option<Span> {
    let length = fields::content_length(headers)?;
    let (validators, date) = (validation::live_validators(headers), freshness::http_date(headers, &DATE));
    if *status != StatusCode::OK || !if_range_holds(request, &validators, date) {
        return None;
    }
    match Wanted::of(request, length) {
        Wanted::Spans(spans) if let [span] = *spans => {
            describe(span, length, status, headers);
            Some(span)
        }
        Wanted::Whole | Wanted::Nothing | Wanted::Spans(_) => None,
    }
}

/// The head of the whole representation becomes that of one part of it.
pub(super) fn describe(span: Span, length: u64, status: &mut StatusCode, headers: &mut HeaderMap) {
    become_partial(status, headers, span.length());
    headers.extend(span.content_range(length).map(|value| (CONTENT_RANGE, value)));
}

/// 416: how long the representation is, and no more of it (RFC 9110 15.5.17).
fn refuse(status: &mut StatusCode, headers: &mut HeaderMap, length: u64) {
    *status = StatusCode::RANGE_NOT_SATISFIABLE;
    let told = [AGE, DATE, VARY, super::CACHE_STATUS];
    let all: Vec<HeaderName> = headers.keys().filter(|name| !told.contains(name)).cloned().collect();
    all.iter().for_each(|name| {
        headers.remove(name);
    });
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers
        .extend(HeaderValue::try_from(format!("bytes */{length}")).ok().map(|value| (CONTENT_RANGE, value)));
}

fn become_partial(status: &mut StatusCode, headers: &mut HeaderMap, length: u64) {
    *status = StatusCode::PARTIAL_CONTENT;
    // They are about the content of the whole answer (RFC 9530 2; RFC 1864), not of this one.
    headers.remove("content-digest");
    headers.remove("content-md5");
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

#[cfg(test)]
mod tests;
