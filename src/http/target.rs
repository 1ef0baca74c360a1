//! One spelling for every target: the canonical host and path that routing, limits, the cache key and the upstream
//! share.
//!
//! Promises: after [`canonicalize`] the URI is in origin form, or the `*` of an OPTIONS request; its path has unreserved
//! characters decoded, other escapes in upper case, no dot segments, no empty segments and no control characters; `Host` is
//! present exactly once, in lower case, without the scheme's default port and the root's dot. What cannot be brought into
//! that form is refused, so that no spelling walks round a rule.

use std::borrow::Cow;

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme, Uri};
use thiserror::Error;

use super::host::canonical_host;
use super::segment::hex;

/// Why a request's target or host cannot be used (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadTarget {
    /// No `Host` field and no authority in the target (RFC 9112 section 3.2).
    #[error("the request has no Host field")]
    MissingHost,
    /// More than one `Host` field, or one that contradicts `:authority`.
    #[error("the request names more than one host")]
    SeveralHosts,
    /// A host that is no host: user information, spaces, a broken port.
    #[error("the Host field is not a valid host")]
    MalformedHost,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("the path has a broken percent-encoding")]
    BrokenEscape,
    /// An absolute target of another scheme than those that are served here.
    #[error("the request's target has a scheme that is not served here")]
    OtherScheme,
    /// A target that is no path, and not the `*` of an OPTIONS request either.
    #[error("the request's target is not a path")]
    NoPath,
    /// A control character, `%2F`, `%5C`, a backslash, overlong UTF-8, or a dot segment in disguise (`..;`): what backends read in
    /// different ways.
    #[error("the path has a character or a segment that servers read in different ways")]
    AmbiguousPath,
    /// A field asks for another method, which some servers obey, and that belongs to another route.
    #[error("a field asks for another method, which belongs to another route")]
    AmbiguousMethod,
}

/// Brings a received head into its canonical form.
///
/// # Errors
/// [`BadTarget`] where the target or the host has none; the head is then to be refused, not forwarded.
pub fn canonicalize(parts: &mut Parts, default_port: u16) -> Result<(), BadTarget> {
    canonicalize_host(parts, default_port)?;
    if parts.method == Method::OPTIONS && parts.uri.path() == "*" {
        return Ok(());
    }
    let path = canonical_path(parts.uri.path())?;
    if let Cow::Owned(path) = path {
        let target = match parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        parts.uri = Uri::try_from(target).map_err(|_| BadTarget::AmbiguousPath)?;
    } else if parts.uri.authority().is_some() {
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from(target);
    }
    Ok(())
}

/// The host of a head that [`canonicalize`] has been through.
pub fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// The authority of an absolute target replaces `Host` (RFC 9112 section 3.2.2); for HTTP/2 they must agree.
fn canonicalize_host(parts: &mut Parts, default_port: u16) -> Result<(), BadTarget> {
    let mut lines = parts.headers.get_all(header::HOST).iter();
    let (line, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Err(BadTarget::SeveralHosts);
    }
    let line = match line {
        Some(value) => Some(value.to_str().map_err(|_| BadTarget::MalformedHost)?),
        None => None,
    };
    if let Some(authority) = parts.uri.authority() {
        if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
            return Err(BadTarget::OtherScheme);
        }
        let host = canonical_host(authority.as_str(), default_port)?;
        let contradicts = match line {
            Some(line) => canonical_host(line, default_port)? != host,
            None => false,
        };
        if contradicts && parts.version == http::Version::HTTP_2 {
            return Err(BadTarget::SeveralHosts);
        }
        let value = HeaderValue::from_str(&host).map_err(|_| BadTarget::MalformedHost)?;
        parts.headers.insert(header::HOST, value);
        return Ok(());
    }
    let host = canonical_host(line.ok_or(BadTarget::MissingHost)?, default_port)?;
    if let Cow::Owned(host) = host {
        let value = HeaderValue::from_str(&host).map_err(|_| BadTarget::MalformedHost)?;
        parts.headers.insert(header::HOST, value);
    }
    Ok(())
}

/// The canonical spelling of an absolute path; borrowed where it already is canonical.
///
/// # Errors
/// [`BadTarget::BrokenEscape`] and [`BadTarget::AmbiguousPath`].
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, BadTarget> {
    if is_canonical(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(BadTarget::NoPath);
    }
    let decoded = decode_unreserved(path.as_bytes())?;
    remove_dot_segments(&decoded).map(Cow::Owned)
}

