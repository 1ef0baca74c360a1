//! A copy of what streams past, so that a body can be read without being held back.

/// How much is copied, in bytes.
pub const MAX_TAPPED: usize = 64 * 1024;

/// Copies a body chunk by chunk. Past [`MAX_TAPPED`] it lets go of what it has: a part of a document says nothing.
#[derive(Debug, Default)]
pub struct Tap(Held);

#[derive(Debug)]
enum Held {
    All(Vec<u8>),
    TooLong,
}

impl Default for Held {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Tap {
    /// The next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        let Held::All(held) = &mut self.0 else { return };
        if held.len().saturating_add(chunk.len()) > MAX_TAPPED {
            self.0 = Held::TooLong;
        } else {
            held.extend_from_slice(chunk);
        }
    }

    /// All that has streamed past; `None` where that was too long.
    pub fn whole(&self) -> Option<&[u8]> {
        match &self.0 {
            Held::All(held) => Some(held),
            Held::TooLong => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_up_to_the_bound_is_there_whole() {
        let mut tap = Tap::default();
        assert_eq!(tap.whole(), Some(&b""[..]));
        tap.push(b"{\"a\"");
        tap.push(b":1}");
        assert_eq!(tap.whole(), Some(&b"{\"a\":1}"[..]));
        tap.push(&vec![b' '; MAX_TAPPED - 7]);
        assert_eq!(tap.whole().map(<[u8]>::len), Some(MAX_TAPPED));
    }

    #[test]
    fn a_longer_one_leaves_nothing_behind() {
        let mut tap = Tap::default();
        tap.push(&vec![b' '; MAX_TAPPED]);
        tap.push(b"x");
        assert_eq!(tap.whole(), None);
        tap.push(b"y");
        assert_eq!(tap.whole(), None);
        assert!(matches!(tap.0, Held::TooLong), "its memory is given back");
    }
}
