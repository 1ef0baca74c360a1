//! Query parameters, decoded like a form: `%41`, `A` and, for a space, `+` and `%20` are the same.

use std::borrow::Cow;

/// The decoded values of the parameters called `name`.
pub(super) fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decode(key) == *name.as_bytes()).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, following)) = rest.split_first() {
        rest = following;
        match (byte, following) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
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

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        b'A'..=b'F' => Some(hex - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_value_are_one_value() {
        for query in ["k=a b", "x=1&k=a+b", "k=a%20b&y", "%6B=%61%20b"] {
            assert_eq!(values(query, "k").collect::<Vec<_>>(), [Cow::Borrowed(b"a b".as_slice())], "{query}");
        }
        assert_eq!(values("k=%&k=%4&k=%zz", "k").count(), 3);
        assert_eq!(values("kk=1&K=2", "k").count(), 0);
    }

    proptest! {
        #[test]
        fn an_encoded_value_comes_back(value: Vec<u8>, junk in "\\PC{0,30}") {
            let encoded: String = value.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(&*decode(&encoded), &value);
            let _ = decode(&junk);
        }
    }
}
