//! Copies of a stored body in content codings, made when somebody asks for one.
//!
//! The room for them was set aside when the body was stored: together they take at most that much, those under way
//! included, and go with the body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Chunks;
use crate::http::coding::Coding;

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

    /// Takes room for more of a copy; whether there is any.
    fn reserve(&self, bytes: u64) -> bool {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = taken.saturating_add(bytes) <= self.most;
        if !fits {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Keeps a copy that has its room; whether there was none yet.
    fn keep(&self, coding: Coding, copy: Chunks) -> bool {
        self.places.get(coding as usize).is_some_and(|place| place.set(Arc::new(copy)).is_ok())
    }
}

/// A copy in a content coding while it is made, for a client that may read slowly: it has its room already, or comes to
/// nothing.
#[derive(Debug)]
pub struct Copying {
    original: Arc<Chunks>,
    coding: Coding,
    pieces: Vec<Bytes>,
    /// The room that it has, in bytes.
    length: u64,
}

impl Copying {
    /// `None` where no copies are kept, or this one is there.
    pub(super) fn begin(original: &Arc<Chunks>, coding: Coding) -> Option<Self> {
        let is_wanted = original.copies.as_ref()?.find(coding).is_none();
        is_wanted.then(|| Self { original: Arc::clone(original), coding, pieces: Vec::new(), length: 0 })
    }

    /// The next piece; false when there is no room for it, and nothing will come of the copy.
    pub fn add(&mut self, piece: &Bytes) -> bool {
        let length = piece.len() as u64;
        let has_room = self.original.copies.as_ref().is_some_and(|copies| copies.reserve(length));
        if has_room {
            self.length += length;
            self.pieces.push(piece.clone());
        }
        has_room
    }

    /// It is whole.
    pub fn keep(mut self) {
        let original = Arc::clone(&self.original);
        let (Some(copies), Some(held)) = (&original.copies, &original.held) else { return };
        let copy = Chunks::pack(std::mem::take(&mut self.pieces)).counted(&held.gauge, false);
        if copies.keep(self.coding, copy) {
            // Its room is the copy's now.
            self.length = 0;
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(copies) = &self.original.copies {
            copies.taken.fetch_sub(self.length, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Gauge;

    fn original(gauge: &Arc<Gauge>) -> Arc<Chunks> {
        Arc::new(Chunks::pack([Bytes::from(vec![7; 200])]).counted(gauge, true))
    }

    fn copying(original: &Arc<Chunks>, coding: Coding, length: usize) -> Option<Copying> {
        let mut copying = Copying::begin(original, coding)?;
        copying.add(&Bytes::from(vec![7; length])).then_some(copying)
    }

    #[test]
    fn copies_are_kept_while_there_is_room_and_counted() {
        let gauge = Arc::new(Gauge::default());
        let body = original(&gauge);
        assert_eq!(body.weight(), 300);
        for (coding, length) in
            [(Coding::Gzip, 60), (Coding::Gzip, 10), (Coding::Brotli, 41), (Coding::Zstd, 40)]
        {
            if let Some(copying) = copying(&body, coding, length) {
                copying.keep();
            }
        }
        let copies = body.copies.as_ref().unwrap();
        let lengths = Coding::ALL.map(|coding| copies.find(coding).map(|copy| copy.len()));
        assert_eq!(lengths, [Some(40), None, Some(60)], "there was no room");
        assert_eq!(gauge.value(), 300);
        drop(body);
        assert_eq!(gauge.value(), 0);
    }

    #[test]
    fn copies_under_way_share_the_room_and_give_it_back() {
        let body = original(&Arc::default());
        let (one, other) = (copying(&body, Coding::Gzip, 50), copying(&body, Coding::Gzip, 50));
        assert!(one.is_some() && other.is_some());
        assert!(copying(&body, Coding::Zstd, 1).is_none(), "however many clients read slowly");
        one.unwrap().keep();
        drop(other);
        assert!(copying(&body, Coding::Zstd, 50).is_some());
        assert!(copying(&body, Coding::Zstd, 51).is_none());
    }
}
