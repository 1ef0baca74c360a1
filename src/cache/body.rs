//! Stored bodies: what is kept, and what a client reads from it.

mod copies;
mod packing;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::range::Span;
use crate::http::coding::Coding;
use crate::metrics::Gauge;

use copies::Copies;
pub use copies::Copying;
pub(super) use packing::Packing;

/// Chunks are copied together into blocks of at most this, or of one chunk: none of them keeps a whole read buffer alive,
/// and what is freed fits what comes next, so that resident memory follows what is counted.
pub(super) const BLOCK: usize = 256 << 10;

/// A part of the memory that the store answers for: given back on drop, whoever held it last.
#[derive(Debug)]
pub(super) struct Held {
    bytes: i64,
    gauge: Arc<Gauge>,
}

impl Held {
    pub(super) fn new(bytes: u64, gauge: &Arc<Gauge>) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        gauge.add(bytes);
        Self { bytes, gauge: Arc::clone(gauge) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.add(-self.bytes);
    }
}

/// The chunks of a whole body, packed.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Box<[Bytes]>,
    length: u64,
    /// The same in content codings, where they are kept.
    copies: Option<Box<Copies>>,
    held: Option<Held>,
}

impl Chunks {
    pub(super) fn pack(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        let mut packed = Vec::new();
        let mut waiting: Vec<Bytes> = Vec::new();
        let mut length = 0;
        for chunk in chunks {
            if length + chunk.len() > BLOCK {
                packed.extend(join(&mut waiting));
                length = 0;
            }
            length += chunk.len();
            waiting.push(chunk);
        }
        packed.extend(join(&mut waiting));
        let length = packed.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: packed.into(), length, copies: None, held: None }
    }

    /// Chunks as they came, for as long as they are looked at.
    pub(super) fn unpacked(chunks: Vec<Bytes>) -> Self {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), length, copies: None, held: None }
    }

    /// Packed chunks of several bodies, one behind the other; packed anew once they have become many.
    pub(super) fn laid(chunks: Vec<Bytes>) -> Self {
        const ROOM: usize = 64;
        let laid = Self::unpacked(chunks);
        let usual = usize::try_from(laid.length / BLOCK as u64).unwrap_or(usize::MAX);
        if laid.chunks.len() > usual.saturating_mul(2).saturating_add(ROOM) {
            return Self::pack(laid.chunks.iter().cloned());
        }
        laid
    }

    pub(super) fn into_chunks(self) -> Vec<Bytes> {
        self.chunks.into_vec()
    }

    /// From now on its bytes are counted, those of its copies included.
    pub(super) fn counted(self, gauge: &Arc<Gauge>, keeps_coded: bool) -> Self {
        let copies = keeps_coded.then(|| Box::new(Copies::within(self.length / 2)));
        Self { copies, held: Some(Held::new(self.length, gauge)), ..self }
    }

    /// What it may take at most.
    pub(super) fn weight(&self) -> u64 {
        self.length + self.copies.as_ref().map_or(0, |copies| copies.most)
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// The whole body where it is in one piece, as every small one is.
    pub(super) fn in_one(&self) -> Option<&[u8]> {
        match &*self.chunks {
            [] => Some(&[]),
            [whole] => Some(whole),
            _ => None,
        }
    }
}

fn join(chunks: &mut Vec<Bytes>) -> Option<Bytes> {
    let length = chunks.iter().map(Bytes::len).sum();
    let mut block = BytesMut::with_capacity(length);
    chunks.drain(..).for_each(|chunk| block.extend_from_slice(&chunk));
    (length > 0).then(|| block.freeze())
}

/// A stored body on its way to one client; cloning starts nothing anew. Costs a reference count.
#[derive(Debug, Clone)]
pub struct StoredBody {
    chunks: Arc<Chunks>,
    next: usize,
    /// How much of the next chunk is passed over.
    skip: usize,
    left: u64,
}

impl StoredBody {
    pub(super) fn new(chunks: &Arc<Chunks>) -> Self {
        Self { chunks: Arc::clone(chunks), next: 0, skip: 0, left: chunks.length }
    }

    /// A part of a body from which nothing was read yet; what is beyond its end is not there.
    pub(super) fn span(self, span: Span) -> Self {
        let (mut next, mut skip) = (0, span.first);
        for chunk in &self.chunks.chunks {
            match skip.checked_sub(chunk.len() as u64) {
                Some(beyond) => skip = beyond,
                None => break,
            }
            next += 1;
        }
        let left = span.length().min(self.left.saturating_sub(span.first));
        // Below the length of a chunk, or there is nothing left to skip.
        Self { next, skip: usize::try_from(skip).unwrap_or(usize::MAX), left, ..self }
    }

    /// What comes next; a reference to the stored bytes.
    pub(super) fn next_chunk(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let mut chunk = self.chunks.chunks.get(self.next)?.clone();
        chunk.advance(std::mem::take(&mut self.skip).min(chunk.len()));
        chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.next += 1;
        self.left -= chunk.len() as u64;
        Some(chunk)
    }

