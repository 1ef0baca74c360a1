//! Copies of a stored body in content codings, made when somebody asks for one.
//!
//! The room for them was set aside when the body was stored, so that they need not ask for any: together they take at
//! most that much, and go with the body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::Chunks;
use crate::http::coding::Coding;
use crate::metrics::Gauge;

/// A place for each coding.
#[derive(Debug)]
pub(super) struct Copies {
    places: [OnceLock<Arc<Chunks>>; Coding::ALL.len()],
    taken: AtomicU64,
    /// What all of them may take, in bytes.
    pub(super) most: u64,
}

impl Copies {
    pub(super) fn within(most: u64) -> Self {
        Self { places: Default::default(), taken: AtomicU64::new(0), most }
    }

    pub(super) fn find(&self, coding: Coding) -> Option<&Arc<Chunks>> {
        self.places.get(coding as usize)?.get()
    }

    /// Keeps a copy where there is none yet and room is left.
    pub(super) fn keep(&self, coding: Coding, copy: Chunks, gauge: &Arc<Gauge>) {
        let Some(place) = self.places.get(coding as usize).filter(|place| place.get().is_none()) else {
            return;
        };
        let length = copy.len();
        let taken = self.taken.fetch_add(length, Ordering::Relaxed);
        if taken.saturating_add(length) > self.most
            || place.set(Arc::new(copy.counted(gauge, false))).is_err()
        {
            self.taken.fetch_sub(length, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunks(length: usize) -> Chunks {
        Chunks::pack([Bytes::from(vec![7; length])])
    }

    #[test]
    fn copies_are_kept_while_there_is_room_and_counted() {
        let gauge = Arc::new(Gauge::default());
        let body = chunks(200).counted(&gauge, true);
        assert_eq!(body.weight(), 300);
        let copies = body.copies.as_ref().unwrap();
        copies.keep(Coding::Gzip, chunks(60), &gauge);
        copies.keep(Coding::Gzip, chunks(10), &gauge);
        copies.keep(Coding::Brotli, chunks(41), &gauge);
        assert!(copies.find(Coding::Brotli).is_none(), "there was no room");
        copies.keep(Coding::Zstd, chunks(40), &gauge);
        let lengths = Coding::ALL.map(|coding| copies.find(coding).map(|copy| copy.len()));
        assert_eq!(lengths, [Some(40), None, Some(60)]);
        assert_eq!(gauge.value(), 300);
        drop(body);
        assert_eq!(gauge.value(), 0);
    }
}
