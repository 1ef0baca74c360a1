//! Parts of one representation that become one (RFC 9111 3.4).
//!
//! Promises: only parts with the same strong validator and the same length are combined; what is stored already is not
//! copied again.

use bytes::Bytes;
use http::header::{ETAG, HeaderMap};

use super::extent::{Extent, Piece};
use super::{Part, strong};
use crate::cache::body::{Chunks, StoredBody};
use crate::cache::fetch::Fetch;
use crate::cache::range::Span;
use crate::cache::store::Found;
use crate::cache::{Cache, StoredResponse, validation};

/// A part as it is to be stored: with what was stored of the same representation, where that can be.
pub(super) struct Combination {
    pub(super) headers: HeaderMap,
    pub(super) extent: Extent,
    pub(super) body: Chunks,
    /// How many of its bytes are new.
    pub(super) new: u64,
}

impl Combination {
    fn alone(part: Part, headers: &HeaderMap, chunks: Vec<Bytes>) -> Self {
        let (extent, body) = (Extent::of(part), Chunks::pack(chunks));
        Self { headers: headers.clone(), extent, new: body.len(), body }
    }
}

impl Cache {
    /// A new part, with what is stored of the same representation; of at most so many bytes together.
    pub(super) fn combine(
        &self,
        fetch: &Fetch,
        part: Part,
        request: &HeaderMap,
        headers: &HeaderMap,
        chunks: Vec<Bytes>,
        most: u64,
    ) -> Combination {
        let Some(stored) = self.other_part(fetch, part, request, headers) else {
            return Combination::alone(part, headers, chunks);
        };
        match stored.part.as_ref().and_then(|extent| extent.join(part.span)) {
            Some((extent, pieces)) if extent.bytes() <= most => {
                let (body, new) = laid_together(&stored, &pieces, part.span, chunks);
                let headers = validation::updated_fields(&stored, headers);
                Combination { headers, extent, body, new }
            }
            _ => Combination::alone(part, headers, chunks),
        }
    }

    /// What is stored of the same representation.
    fn other_part(
        &self,
        fetch: &Fetch,
        part: Part,
        request: &HeaderMap,
        headers: &HeaderMap,
    ) -> Option<std::sync::Arc<StoredResponse>> {
        let etag = strong(headers.get(ETAG))?;
        let is_same = |stored: &StoredResponse| {
            stored.suits(request)
                && stored.validators.etag.as_ref() == Some(etag)
                && stored.part.as_ref().is_some_and(|extent| extent.length() == part.length)
        };
        let sequence = self.registry.sequence();
        let found = self
            .store
            .find(fetch.key.of_parts(), |stored| stored.is_valid(sequence).then(|| is_same(stored)));
        match found {
            Found::Variant(stored) => Some(stored),
            Found::NoVariant | Found::Nothing => None,
        }
    }
}

/// The bytes of both parts in order, and how many of them are new.
fn laid_together(stored: &StoredResponse, pieces: &[Piece], span: Span, chunks: Vec<Bytes>) -> (Chunks, u64) {
    let fresh = std::sync::Arc::new(Chunks::unpacked(chunks));
    let (mut old, mut new, mut laid) = (stored.body(), 0, Vec::new());
    for piece in pieces {
        match *piece {
            // They come in the order in which they are stored.
            Piece::Stored(piece) => laid.extend(old.take_bytes(piece.length())),
            Piece::New(piece) => {
                let place = Span { first: piece.first - span.first, last: piece.last - span.first };
                // Copied: else a few bytes would keep all that came with them.
                let mut bytes = StoredBody::new(&fresh).span(place);
                laid.extend(Chunks::pack(std::iter::from_fn(|| bytes.next_chunk())).into_chunks());
                new += piece.length();
            }
        }
    }
    (Chunks::laid(laid), new)
}
