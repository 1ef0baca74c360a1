//! The part of a body that is kept, in blocks, and where its readers are.
//!
//! An upstream may send its body in crumbs. Small chunks are packed into blocks, so that keeping a byte costs little more
//! than a byte; large ones are kept as they came.

use std::collections::VecDeque;

use bytes::Bytes;

/// A chunk shorter than this is copied out of the read buffer that it would otherwise pin.
const COPY_BELOW: usize = 4096;
/// A chunk shorter than this is packed together with its neighbours.
const PACK_BELOW: usize = 512;
/// How long a packed block gets.
const PACKED: usize = 4096;

/// What is kept of a body.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    complete: VecDeque<Bytes>,
    /// The block behind them, while small chunks are added to it.
    open: Vec<u8>,
    /// The number of the first block that is kept.
    first: u64,
    /// Bytes in all of them.
    length: u64,
}

/// How far a reader has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The number of the block that it reads.
    pub(super) block: u64,
    /// How much of that one it has read.
    at: usize,
}

impl Blocks {
    /// The number of the first block that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// How many bytes are kept.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds a chunk of the body.
    pub(super) fn append(&mut self, chunk: Bytes) {
        self.length += chunk.len() as u64;
        if chunk.len() < PACK_BELOW {
            if self.open.len() + chunk.len() > PACKED {
                self.complete_open();
            }
            return self.open.extend_from_slice(&chunk);
        }
        self.complete_open();
        self.complete.push_back(if chunk.len() < COPY_BELOW {
            Bytes::copy_from_slice(&chunk)
        } else {
            chunk
        });
    }

    fn complete_open(&mut self) {
        if !self.open.is_empty() {
            // Boxed: without the room that the block has not used.
            self.complete.push_back(std::mem::take(&mut self.open).into_boxed_slice().into());
        }
    }

    /// What there is to read next, at most to the end of a block; the position moves on.
    pub(super) fn read(&self, position: &mut Position) -> Option<Bytes> {
        while let Some(block) = self.complete.get(self.index(position.block)?) {
            let piece = block.slice(position.at.min(block.len())..);
            *position = Position { block: position.block + 1, at: 0 };
            // Empty where it was read to this point already, while it was open.
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        let piece = self.open.get(position.at..).filter(|piece| !piece.is_empty())?;
        position.at = self.open.len();
        Some(Bytes::copy_from_slice(piece))
    }

    /// Whether there is nothing to read any more.
    pub(super) fn are_read(&self, mut position: Position) -> bool {
        position.block >= self.first && self.read(&mut position).is_none()
    }

    fn index(&self, block: u64) -> Option<usize> {
        usize::try_from(block.checked_sub(self.first)?).ok()
    }

    /// Lets go of the complete blocks before this one; says how many bytes that frees.
    pub(super) fn drop_before(&mut self, block: u64) -> u64 {
        let before = self.length;
        while self.first < block
            && let Some(gone) = self.complete.pop_front()
        {
            self.first += 1;
            self.length -= gone.len() as u64;
        }
        before - self.length
    }

    /// The last block from whose start on at least this many bytes are kept.
    pub(super) fn last_behind(&self, bytes: u64) -> u64 {
        let mut behind = self.open.len() as u64;
        let mut block = self.first + self.complete.len() as u64;
        for complete in self.complete.iter().rev() {
            if behind >= bytes {
                break;
            }
            behind += complete.len() as u64;
            block -= 1;
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the body is cut up, and whenever it is read, everybody reads the same bytes once and in their order.
        #[test]
        fn readers_get_every_byte_once(
            chunks in prop::collection::vec((0_usize..6000, 0_u8..3), 0..60),
        ) {
            let mut blocks = Blocks::default();
            let (mut sent, mut next) = (Vec::new(), 0_u8);
            let mut readers = [(); 3].map(|()| (Position::default(), Vec::new()));
            for (length, turn) in chunks {
                let chunk: Bytes = std::iter::from_fn(|| { next = next.wrapping_add(1); Some(next) }).take(length).collect();
                sent.extend_from_slice(&chunk);
                blocks.append(chunk);
                if let Some((position, read)) = readers.get_mut(usize::from(turn))
                    && let Some(piece) = blocks.read(position)
                {
                    read.extend_from_slice(&piece);
                }
            }
            prop_assert_eq!(blocks.length(), sent.len() as u64);
            for (mut position, mut read) in readers {
                while let Some(piece) = blocks.read(&mut position) {
                    prop_assert!(!piece.is_empty());
                    read.extend_from_slice(&piece);
                }
                prop_assert!(blocks.are_read(position));
                prop_assert_eq!(&read, &sent);
            }
        }
    }

    #[test]
    fn crumbs_are_packed() {
        let mut blocks = Blocks::default();
        let source = Bytes::from(vec![7; 100_000]);
        (0..100_000).for_each(|at| blocks.append(source.slice(at..=at)));
        assert_eq!(
            (blocks.length(), blocks.complete.len(), blocks.open.len()),
            (100_000, 24, 100_000 % PACKED)
        );
    }

    #[test]
    fn what_is_dropped_is_accounted_for() {
        let mut blocks = Blocks::default();
        for length in [600, 700, 10] {
            blocks.append(vec![0; length].into());
        }
        assert_eq!([0, 10, 11, 710, 711, 9999].map(|bytes| blocks.last_behind(bytes)), [2, 2, 1, 1, 0, 0]);
        assert_eq!((blocks.drop_before(1), blocks.first(), blocks.length()), (600, 1, 710));
        assert_eq!(
            (blocks.drop_before(9), blocks.first(), blocks.length()),
            (700, 2, 10),
            "the open one stays"
        );
    }
}
