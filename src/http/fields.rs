//! Header fields as a proxy must treat them: which end at this hop, and which may not be taken away.
//!
//! Promises: after [`remove_hop_by_hop`] nothing that concerned one connection only is left in the map, and no peer has
//! used `Connection` to strip a field that others rely on.

mod claims;
mod trailers;

pub use self::claims::{
    claims_about_the_target, is_claim, is_disguised_claim, other_methods, overrides_method,
};
pub use self::trailers::{clean_trailers, clean_upload_trailers};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What EventSource reads.
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Fields that end at this hop whatever `Connection` says (RFC 9110 section 7.6.1), and some that have no honest use
/// beyond it.
static HOP_BY_HOP: [(HeaderName, u16); 10] = [
    (header::CONNECTION, Present::CONNECTION),
    (HeaderName::from_static("keep-alive"), Present::KEEP_ALIVE),
    (HeaderName::from_static("proxy-connection"), Present::RARE),
    (header::TE, Present::TE),
    (header::TRANSFER_ENCODING, Present::TRANSFER_ENCODING),
    (header::UPGRADE, Present::UPGRADE),
    // Of an upgrade to HTTP/2, which is never passed on (RFC 7540 section 3.2.1).
    (HeaderName::from_static("http2-settings"), Present::RARE),
    // Programs that are run by CGI take it for their own `HTTP_PROXY` (httpoxy).
    (HeaderName::from_static("proxy"), Present::RARE),
    // Framing in disguise: to CGI and WSGI servers an underscore is a dash.
    (HeaderName::from_static("content_length"), Present::RARE),
    (HeaderName::from_static("transfer_encoding"), Present::RARE),
];

/// Which of the fields that concern a proxy a head has: found in one walk, so that those it lacks cost no look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present(u16);

impl Present {
    const TE: u16 = 1;
    const UPGRADE: u16 = 1 << 1;
    const CONNECTION: u16 = 1 << 2;
    const KEEP_ALIVE: u16 = 1 << 3;
    /// One of those that hardly anybody sends.
    const RARE: u16 = 1 << 4;
    const TRANSFER_ENCODING: u16 = 1 << 5;
    const EXPECT: u16 = 1 << 6;
    const CLAIM: u16 = 1 << 7;
    const NAMED: u16 = 1 << 8;
    const REQUEST_ID: u16 = 1 << 9;
    const OVERRIDE: u16 = 1 << 10;

    /// Walks over a head.
    pub fn of(headers: &HeaderMap) -> Self {
        Self(headers.iter().fold(0, |present, (name, value)| match bit(name) {
            Self::CONNECTION if names_fields(value) => present | Self::CONNECTION | Self::NAMED,
            bit => present | bit,
        }))
    }

    /// Whether `TE` is there.
    pub fn has_te(self) -> bool {
        self.0 & Self::TE != 0
    }

    /// Whether `Upgrade` is there.
    pub fn has_upgrade(self) -> bool {
        self.0 & Self::UPGRADE != 0
    }

    /// Whether `Connection` names fields, or what may be some.
    fn has_named(self) -> bool {
        self.0 & Self::NAMED != 0
    }

    /// Whether `Keep-Alive` is there.
    pub fn has_keep_alive(self) -> bool {
        self.0 & Self::KEEP_ALIVE != 0
    }

    /// Whether `Transfer-Encoding` is there.
    pub fn has_transfer_encoding(self) -> bool {
        self.0 & Self::TRANSFER_ENCODING != 0
    }

    /// Whether `Expect` is there.
    pub fn has_expect(self) -> bool {
        self.0 & Self::EXPECT != 0
    }

    /// Whether `X-Request-Id` is there.
    pub fn has_request_id(self) -> bool {
        self.0 & Self::REQUEST_ID != 0
    }

    /// Whether a field asks for another method: see [`overrides_method`].
    pub fn has_override(self) -> bool {
        self.0 & Self::OVERRIDE != 0
    }

    /// Whether there is anything about where the request comes from: see [`is_claim`].
    pub fn has_claim(self) -> bool {
        self.0 & Self::CLAIM != 0
    }
}

/// Removes the hop-by-hop fields, and those that `Connection` names, from a head that came in.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    remove_hop_by_hop_of(headers, Present::of(headers));
}

/// The same, where it is known what is there.
pub fn remove_hop_by_hop_of(headers: &mut HeaderMap, present: Present) {
    remove_named_by_connection(headers, present);
    for (name, bit) in &HOP_BY_HOP {
        if present.0 & bit != 0 {
            headers.remove(name);
        }
    }
}

