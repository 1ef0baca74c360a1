//! Keyed digests: how forebay names clients, credentials and resources without keeping their text.
//!
//! A digest is SipHash-2-4 with 128 bits of output under a key that is drawn at the start of the process, so nobody
//! outside can find two inputs that collide. Every part is preceded by its length: no part can imitate the border
//! between two others.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};

/// The key of this process.
#[derive(Debug, Clone, Copy)]
pub struct Digester {
    key: (u64, u64),
}

impl Digester {
    /// Draws a key from the operating system's randomness (through the standard library's hasher seeds).
    pub fn random() -> Self {
        let draw = || RandomState::new().build_hasher().finish();
        Self { key: (draw(), draw()) }
    }

    /// The same key for the same text: digests that can be compared between runs, by those who know the text.
    pub fn keyed_by(text: &str) -> Self {
        let half = |seed| {
            let mut hasher = SipHasher24::new_with_keys(seed, 0);
            hasher.write(text.as_bytes());
            hasher.finish()
        };
        Self { key: (half(1), half(2)) }
    }

    /// A digest to which parts are added one by one.
    pub fn begin(&self) -> Digest {
        let hasher = SipHasher24::new_with_keys(self.key.0, self.key.1);
        Digest { hasher, gathered: [0; GATHERED], length: 0 }
    }

    /// The digest of a whole list of parts.
    pub fn of<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> u128 {
        let mut digest = self.begin();
        parts.into_iter().for_each(|part| digest.add(part));
        digest.finish()
    }
}

/// A digest in the making. Short parts are gathered: the hasher takes a hundred bytes at once for the price of a few.
#[derive(Debug, Clone)]
pub struct Digest {
    hasher: SipHasher24,
    gathered: [u8; GATHERED],
    length: usize,
}

const GATHERED: usize = 128;

impl Digest {
    /// Adds a part; `add(b"ab"); add(b"c")` differs from `add(b"a"); add(b"bc")`.
    pub fn add(&mut self, part: &[u8]) {
        let prefix = (part.len() as u64).to_le_bytes();
        let end = self.length + prefix.len() + part.len();
        if let Some((of_prefix, of_part)) =
            self.gathered.get_mut(self.length..end).and_then(|room| room.split_at_mut_checked(prefix.len()))
        {
            of_prefix.copy_from_slice(&prefix);
            of_part.copy_from_slice(part);
            self.length = end;
        } else {
            self.hash_gathered();
            self.hasher.write(&prefix);
            self.hasher.write(part);
        }
    }

    /// The 128 bits.
    pub fn finish(mut self) -> u128 {
        self.hash_gathered();
        self.hasher.finish128().as_u128()
    }

    fn hash_gathered(&mut self) {
        self.hasher.write(self.gathered.get(..self.length).unwrap_or_default());
        self.length = 0;
    }
}

/// The first digits of a digest: enough to tell two apart by eye.
pub fn short(digest: u128) -> String {
    format!("#{:08x}", digest >> 96)
}

/// For tables by digest: what is a keyed digest already would gain nothing by being hashed again.
#[derive(Debug, Clone, Copy, Default)]
pub struct DigestHasher(u64);

/// Builds [`DigestHasher`]s.
pub type BuildDigestHasher = BuildHasherDefault<DigestHasher>;

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves of the digest are folded together")]
    fn write_u128(&mut self, digest: u128) {
        self.0 = (digest >> 64) as u64 ^ digest as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_cannot_imitate_the_border_between_two_others() {
        let digester = Digester::random();
        assert_ne!(digester.of([b"ab".as_slice(), b"c"]), digester.of([b"a".as_slice(), b"bc"]));
        assert_ne!(digester.of([b"ab".as_slice()]), digester.of([b"ab".as_slice(), b""]));
    }

    #[test]
    fn it_does_not_matter_how_parts_are_gathered() {
        let digester = Digester::random();
        for lengths in
            [vec![], vec![0], vec![120], vec![121], vec![60, 60, 60], vec![3, 500, 3], vec![112, 0, 0, 9]]
        {
            let parts: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
            let mut plain = SipHasher24::new_with_keys(digester.key.0, digester.key.1);
            for part in &parts {
                plain.write(&(part.len() as u64).to_le_bytes());
                plain.write(part);
            }
            let digest = digester.of(parts.iter().map(Vec::as_slice));
            assert_eq!(digest, plain.finish128().as_u128(), "{lengths:?}");
        }
    }

    #[test]
    fn two_processes_name_the_same_thing_differently() {
        assert_ne!(Digester::random().of([b"x".as_slice()]), Digester::random().of([b"x".as_slice()]));
    }
}