/// Whether a path needs no work: only plain characters, no escape, no segment that is empty or begins with a dot or a
/// semicolon.
fn is_canonical(path: &[u8]) -> bool {
    let mut previous = 0;
    for byte in path {
        if !is_plain(*byte) || (previous == b'/' && matches!(*byte, b'/' | b'.' | b';')) {
            return false;
        }
        previous = *byte;
    }
    path.first() == Some(&b'/')
}

/// Characters that a path may hold as they are (RFC 3986 section 3.3), the slash included.
pub(super) fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn decode_unreserved(path: &[u8]) -> Result<Vec<u8>, BadTarget> {
    let mut out = Vec::with_capacity(path.len() + 8);
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            push(&mut out, byte)?;
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
            return Err(BadTarget::BrokenEscape);
        };
        match high << 4 | low {
            b'/' | b'\\' => return Err(BadTarget::AmbiguousPath),
            // An escaped dot at the start of a segment is a dot segment in disguise, or looks like one to somebody.
            b'.' if out.last() == Some(&b'/') || out.ends_with(b"/.") => {
                return Err(BadTarget::AmbiguousPath);
            }
            decoded if is_unreserved(decoded) => out.push(decoded),
            decoded if is_overlong(&out, decoded) => return Err(BadTarget::AmbiguousPath),
            kept => escape(&mut out, kept)?,
        }
    }
    Ok(out)
}

/// Whether a byte continues an overlong form of UTF-8 (RFC 3629 section 3), in which careless decoders find the dots and
/// slashes that others do not see.
fn is_overlong(out: &[u8], byte: u8) -> bool {
    let follows = |leads: &[&[u8]]| leads.iter().any(|lead| out.ends_with(lead));
    match byte {
        0x80..=0x8f => follows(&[b"%C0", b"%C1", b"%E0", b"%F0"]),
        0x90..=0x9f => follows(&[b"%C0", b"%C1", b"%E0"]),
        0xa0..=0xbf => follows(&[b"%C0", b"%C1"]),
        _ => false,
    }
}

/// A character that came unescaped.
fn push(out: &mut Vec<u8>, byte: u8) -> Result<(), BadTarget> {
    match byte {
        b'\\' => return Err(BadTarget::AmbiguousPath),
        plain if is_plain(plain) => out.push(plain),
        other => escape(out, other)?,
    }
    Ok(())
}

/// Control characters have no escape: servers cut strings off at NUL, and the patterns of their routes end before a line
/// end as well (`$` in Python, Ruby, PCRE and .NET), so that `/start%0A` is `/start` there and another route here.
fn escape(out: &mut Vec<u8>, byte: u8) -> Result<(), BadTarget> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_control() || ends_a_line(out, byte) {
        return Err(BadTarget::AmbiguousPath);
    }
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
    Ok(())
}

/// Whether a byte completes one of the line ends outside ASCII: U+0085, U+2028, U+2029. To Java's patterns they are such.
fn ends_a_line(out: &[u8], byte: u8) -> bool {
    match byte {
        0x85 => out.ends_with(b"%C2"),
        0xa8 | 0xa9 => out.ends_with(b"%E2%80"),
        _ => false,
    }
}

/// Removes `.` and `..` segments (RFC 3986 section 5.2.4) and empty ones, which backends drop or keep as they like.
fn remove_dot_segments(path: &[u8]) -> Result<String, BadTarget> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_with_slash = true;
    for segment in path.split(|byte| *byte == b'/').skip(1) {
        if is_disguised(segment) {
            return Err(BadTarget::AmbiguousPath);
        }
        ends_with_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            kept => segments.push(kept),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if ends_with_slash || out.is_empty() {
        out.push(b'/');
    }
    String::from_utf8(out).map_err(|_| BadTarget::AmbiguousPath)
}

