//! Content codings (RFC 9110 8.4.1): which of them a client takes, and which responses are worth one.

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    SET_COOKIE,
};

use super::fields;

/// A coding that forebay writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Best first: of equal wishes the one that costs least for what it saves.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// The value of `Content-Encoding`.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }

    /// Its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Whether this is one of its names (RFC 9110 8.4.1.3: `x-gzip` is `gzip`).
    fn is_called(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.as_str().as_bytes())
            || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// What a request says about codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The one that it gets, where a response is worth one.
    pub coding: Option<Coding>,
    /// Whether it takes a body without any.
    pub identity: bool,
}

impl Accepted {
    /// A body as it is.
    pub const PLAIN: Self = Self { coding: None, identity: true };

    /// Reads `Accept-Encoding` (RFC 9110 12.5.3). Without the field any coding would be allowed, but who does not ask
    /// gets none.
    pub fn of(headers: &HeaderMap) -> Self {
        let weight = |is_it: &dyn Fn(&[u8]) -> bool| {
            let members = headers.get_all(ACCEPT_ENCODING).iter().flat_map(fields::tokens);
            members.map(weighted).find(|(name, _)| is_it(name)).map(|(_, weight)| weight)
        };
        let any = weight(&|name| name == b"*");
        let identity = weight(&|name| name.eq_ignore_ascii_case(b"identity"));
        let of = |coding: Coding| weight(&|name| coding.is_called(name)).or(any).unwrap_or(0);
        // The last of equal ones is the greatest: the best one has to come last.
        let best = Coding::ALL.into_iter().rev().max_by_key(|coding| of(*coding));
        let least = identity.unwrap_or(1).max(1);
        Self {
            coding: best.filter(|coding| of(*coding) >= least),
            identity: identity.or(any).unwrap_or(1) > 0,
        }
    }
}

/// A member of the list and its weight in thousandths; one that cannot be read is 0.
fn weighted(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
    (name, weight.map_or(1000, thousandths))
}

/// `0.5` is 500 (RFC 9110 12.4.2).
fn thousandths(weight: &[u8]) -> u16 {
    let parsed = std::str::from_utf8(weight).ok().and_then(|text| text.parse::<f32>().ok());
    match parsed {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
        Some(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

/// Whether a response may get a coding and is of a kind that shrinks; its length is not looked at.
///
/// Never one that has a coding or is a part; that says `no-transform` (RFC 9111 5.2.2.6); that has a digest of its bytes
/// (RFC 9530); that sets a cookie: its length must not tell what is in it; and never a stream of events.
pub fn is_codable(headers: &HeaderMap) -> bool {
    let is_fixed = |name: &&http::HeaderName| {
        matches!(**name, CONTENT_ENCODING | CONTENT_RANGE | SET_COOKIE)
            || matches!(name.as_str(), "content-digest" | "repr-digest" | "digest" | "content-md5")
    };
    is_text(headers)
        && !headers.keys().any(|name| is_fixed(&name))
        && !fields::has_token(headers, &CACHE_CONTROL, "no-transform")
}

fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.split_once('/') {
        Some(("text", subtype)) => subtype != "event-stream",
        Some(("application", subtype)) => {
            matches!(
                subtype,
                "json" | "javascript" | "xml" | "x-ndjson" | "wasm" | "x-javascript" | "graphql"
            ) || subtype.ends_with("+json")
                || subtype.ends_with("+xml")
        }
        Some(("image", subtype)) => matches!(subtype, "svg+xml" | "bmp"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    /// RFC 9110 12.5.3.
    #[test]
    fn a_client_gets_what_it_likes_best() {
        use Coding::{Brotli, Gzip, Zstd};
        for (lines, coding, identity) in [
            (vec![], None, true),
            (vec![""], None, true),
            (vec!["gzip"], Some(Gzip), true),
            (vec!["X-GZIP"], Some(Gzip), true),
            (vec!["gzip, deflate, br, zstd"], Some(Zstd), true),
            (vec!["gzip", "br"], Some(Brotli), true),
            (vec!["gzip;q=1.0, br;q=0.8, zstd; q=0.5"], Some(Gzip), true),
            (vec!["gzip;q=0.001"], Some(Gzip), true),
            (vec!["gzip;q=0"], None, true),
            (vec!["gzip;q=2"], None, true),
            (vec!["gzip;q=0.5, identity"], None, true),
            (vec!["gzip, identity;q=0.5"], Some(Gzip), true),
            (vec!["gzip, identity;q=0"], Some(Gzip), false),
            (vec!["identity;q=0"], None, false),
            (vec!["*"], Some(Zstd), true),
            (vec!["*;q=0"], None, false),
            (vec!["*;q=0, identity"], None, true),
            (vec!["zstd;q=0, br;q=0, *"], Some(Gzip), true),
            (vec!["deflate, compress"], None, true),
            (vec!["br;q=1;q=0"], Some(Brotli), true),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(Accepted::of(&headers), Accepted { coding, identity }, "{lines:?}");
        }
    }

    #[test]
    fn only_text_that_may_be_changed_gets_a_coding() {
        for (fields, expected) in [
            (vec![("content-type", "application/json")], true),
            (vec![("content-type", "Text/HTML; charset=utf-8")], true),
            (vec![("content-type", "application/problem+json")], true),
            (vec![("content-type", "image/svg+xml")], true),
            (vec![("content-type", "image/png")], false),
            (vec![("content-type", "application/zip")], false),
            (vec![("content-type", "text/event-stream")], false),
            (vec![("content-type", "multipart/byteranges; boundary=x")], false),
            (vec![], false),
            (vec![("content-type", "text/plain"), ("cache-control", "max-age=5, No-Transform")], false),
            (vec![("content-type", "text/plain"), ("content-encoding", "gzip")], false),
            (vec![("content-type", "text/plain"), ("set-cookie", "a=b")], false),
            (vec![("content-type", "text/plain"), ("content-range", "bytes 0-1/2")], false),
            (vec![("content-type", "text/plain"), ("repr-digest", "sha-256=:x:")], false),
        ] {
            assert_eq!(is_codable(&headers(&fields)), expected, "{fields:?}");
        }
    }
}
