//! Which bytes of a representation are stored, and how those of two parts lie among each other.

use super::Part;
use crate::cache::range::Span;

/// More pieces than these are no reader's way through a representation.
const MAX_SPANS: usize = 16;

/// Some bytes of a representation whose length is known; never all of them but on the way to becoming the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) struct Extent {
    /// In order; none touches the next.
    spans: Vec<Span>,
    length: u64,
}

/// A piece of two parts that become one, by its place in the representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// One of the spans that are stored.
    Stored(Span),
    /// What of the new part is not stored yet.
    New(Span),
}

impl Piece {
    fn span(self) -> Span {
        match self {
            Self::Stored(span) | Self::New(span) => span,
        }
    }
}

impl Extent {
    pub(super) fn of(Part { span, length }: Part) -> Self {
        Self { spans: vec![span], length }
    }

    /// How long the representation is.
    pub(in crate::cache) fn length(&self) -> u64 {
        self.length
    }

    /// How many bytes of it there are.
    pub(super) fn bytes(&self) -> u64 {
        self.before(self.spans.len())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes() == self.length
    }

    /// Where the bytes of a span are among the stored ones, if all of them are there.
    pub(in crate::cache) fn locate(&self, wanted: Span) -> Option<Span> {
        let index = self.spans.iter().position(|span| span.contains(wanted))?;
        let first = self.before(index) + wanted.first - self.spans.get(index)?.first;
        Some(Span { first, last: first + wanted.length() - 1 })
    }

    /// What there is not, where it is in one piece, and how many of the stored bytes come before it.
    pub(super) fn missing(&self) -> Option<(Span, u64)> {
        let ends = self.spans.iter().map(|span| span.last + 1);
        let starts = self.spans.iter().map(|span| span.first).chain([self.length]);
        let gaps = std::iter::once(0).chain(ends).zip(starts).enumerate();
        let mut gaps = gaps.filter(|(_, (end, start))| end < start);
        let (Some((index, (end, start))), None) = (gaps.next(), gaps.next()) else { return None };
        Some((Span { first: end, last: start - 1 }, self.before(index)))
    }

    /// The pieces of which this part and a new one make one, in order, and what that is. `None`: too many to be kept.
    pub(super) fn join(&self, new: Span) -> Option<(Self, Vec<Piece>)> {
        let mut pieces = Vec::with_capacity(self.spans.len() + 2);
        let mut at = new.first;
        for span in &self.spans {
            if at < span.first && at <= new.last {
                pieces.push(Piece::New(Span { first: at, last: new.last.min(span.first - 1) }));
            }
            pieces.push(Piece::Stored(*span));
            at = at.max(span.last + 1);
        }
        if at <= new.last {
            pieces.push(Piece::New(Span { first: at, last: new.last }));
        }
        let mut spans: Vec<Span> = Vec::with_capacity(pieces.len());
        for span in pieces.iter().map(|piece| piece.span()) {
            match spans.last_mut().filter(|before| before.last + 1 == span.first) {
                Some(before) => before.last = span.last,
                None => spans.push(span),
            }
        }
        (spans.len() <= MAX_SPANS).then_some((Self { spans, length: self.length }, pieces))
    }

    /// How many of the stored bytes come before that span.
    fn before(&self, index: usize) -> u64 {
        self.spans.iter().take(index).map(|span| span.length()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(spans: &[(u64, u64)], length: u64) -> Extent {
        Extent { spans: spans.iter().map(|&(first, last)| Span { first, last }).collect(), length }
    }

    #[test]
    fn what_is_missing_is_one_piece_or_nothing_is_asked_for() {
        let missing =
            |spans: &[_]| extent(spans, 10).missing().map(|(span, before)| (span.first, span.last, before));
        assert_eq!(missing(&[(0, 4)]), Some((5, 9, 5)));
        assert_eq!(missing(&[(4, 9)]), Some((0, 3, 0)));
        assert_eq!(missing(&[(0, 2), (5, 9)]), Some((3, 4, 3)));
        assert_eq!(missing(&[(2, 4)]), None);
        assert_eq!(missing(&[(0, 2), (5, 8)]), None);
        assert_eq!(missing(&[(0, 9)]), None);
    }

    #[test]
    fn more_pieces_than_a_reader_has_use_for_are_not_kept() {
        let spans: Vec<_> = (0..MAX_SPANS as u64).map(|at| (at * 10, at * 10 + 1)).collect();
        let full = extent(&spans, 1000);
        assert_eq!(full.join(Span { first: 500, last: 501 }), None);
        assert!(full.join(Span { first: 2, last: 9 }).is_some());
    }

    proptest! {
        /// Against a byte for each byte.
        #[test]
        fn parts_are_joined_as_their_bytes_are(new in proptest::collection::vec((0_u64..60, 0_u64..20), 1..20)) {
            let length = 80;
            let mut known = [false; 80];
            let mut stored: Option<Extent> = None;
            for (first, more) in new {
                let span = Span { first, last: first + more };
                let (joined, pieces) = match &stored {
                    Some(stored) => {
                        let Some(joined) = stored.join(span) else { continue };
                        joined
                    }
                    None => (Extent::of(Part { span, length }), vec![Piece::New(span)]),
                };
                for piece in pieces {
                    let Span { first, last } = piece.span();
                    for at in first..=last {
                        let at = usize::try_from(at).unwrap();
                        prop_assert_eq!(known[at], matches!(piece, Piece::Stored(_)));
                    }
                    if let Piece::New(_) = piece {
                        (first..=last).for_each(|at| known[usize::try_from(at).unwrap()] = true);
                    }
                }
                let mut place = 0;
                for at in 0..length {
                    let one = Span { first: at, last: at };
                    let is_known = known[usize::try_from(at).unwrap()];
                    let expected = is_known.then_some(Span { first: place, last: place });
                    prop_assert_eq!(joined.locate(one), expected);
                    place += u64::from(is_known);
                }
                prop_assert_eq!(joined.is_whole(), known.iter().all(|known| *known));
                stored = Some(joined);
            }
        }
    }
}
