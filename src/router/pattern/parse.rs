//! Reading a pattern: every mistake has a message and a place.

use std::fmt;

use http::Method;

use super::{MAX_CAPTURES, Pattern, Segment, without_default_port};
use crate::http::host::canonical_host;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, for people.
    pub message: String,
    /// At which byte of the text.
    pub offset: usize,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PatternError {}

fn error<T>(offset: usize, message: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { message: message.into(), offset })
}

pub(super) fn pattern(text: &str) -> Result<Pattern, PatternError> {
    let (methods, target, at) = match text.split_once(' ') {
        Some((methods, rest)) => {
            let target = rest.trim_start_matches(' ');
            (methods_of(methods)?, target, text.len() - target.len())
        }
        None => (Vec::new(), text, 0),
    };
    let Some(slash) = target.find('/') else {
        return error(at, "a pattern is `[METHOD] [HOST]/PATH`, and its path begins with a slash");
    };
    let (host, path) = target.split_at(slash);
    if host.ends_with(':') && path.starts_with("//") {
        let bare = path.trim_start_matches('/');
        return error(at, format!("a pattern has no scheme, it matches http and https: write `{bare}`"));
    }
    let host = if host.is_empty() { None } else { Some(host_of(host, at)?) };
    let segments = segments_of(path, at + slash)?;
    Ok(Pattern { text: text.into(), methods, host, segments })
}

fn methods_of(list: &str) -> Result<Vec<Method>, PatternError> {
    let mut methods = Vec::new();
    let mut at = 0;
    for name in list.split(',') {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_') {
            return error(at, format!("`{name}` is not a method (upper case, several joined by commas)"));
        }
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if methods.contains(&method) => return error(at, format!("{method} is named twice")),
            Ok(method @ (Method::CONNECT | Method::TRACE)) => {
                return error(at, format!("every {method} is answered 405, so this would never match"));
            }
            Ok(method) => methods.push(method),
            Err(_) => return error(at, format!("`{name}` is not a method")),
        }
        at += name.len() + 1;
    }
    Ok(methods)
}

fn host_of(host: &str, at: usize) -> Result<Box<str>, PatternError> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match host.char_indices().find(|(_, c)| !is_host(*c)) {
        Some((offset, '*')) => {
            error(at + offset, "a host has no wildcard; leave it away to match every host")
        }
        Some((offset, c)) => error(at + offset, format!("`{c}` cannot be part of a host")),
        None => {
            if canonical_host(host, 0).is_err() {
                return error(at, format!("`{host}` is not a host with or without a port"));
            }
            let host = host.to_ascii_lowercase();
            let host = without_default_port(&host);
            Ok(host.strip_suffix('.').unwrap_or(host).into())
        }
    }
}

fn segments_of(path: &str, at: usize) -> Result<Vec<Segment>, PatternError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut offset = at + 1;
    let mut texts = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(text) = texts.next() {
        if text.is_empty() && texts.peek().is_some() {
            return error(offset, "empty segments are removed from every request, so this would never match");
        }
        if let Some(Segment::Rest(name)) = segments.last() {
            return error(offset - 1, format!("nothing can follow {{*{name}}}"));
        }
        let segment = segment_of(text, offset)?;
        if let Segment::Capture(_) | Segment::Rest(_) = segment {
            let name = text.trim_matches(['{', '*', '}']);
            if names.contains(&name) {
                return error(offset, format!("{{{name}}} is there twice"));
            }
            names.push(name);
        }
        if names.len() > MAX_CAPTURES {
            return error(offset, format!("more than {MAX_CAPTURES} captures"));
        }
        segments.push(segment);
        offset += text.len() + 1;
    }
    Ok(segments)
}

fn segment_of(text: &str, at: usize) -> Result<Segment, PatternError> {
    if let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (name, is_rest) = inner.strip_prefix('*').map_or((inner, false), |name| (name, true));
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !is_name(name) {
            return error(at, "a capture has a name of letters, digits and `_`: {name} or {*name}");
        }
        return Ok(if is_rest { Segment::Rest(name.into()) } else { Segment::Capture(name.into()) });
    }
    if let Some(offset) = text.find(['{', '}']) {
        return error(at + offset, "a capture takes a whole segment: /{name}/ or, at the end, /{*name}");
    }
    canonical(text, at).map(|text| Segment::Static(text.into()))
}

/// The form that `http::target` gives to a path: unreserved characters bare, the rest of the escapes in upper case.
fn canonical(text: &str, at: usize) -> Result<String, PatternError> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((offset, byte)) = bytes.next() {
        match byte {
            b'%' => {
                let hex = text.get(offset + 1..offset + 3);
                let hex = hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
                    return error(at + offset, "`%` is followed by two hexadecimal digits");
                };
                if matches!(byte, 0 | b'/' | b'\\') {
                    return error(
                        at + offset,
                        "an escaped slash, backslash or NUL is refused in every request",
                    );
                }
                push(&mut out, byte, is_unreserved(byte));
                bytes.nth(1);
            }
            b'?' | b'#' => {
                return error(at + offset, "a pattern matches the path, not the query or fragment");
            }
            b'\\' => return error(at + offset, "a backslash is refused in every request"),
            _ => push(&mut out, byte, byte.is_ascii_graphic()),
        }
    }
    if out == "." || out == ".." {
        return error(at, "dot segments are removed from every request, so this would never match");
    }
    if matches!(out.split_once(';'), Some(("" | "." | "..", _))) {
        return error(at, "a segment that is empty or dots before its `;` is refused in every request");
    }
    Ok(out)
}

fn push(out: &mut String, byte: u8, is_bare: bool) {
    if is_bare {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!("%{byte:02X}"));
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
