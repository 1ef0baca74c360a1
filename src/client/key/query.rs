//! Query parameters, decoded like a form: `%41`, `A` and, for a space, `+` and `%20` are the same.

use std::borrow::Cow;

use crate::client::form::decode;

/// The decoded values of the parameters called `name`.
pub(super) fn values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (*decode(key.as_bytes()) == *name.as_bytes()).then(|| decode(value.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_one_value() {
        for query in ["k=a b", "x=1&k=a+b", "k=a%20b&y", "%6B=%61%20b"] {
            assert_eq!(values(query, "k").collect::<Vec<_>>(), [Cow::Borrowed(b"a b".as_slice())], "{query}");
        }
        assert_eq!(values("k=%&k=%4&k=%zz", "k").count(), 3);
        assert_eq!(values("kk=1&K=2", "k").count(), 0);
    }
}
