//! `X-Request-Id`: kept where the client's is harmless, else made.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderValue};

use crate::digest::Digester;
use crate::http::fields::Present;
use crate::upstream::REQUEST_ID;

/// The longest id that is kept.
const LONGEST: usize = 128;

thread_local! {
    /// The state of this thread's generator: two words that only it advances.
    static SEED: Cell<(u64, u64)> = Cell::new(seed());
    /// What is left of the memory from which this thread cuts its ids: an id of its own would cost two allocations.
    static BLOCK: RefCell<BytesMut> = RefCell::default();
}

/// How much memory ids share, in bytes.
const BLOCK_SIZE: usize = 1024;

/// The request's own id where it is at most 128 visible ASCII characters, else a new one of 32 hexadecimal digits.
pub(super) fn of(headers: &HeaderMap, present: Present) -> HeaderValue {
    match present.has_request_id().then(|| headers.get(REQUEST_ID)).flatten() {
        Some(id) if is_harmless(id.as_bytes()) => id.clone(),
        _ => made(),
    }
}

fn is_harmless(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn made() -> HeaderValue {
    let mut text = [0; 32];
    let number = random().to_ne_bytes();
    for (eight, four) in text.as_chunks_mut().0.iter_mut().zip(number.as_chunks().0) {
        *eight = digits(u32::from_be_bytes(*four));
    }
    let id = BLOCK.with_borrow_mut(|block| {
        if block.capacity() < text.len() {
            *block = BytesMut::with_capacity(BLOCK_SIZE);
        }
        block.extend_from_slice(&text);
        block.split().freeze()
    });
    HeaderValue::from_maybe_shared(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// The eight hexadecimal digits of a number, made side by side.
fn digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A byte for each nibble.
    let halves = u64::from(number) | u64::from(number) << 16;
    let bytes = halves & 0x0000_ffff_0000_ffff;
    let bytes = (bytes | bytes << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & (ONES * 0xf);
    let letters = (nibbles + ONES * 6) >> 4 & ONES;
    (nibbles + ONES * u64::from(b'0') + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

/// A number in 0..1, to spread the returns of clients that are turned away together.
pub(super) fn spread() -> f64 {
    (random() >> 75) as f64 / (1_u64 << 53) as f64
}

/// xoroshiro128+ twice: unique and fast, not secret.
fn random() -> u128 {
    SEED.with(|seed| {
        let next = || {
            let (a, mut b) = seed.get();
            let out = a.wrapping_add(b);
            b ^= a;
            seed.set((a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)));
            out
        };
        u128::from(next()) << 64 | u128::from(next())
    })
}

fn seed() -> (u64, u64) {
    let drawn = Digester::random().of([b"request ids".as_slice()]).to_be_bytes();
    let half = |half: &[u8]| half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (high, low) = drawn.split_at(8);
    // All zeros is the one state that the generator cannot leave.
    (half(high) | 1, half(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_ids_are_kept_and_others_replaced() {
        let given =
            |id: &str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())]);
        let of = |headers: HeaderMap| of(&headers, Present::of(&headers));
        assert_eq!(of(given("abc-123")), "abc-123");
        for bad in ["", "a b", "\u{e4}", &"x".repeat(129)] {
            assert_eq!(of(given(bad)).len(), 32, "{bad:?}");
        }
    }

    #[test]
    fn digits_are_hexadecimal() {
        for number in [0, 0x0123_4567, 0x89ab_cdef, u32::MAX, 0x9a0f_f0a9] {
            assert_eq!(digits(number), format!("{number:08x}").as_bytes());
        }
    }

    #[test]
    fn made_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| made()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