/// Whether a segment is empty or a dot segment to those who cut off its parameters first (RFC 3986 section 3.3).
fn is_disguised(segment: &[u8]) -> bool {
    let escaped = segment.windows(3).position(|three| three == b"%3B").unwrap_or(segment.len());
    let name =
        segment.get(..escaped).unwrap_or(segment).split(|byte| *byte == b';').next().unwrap_or_default();
    name.len() < segment.len() && matches!(name, b"" | b"." | b"..")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_paths_have_one_spelling() {
        for (given, canonical) in [
            ("/", "/"),
            ("/api/scan", "/api/scan"),
            ("/api/%73can", "/api/scan"),
            ("/api/sc%61n/%7Euser", "/api/scan/~user"),
            ("//api///scan", "/api/scan"),
            ("/api/./scan", "/api/scan"),
            ("/api/x/../scan", "/api/scan"),
            ("/../../api", "/api"),
            ("/api/scan/..", "/api/"),
            ("/a%2a%c3%a4", "/a%2A%C3%A4"),
            ("/%c3%85/\u{2026}/%e2%80%a6", "/%C3%85/%E2%80%A6/%E2%80%A6"),
            ("/.hidden", "/.hidden"),
            ("/a..b/.c", "/a..b/.c"),
            ("/a;v=1/..b;/.c;d=..;", "/a;v=1/..b;/.c;d=..;"),
            ("/a b", "/a%20b"),
            ("/x/", "/x/"),
        ] {
            assert_eq!(canonical_path(given).as_deref(), Ok(canonical), "{given}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/a%00",
            "/a%0A",
            "/a%0a/b",
            "/%0D",
            "/a%0d%0A",
            "/a%09",
            "/a%1f",
            "/a%7F",
            "/a\u{7f}",
            "/a\n",
            "/a%C2%85",
            "/a%c2%85/b",
            "/a%E2%80%A8",
            "/a%e2%80%a9",
            "/a\u{85}",
            "/a\u{2028}",
            "/a\u{2029}",
            "/%c0%ae%c0%ae/x",
            "/%e0%80%af",
            "/%f0%80%80%af",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/%2e%2e/x",
            "/.%2e/x",
            "/%2e/x",
            "/.%2E",
        ] {
            assert_eq!(canonical_path(path), Err(BadTarget::AmbiguousPath), "{path}");
        }
        for path in [
            "/x/..;/api",
            "/x/..;a=b/api",
            "/x/.;/api",
            "/;/api",
            "/;",
            "/x/;a=b",
            "/x/..;",
            "/%41/..;/api",
            "/x/..%3B/api",
            "/x/..%3b/api",
            "/%3B/api",
            "/x/.%3Ba=b",
        ] {
            assert_eq!(canonical_path(path), Err(BadTarget::AmbiguousPath), "{path}");
        }
        for path in ["/%", "/%1", "/%zz", "/a%g0"] {
            assert_eq!(canonical_path(path), Err(BadTarget::BrokenEscape), "{path}");
        }
    }

    fn head(target: &str, hosts: &[&str]) -> Parts {
        let mut request = http::Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_authority_of_an_absolute_target_replaces_host() {
        let mut parts = head("http://Real.example/x?y", &["other.example"]);
        canonicalize(&mut parts, 80).unwrap();
        assert_eq!(parts.uri, "/x?y");
        assert_eq!(parts.headers[header::HOST], "real.example");
    }

    #[test]
    fn a_missing_or_second_host_is_refused() {
        assert_eq!(canonicalize(&mut head("/", &[]), 80), Err(BadTarget::MissingHost));
        assert_eq!(canonicalize(&mut head("/", &["a", "a"]), 80), Err(BadTarget::SeveralHosts));
    }

    #[test]
    fn an_asterisk_is_for_options_alone() {
        let mut parts = head("*", &["a"]);
        assert_eq!(canonicalize(&mut parts, 80), Err(BadTarget::NoPath));
        parts.method = Method::OPTIONS;
        assert_eq!(canonicalize(&mut parts, 80), Ok(()));
        assert_eq!(parts.uri, "*");
    }

    proptest! {
        #[test]
        fn canonical_paths_stay_as_they_are(path in "/[ -~]{0,40}") {
            if let Ok(once) = canonical_path(&path) {
                let again = canonical_path(&once);
                prop_assert_eq!(again.as_deref(), Ok(&*once));
                prop_assert!(!once.contains("//") && !once.contains("/../") && !once.contains("/./"));
                prop_assert!(!once.contains("/;") && !once.contains("/..;") && !once.contains("/.;"));
            }
        }
    }
}