    /// The next so many bytes; references to the stored ones.
    pub(super) fn take_bytes(&mut self, count: u64) -> Vec<Bytes> {
        let (mut taken, mut wanted) = (Vec::new(), count.min(self.left));
        while wanted > 0 {
            let Some(chunk) = self.chunks.chunks.get(self.next) else { break };
            let left = chunk.len() - self.skip.min(chunk.len());
            let length = left.min(usize::try_from(wanted).unwrap_or(usize::MAX));
            taken.push(chunk.slice(self.skip..self.skip + length));
            (wanted, self.left) = (wanted - length as u64, self.left - length as u64);
            if length == left {
                (self.next, self.skip) = (self.next + 1, 0);
            } else {
                self.skip += length;
            }
        }
        taken
    }

    /// The same in a content coding, where that is kept. Asked of a body of which nothing was read yet.
    pub fn coded(&self, coding: Coding) -> Option<Self> {
        self.chunks.copies.as_ref()?.find(coding).map(Self::new)
    }

    /// Begins such a copy, where they are kept.
    pub fn copying(&self, coding: Coding) -> Option<Copying> {
        Copying::begin(&self.chunks, coding)
    }

    /// What is still to be read, in bytes.
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl Body for StoredBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next_chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PIECE: usize = 64 << 10;

    fn chunk(length: usize, fill: u8) -> Bytes {
        vec![fill; length].into()
    }

    #[test]
    fn nothing_keeps_a_read_buffer_alive() {
        let buffer = chunk(400_000, 1);
        let packed = Chunks::pack([buffer.slice(..10), buffer.slice(10..30), buffer.slice(1000..)]);
        let lengths: Vec<_> = packed.chunks.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [30, 399_000]);
        drop(packed);
        let packed = Chunks::pack([buffer.clone()]);
        assert!(buffer.is_unique(), "{packed:?}");
    }

    #[test]
    fn endless_chunks_become_blocks() {
        let packed = Chunks::pack((0..100).map(|_| chunk(PIECE - 1, 0)));
        assert_eq!(packed.len(), 100 * (PIECE as u64 - 1));
        assert!(packed.chunks.iter().all(|chunk| chunk.len() <= BLOCK));
        assert_eq!(packed.chunks.len(), 25);
        assert_eq!(Chunks::pack([Bytes::new()]).chunks.len(), 0);
    }

    #[test]
    fn a_small_body_is_in_one_piece() {
        let packed = Chunks::pack((0..PIECE).map(|_| chunk(1, 7)));
        assert_eq!(packed.in_one().map(<[u8]>::len), Some(PIECE));
        assert_eq!(Chunks::pack([]).in_one(), Some(&b""[..]));
    }

    #[tokio::test]
    async fn a_client_reads_all_bytes_and_always_knows_what_is_left() {
        let chunks = Arc::new(Chunks::pack([chunk(3, 1), chunk(PIECE, 2), chunk(2, 3)]));
        let mut body = StoredBody::new(&chunks);
        let mut read = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            read.extend_from_slice(&frame.unwrap().into_data().unwrap());
            assert_eq!(body.size_hint().exact(), Some((5 + PIECE - read.len()) as u64));
            assert_eq!(body.is_end_stream(), read.len() == 5 + PIECE);
        }
        assert_eq!((read.len(), read[0], read[3], read[read.len() - 1]), (5 + PIECE, 1, 2, 3));
    }

    #[test]
    fn a_part_is_cut_from_the_chunks_without_a_copy() {
        let bytes: Bytes = (0..=255_u8).cycle().take(BLOCK * 2).collect::<Vec<_>>().into();
        let packed = Chunks::pack([bytes.slice(..BLOCK), bytes.slice(BLOCK..)]);
        let stored: Vec<_> = packed.chunks.iter().map(|chunk| chunk.as_ptr_range()).collect();
        let whole = StoredBody::new(&Arc::new(packed));
        let end = bytes.len() as u64 - 1;
        let border = BLOCK as u64;
        for (first, last) in
            [(0, 0), (0, end), (5, 9), (border - 1, border), (border, border), (border, end), (end, end)]
        {
            let mut part = whole.clone().span(Span { first, last });
            assert_eq!(part.left(), last - first + 1);
            let mut read = Vec::new();
            while let Some(chunk) = part.next_chunk() {
                let is_stored = stored.iter().any(|range| range.contains(&chunk.as_ptr()));
                assert!(is_stored, "{first}-{last} was copied");
                read.extend_from_slice(&chunk);
            }
            let [from, to] = [first, last].map(|at| usize::try_from(at).unwrap());
            assert_eq!(read, bytes[from..=to], "{first}-{last}");
            assert!(part.is_end_stream());
        }
    }

    #[test]
    fn bytes_are_held_until_the_last_reader_has_gone() {
        let gauge = Arc::new(Gauge::default());
        let chunks = Arc::new(Chunks::pack([chunk(7, 1)]).counted(&gauge, false));
        let reader = StoredBody::new(&chunks);
        drop(chunks);
        assert_eq!(gauge.value(), 7);
        drop(reader);
        assert_eq!(gauge.value(), 0);
    }
}