/// A bit for each field of [`Present`], none for all others.
fn bit(name: &HeaderName) -> u16 {
    let text = name.as_str();
    // The first letter and the length: they rule out nearly every field of a usual message for the price of one look.
    match (text.as_bytes().first(), text.len()) {
        (Some(b'c'), 10) if text == "connection" => Present::CONNECTION,
        (Some(b'c'), 14) if text == "content_length" => Present::RARE,
        (Some(b'e'), 6) if text == "expect" => Present::EXPECT,
        (Some(b'h'), 14) if text == "http2-settings" => Present::RARE,
        (Some(b'k'), 10) if text == "keep-alive" => Present::KEEP_ALIVE,
        (Some(b'p'), 5 | 16) if matches!(text, "proxy" | "proxy-connection") => Present::RARE,
        (Some(b't'), 2) if text == "te" => Present::TE,
        (Some(b't'), 17) if text == "transfer-encoding" => Present::TRANSFER_ENCODING,
        (Some(b't'), 17) if text == "transfer_encoding" => Present::RARE,
        (Some(b'u'), 7) if text == "upgrade" => Present::UPGRADE,
        (Some(b'x'), 12) if text == "x-request-id" => Present::REQUEST_ID,
        (Some(b'x'), 13 | 17 | 22) if overrides_method(name) => Present::OVERRIDE,
        (Some(b'c' | b'f' | b'p' | b'r' | b't' | b'w' | b'x'), _) if is_claim(name) => Present::CLAIM,
        _ => 0,
    }
}

/// Removes the fields that `Connection` names, except those of the connection itself and those that nobody may name
/// away. They are not for the next hop (RFC 9110 section 7.6.1): whatever decides by a field must not see them either.
pub fn remove_named_by_connection(headers: &mut HeaderMap, present: Present) {
    if !present.has_named() {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(tokens)
        .filter(|token| !is_about_the_connection(token))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_end_to_end_for_sure(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Whether a `Connection` line has more to say than whether the connection is kept.
fn names_fields(connection: &HeaderValue) -> bool {
    let is_only = |option: &[u8]| connection.as_bytes().eq_ignore_ascii_case(option);
    !is_only(b"keep-alive") && !is_only(b"close")
}

/// Options, and fields that are removed anyway, once framing and upgrades are decided by them.
fn is_about_the_connection(token: &[u8]) -> bool {
    [b"keep-alive".as_slice(), b"close", b"upgrade", b"te", b"connection", b"transfer-encoding"]
        .iter()
        .any(|usual| token.eq_ignore_ascii_case(usual))
}

/// Fields that identify, frame or authorise: `Connection: Authorization` must not make a request anonymous on its way.
fn is_end_to_end_for_sure(name: &HeaderName) -> bool {
    const KEPT: [HeaderName; 8] = [
        header::HOST,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CACHE_CONTROL,
        header::FORWARDED,
    ];
    KEPT.contains(name) || name.as_str().starts_with("x-forwarded-") || name.as_str() == "x-api-key"
}

/// The value of a field that is there once.
pub fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The non-empty members of a comma-separated list, trimmed of optional white space.
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// The members of a list whose case, order and repetition mean nothing, over all its lines, in one spelling; of a list
/// that is longer than any honest one, the lines as they are: nobody shall make us sort.
pub fn members(headers: &HeaderMap, name: &HeaderName) -> Vec<Vec<u8>> {
    const MAX_LENGTH: usize = 256;
    let lines = headers.get_all(name);
    if lines.iter().map(HeaderValue::len).sum::<usize>() > MAX_LENGTH {
        return lines.iter().map(|line| line.as_bytes().to_vec()).collect();
    }
    let without_blanks = |member: &[u8]| -> Vec<u8> {
        let letters = member.iter().filter(|byte| !matches!(byte, b' ' | b'\t'));
        letters.map(u8::to_ascii_lowercase).collect()
    };
    let mut members: Vec<_> = lines.iter().flat_map(tokens).map(without_blanks).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// Whether a list-valued field has a member, compared without case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, member: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(member.as_bytes())))
}

/// How `Transfer-Encoding` frames a body (RFC 9112 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferCoding {
    /// Not at all.
    Absent,
    /// By exactly one `chunked`, which is undone at this hop.
    Chunked,
    /// In a way that is not undone, or that peers may read differently.
    Other,
}

/// The transfer coding of a message.
pub fn transfer_coding(headers: &HeaderMap, present: Present) -> TransferCoding {
    if !present.has_transfer_encoding() {
        return TransferCoding::Absent;
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => TransferCoding::Absent,
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => TransferCoding::Chunked,
        _ => TransferCoding::Other,
    }
}

/// Whether a body is a stream of events, which has no end to wait for.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.as_bytes().get(..EVENT_STREAM.len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

/// The declared length of a body; `None` where there is none or it is not a plain number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    plain_number(headers.get(header::CONTENT_LENGTH)?)
}

/// A number without sign or blanks, as lengths are written (RFC 9110 section 8.6).
pub fn plain_number(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    let add = |number: u64, byte: &u8| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

#[cfg(test)]
mod tests;
