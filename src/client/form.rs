//! What forms, and many servers' cookies, are encoded in: `%41` for `A`, `+` or `%20` for a space.

use std::borrow::Cow;

use crate::http::segment::hex;

/// The decoded text; a `%` that begins no escape stands for itself.
pub(super) fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, following)) = rest.split_first() {
        rest = following;
        match (byte, following) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_encoded_value_comes_back(value: Vec<u8>, junk: Vec<u8>) {
            let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(&*decode(encoded.as_bytes()), &value);
            let _ = decode(&junk);
        }
    }
}
