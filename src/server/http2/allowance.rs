//! What an HTTP/2 client may have for nothing: frames that carry no request and no body.
//!
//! Each such frame has a price; requests that were taken in and bytes that were moved pay for it, and so does time. A
//! client that does what HTTP/2 is for never comes near the end of it; one that floods does within a few kilobytes. The
//! clock is read only when the balance is spent.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{CONTINUATION, DATA, HEADERS, Head, RST_STREAM, SETTINGS, WINDOW_UPDATE};

/// What there is at first, and at most: 1,000 frames of the usual price, as PING is one.
const MOST: i64 = 8_000;
/// What a second brings.
const PER_SECOND: i64 = 800;
/// What a request brings that was taken in: with its price, more than half of all may be cancelled for ever.
const PER_REQUEST: i64 = 88;
/// So many bytes of bodies and answers bring one. Clients open the window again once every few kilobytes.
const BYTES: u64 = 512;
/// A body in smaller pieces than this is no use of the connection that pays.
const SMALL: usize = 256;

/// How much is left.
#[derive(Debug)]
pub(super) struct Allowance {
    balance: i64,
    settled: Instant,
    bytes: u64,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { balance: MOST, settled: now, bytes: 0 }
    }

    /// Takes what this frame costs.
    pub(super) fn charge(&mut self, head: Head) {
        self.balance -= price(head);
        if head.kind == DATA && head.length >= SMALL {
            self.moved(head.length);
        }
    }

    /// Bytes went out, or a body came in.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether all is spent.
    pub(super) fn is_spent(&self) -> bool {
        self.balance < 0
    }

    /// Takes in what was earned since the last time; says whether it was enough.
    pub(super) fn settle(&mut self, requests: u32, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.settled);
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let moved = i64::try_from(std::mem::take(&mut self.bytes) / BYTES).unwrap_or(i64::MAX);
        let earned = (passed.saturating_mul(PER_SECOND) / 1000)
            .saturating_add(moved)
            .saturating_add(i64::from(requests) * PER_REQUEST);
        self.settled = now;
        self.balance = self.balance.saturating_add(earned).min(MOST);
        !self.is_spent()
    }
}

/// What a frame costs.
fn price(head: Head) -> i64 {
    match head.kind {
        DATA if head.ends_stream() || head.length >= SMALL => 0,
        // An empty one that ends nothing has no use at all.
        DATA if head.length == 0 => 8,
        // A body in small pieces, or a client that opens its window often, is odd but may mean well.
        DATA | WINDOW_UPDATE => 1,
        // Each has been work for the upstream, perhaps (CVE-2023-44487).
        RST_STREAM => 120,
        // Each is answered, and may change every stream.
        SETTINGS => 80,
        HEADERS | CONTINUATION => 8,
        // PING, PRIORITY, and what nobody knows.
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const END_STREAM: u8 = 1;

    fn head(kind: u8, flags: u8, length: usize) -> Head {
        Head { length, kind, flags, stream: 1 }
    }

    /// How many rounds of these frames pass within a second, up to a hundred thousand; each is one request that was
    /// taken in, or none, and brings so many bytes of answers.
    fn rounds(frames: &[Head], requests: u32, answered: usize) -> usize {
        let now = Clock::start().now();
        let mut allowance = Allowance::new(now);
        let mut earned = 0;
        (0..100_000)
            .find(|_| {
                frames.iter().for_each(|head| allowance.charge(*head));
                allowance.moved(answered);
                earned += requests;
                let second = now + Duration::from_secs(1);
                allowance.is_spent() && !allowance.settle(std::mem::take(&mut earned), second)
            })
            .unwrap_or(100_000)
    }

    #[test]
    fn a_flood_ends_soon() {
        let get = head(HEADERS, END_STREAM | 4, 40);
        for (name, frames, requests, most) in [
            ("PING", vec![head(6, 0, 8)], 0, 1_100),
            ("SETTINGS", vec![head(SETTINGS, 0, 6)], 0, 110),
            ("PRIORITY", vec![head(2, 0, 5)], 0, 1_100),
            ("PRIORITY_UPDATE", vec![head(16, 0, 9)], 0, 1_100),
            ("unknown", vec![head(0xee, 0, 0)], 0, 1_100),
            ("WINDOW_UPDATE", vec![head(WINDOW_UPDATE, 0, 4)], 0, 8_800),
            ("empty DATA", vec![head(DATA, 0, 0)], 0, 1_100),
            ("tiny DATA", vec![head(DATA, 0, 1)], 0, 8_800),
            ("requests that are refused", vec![get], 0, 1_100),
            ("rapid reset", vec![get, head(RST_STREAM, 0, 4)], 1, 220),
        ] {
            let passed = rounds(&frames, requests, 0);
            assert!((1..=most).contains(&passed), "{name}: {passed}");
        }
    }

    #[test]
    fn good_clients_are_never_told_to_calm_down() {
        let get = head(HEADERS, END_STREAM | 4, 40);
        let window = head(WINDOW_UPDATE, 0, 4);
        let piece = head(DATA, 0, 16_384);
        for (name, frames, requests, answered) in [
            ("requests", vec![get], 1, 100),
            ("half of them cancelled", vec![get, get, head(RST_STREAM, 0, 4)], 2, 200),
            ("an upload", vec![piece], 0, 0),
            ("a download with a window for each 4 KiB, twice", vec![window, window], 0, 4_096),
            ("trailers", vec![get, piece, get], 1, 100),
            ("a PING with every answer", vec![get, head(6, 0, 8), window, window], 1, 100),
        ] {
            assert_eq!(rounds(&frames, requests, answered), 100_000, "{name}");
        }
    }
}
