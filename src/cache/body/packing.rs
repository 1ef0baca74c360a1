//! A body that is packed into blocks while it arrives.
//!
//! The first block is a copy beside what is handed on: most bodies end within it, in one piece. Beyond it what is handed on
//! lies in the blocks themselves, so that whoever reads a large body while it arrives shares memory with the store.

use bytes::{Bytes, BytesMut};

use super::{BLOCK, Chunks, join};

/// What is shorter than this is handed on as it came: a reference of its own would cost more than it saves.
const SHARED_FROM: usize = 4096;

/// A body as far as it came.
#[derive(Debug)]
pub(in crate::cache) struct Packing {
    complete: Vec<Bytes>,
    /// What of the present block is in no complete piece yet, and the room behind it.
    open: BytesMut,
    /// How many of the last pieces lie in the present block.
    of_block: usize,
    /// What is left of the present block, in bytes.
    room: usize,
    length: u64,
    expected: Option<u64>,
}

impl Packing {
    /// Of a body of this length, where that is known.
    pub(in crate::cache) fn expecting(length: Option<u64>) -> Self {
        let room = block(length);
        let open = BytesMut::with_capacity(if length.unwrap_or(0) > 0 { room } else { 0 });
        Self { complete: Vec::new(), open, of_block: 0, room, length: 0, expected: length }
    }

    /// How many bytes came.
    pub(in crate::cache) fn length(&self) -> u64 {
        self.length
    }

    /// Takes bytes off a chunk, as many as the present block has room for, and gives them back to be handed on.
    pub(in crate::cache) fn add(&mut self, chunk: &mut Bytes) -> Bytes {
        if self.room == 0 && !chunk.is_empty() {
            self.begin_block();
        }
        let now = chunk.split_to(chunk.len().min(self.room));
        self.open.extend_from_slice(&now);
        self.room -= now.len();
        self.length += now.len() as u64;
        if self.complete.is_empty() || now.len() < SHARED_FROM {
            return now;
        }
        let piece = self.open.split().freeze();
        let shared = piece.slice(piece.len() - now.len()..);
        self.complete.push(piece);
        self.of_block += 1;
        shared
    }

    fn begin_block(&mut self) {
        let rest = std::mem::take(&mut self.open);
        if rest.capacity() > rest.len() {
            // The first block, which has grown: the room behind it would count nowhere.
            self.complete.push(Bytes::copy_from_slice(&rest));
        } else if !rest.is_empty() {
            self.complete.push(rest.freeze());
        }
        self.of_block = 0;
        self.room = block(self.expected.map(|expected| expected.saturating_sub(self.length)));
        self.open = BytesMut::with_capacity(self.room);
    }

    /// All that came, without the room that the last block has not used.
    pub(in crate::cache) fn finish(mut self) -> Chunks {
        let is_full = self.open.len() == self.open.capacity();
        let mut last = self.complete.split_off(self.complete.len() - self.of_block);
        last.extend(Some(self.open.freeze()).filter(|rest| !rest.is_empty()));
        if is_full {
            self.complete.append(&mut last);
        } else {
            self.complete.extend(join(&mut last));
        }
        Chunks::unpacked(self.complete)
    }
}

/// How long a block is made when this much is to come.
fn block(left: Option<u64>) -> usize {
    let left = left.and_then(|left| usize::try_from(left).ok()).filter(|left| *left > 0);
    left.map_or(BLOCK, |left| left.min(BLOCK))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is handed on of these chunks, and what is kept.
    fn packed(chunks: &[Bytes], expected: Option<u64>) -> (Vec<Bytes>, Chunks) {
        let (mut packing, mut handed) = (Packing::expecting(expected), Vec::new());
        for chunk in chunks {
            let mut chunk = chunk.clone();
            while !chunk.is_empty() {
                handed.push(packing.add(&mut chunk));
            }
        }
        (handed, packing.finish())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_is_handed_on_and_what_is_kept_are_what_came(
            lengths in prop::collection::vec(prop_oneof![0_usize..100, 3_000_usize..200_000], 0..12),
            is_announced: bool,
            lies in -3_i64..3,
        ) {
            let mut byte = 0_u8;
            let chunks: Vec<Bytes> = lengths.iter().map(|length| {
                std::iter::from_fn(|| { byte = byte.wrapping_add(1); Some(byte) }).take(*length).collect()
            }).collect();
            let length: u64 = lengths.iter().map(|length| *length as u64).sum();
            let (handed, kept) = packed(&chunks, is_announced.then(|| length.saturating_add_signed(lies)));
            prop_assert_eq!(handed.concat(), chunks.concat());
            prop_assert_eq!(kept.len(), length);
            let is_longer_than_said = is_announced && lies < 0;
            prop_assert!(length > BLOCK as u64 || is_longer_than_said || kept.in_one().is_some());
            prop_assert_eq!(kept.into_chunks().concat(), chunks.concat());
        }
    }

    #[test]
    fn beyond_the_first_block_memory_is_shared() {
        let chunks = vec![Bytes::from(vec![7; 100_000]); 8];
        for expected in [None, Some(800_000)] {
            let (handed, kept) = packed(&chunks, expected);
            let kept = kept.into_chunks();
            let within =
                |piece: &Bytes| kept.iter().any(|kept| kept.as_ptr_range().contains(&piece.as_ptr()));
            // The last block is made anew where its length was not known.
            let shared: usize = handed.iter().filter(|piece| within(piece)).map(Bytes::len).sum();
            assert_eq!(shared, if expected.is_some() { 800_000 - BLOCK } else { 2 * BLOCK });
        }
    }

    #[test]
    fn nothing_keeps_more_alive_than_itself() {
        let buffer = Bytes::from(vec![1; 400_000]);
        let (handed, kept) = packed(&[buffer.slice(..10), buffer.slice(10..300_000)], None);
        drop(handed);
        assert!(buffer.is_unique(), "{kept:?}");
        let crumbs = vec![buffer.slice(..1); 300_000];
        assert_eq!(packed(&crumbs, None).1.into_chunks().len(), 2);
    }
    #[test]
    fn a_body_takes_no_more_memory_than_its_bytes() {
        const BESIDE: usize = 1024;
        let chunks = vec![Bytes::from(vec![7; 100_000]); 4];
        for (count, expected) in
            [(0, None), (0, Some(0)), (1, None), (3, None), (4, None), (4, Some(400_000))]
        {
            let mut kept = None;
            let memory = allocation_counter::measure(|| kept = Some(packed(&chunks[..count], expected).1));
            let length = usize::try_from(kept.unwrap().len()).unwrap();
            assert!(memory.bytes_current <= (length + BESIDE) as i64, "{count} chunks: {memory:?}");
            assert!(count > 0 || memory.bytes_total <= BESIDE as u64, "{expected:?}: {memory:?}");
        }
    }
}
