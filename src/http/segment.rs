//! A part of a path as the text that it stands for, and back (RFC 3986 section 2.1).

use std::fmt::Write as _;

/// The text that a part of a canonical path stands for; `None` where that is no text.
pub fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A text as one segment of a path.
pub fn encoded(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            let _ = write!(part, "%{byte:02X}");
        }
    }
    part
}

/// The value of a hexadecimal digit.
pub fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escape_stands_for_its_byte() {
        assert_eq!(decoded("a%20b%C3%A9+:").as_deref(), Some("a bé+:"));
        for broken in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
        assert_eq!(encoded("a b/é~"), "a%20b%2F%C3%A9~");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in "\\PC{0,20}") {
            prop_assert_eq!(decoded(&encoded(&text)), Some(text));
        }
    }
}
