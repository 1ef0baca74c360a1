//! What else a canonical path may mean: servers do not agree on escaped delimiters and on parameters.

use std::borrow::Cow;

use super::target::is_plain;

/// How else servers may read a canonical path: with escaped delimiters decoded (RFC 3986 section 2.2 says that they are not
/// the same, many servers do not care), without the parameters of its segments (section 3.3), or both. Nothing for
/// the usual path, which has neither.
pub fn other_readings(path: &str) -> impl Iterator<Item = String> {
    let has = |byte: u8| path.bytes().any(|other| other == byte);
    let decoded = has(b'%').then(|| decode_delimiters(path)).filter(|decoded| decoded != path);
    let bare = [Some(path), decoded.as_deref()]
        .map(|path| path.filter(|path| path.contains(';')).map(without_parameters));
    let [plain, both] = bare;
    [decoded, plain, both].into_iter().flatten()
}

/// Whether a path has what servers read in different ways: an escape or a parameter.
pub fn has_other_readings(path: &str) -> bool {
    path.bytes().any(|byte| matches!(byte, b'%' | b';'))
}

/// The reading of a canonical path, or of a part of one, that tells the fewest apart.
pub fn loosest_reading(path: &str) -> Cow<'_, str> {
    other_readings(path).last().map_or(Cow::Borrowed(path), Cow::Owned)
}

fn decode_delimiters(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| is_plain(*byte) && *byte != b'/') {
            Some(delimiter) => {
                out.push(char::from(delimiter));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn without_parameters(path: &str) -> String {
    let names: Vec<&str> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_delimiters_has_several_readings() {
        for (path, expected) in [
            ("/api/scan", &[][..]),
            ("/a%20b", &[]),
            ("/a%2Bb", &["/a+b"]),
            ("/a;v=1/b;w", &["/a/b"]),
            ("/a%3Bv/b", &["/a;v/b", "/a/b"]),
            ("/a%2B;v", &["/a+;v", "/a%2B", "/a+"]),
        ] {
            assert_eq!(other_readings(path).collect::<Vec<_>>(), expected, "{path}");
            assert!(has_other_readings(path) || expected.is_empty(), "{path}");
            assert_eq!(loosest_reading(path), expected.last().copied().unwrap_or(path));
        }
    }
}
