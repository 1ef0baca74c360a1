//! Paths and references: one spelling for each, whatever way it was written.

use forebay::http::{host, readings, reference, target};

/// `data`: a target, or a host.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(canonical) = host::canonical_host(text, 80) {
        assert_eq!(host::canonical_host(&canonical, 80).as_deref(), Ok(&*canonical), "{text:?}");
    }
    if let Some(found) = reference::resolve(text, "h.example:81", "/b/c/d", Some("q")) {
        assert_canonical(&found.path);
    }
    let Ok(canonical) = target::canonical_path(text) else { return };
    assert_canonical(&canonical);
    let respelled = respelled(&canonical);
    assert_eq!(target::canonical_path(&respelled).as_deref(), Ok(&*canonical), "{respelled:?}");
    let _ = readings::other_readings(&canonical).count();
}

/// What every stage may trust.
pub(crate) fn assert_canonical(path: &str) {
    assert_eq!(target::canonical_path(path).as_deref(), Ok(path), "canonical is not canonical");
    assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        assert!(!matches!(segment, "." | ".."), "{path:?}");
        assert!(!segment.is_empty() || segments.peek().is_none(), "{path:?}");
    }
    for (at, _) in path.match_indices('%') {
        let digits = path.get(at + 1..at + 3).unwrap_or_else(|| panic!("{path:?}"));
        let byte = u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{path:?}"));
        assert!(!is_unreserved(byte) && !digits.bytes().any(|digit| digit.is_ascii_lowercase()), "{path:?}");
        assert!(!matches!(byte, 0 | b'/' | b'\\'), "{path:?}");
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Another spelling of a canonical path: every other letter escaped, in lower case, and detours. Not the dots:
/// a segment that begins with an escaped one is refused.
fn respelled(canonical: &str) -> String {
    let mut spelling = String::new();
    let mut escape = 0_usize;
    for (at, byte) in canonical.bytes().enumerate() {
        escape = if byte == b'%' { 3 } else { escape.saturating_sub(1) };
        match byte {
            b'/' if at % 3 == 0 => spelling.push_str("/./"),
            _ if escape > 0 => spelling.push(char::from(byte.to_ascii_lowercase())),
            _ if is_unreserved(byte) && byte != b'.' && at % 2 == 0 => {
                spelling.push_str(&format!("%{byte:02x}"));
            }
            _ => spelling.push(char::from(byte)),
        }
    }
    spelling
}
