//! The tree of path segments.
//!
//! Searched depth first, the specific before the general at every node, so the first leaf that accepts is the most
//! specific match. The work is bounded by the size of the tree, which the config decides, not the request.

use super::pattern::{Captures, Segment};

/// The patterns that share the segments up to here.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Sorted by text.
    statics: Vec<(Box<str>, Node)>,
    capture: Option<Box<Node>>,
    /// Patterns that end here.
    ends: Vec<usize>,
    /// Patterns that take whatever follows here.
    rests: Vec<usize>,
}

impl Node {
    /// Adds a pattern, by its index; the order of insertion is the order at a leaf.
    pub(super) fn insert(&mut self, segments: &[Segment], index: usize) {
        let Some((segment, following)) = segments.split_first() else {
            self.ends.push(index);
            return;
        };
        match segment {
            Segment::Static(text) => self.child(text).insert(following, index),
            Segment::Capture(_) => self.capture.get_or_insert_default().insert(following, index),
            Segment::Rest(_) => self.rests.push(index),
        }
    }

    /// The best leaf for `rest`, the path from the byte `at` on. `accept` chooses among the patterns of one leaf.
    pub(super) fn search(
        &self,
        rest: &str,
        at: usize,
        captures: Captures,
        accept: &impl Fn(&[usize]) -> Option<usize>,
    ) -> Option<(usize, Captures)> {
        let (segment, following) = match rest.split_once('/') {
            Some((segment, following)) => (segment, Some(following)),
            None => (rest, None),
        };
        let descend = |child: &Self, captures: Captures| match following {
            Some(following) => child.search(following, at + segment.len() + 1, captures, accept),
            None => accept(&child.ends).map(|index| (index, captures)),
        };
        let fixed = || descend(self.find_static(segment)?, captures);
        let named = || {
            let child = self.capture.as_ref().filter(|_| !segment.is_empty())?;
            descend(child, captures.with(at, at + segment.len()))
        };
        let remainder = || Some((accept(&self.rests)?, captures.with(at, at + rest.len())));
        fixed().or_else(named).or_else(remainder)
    }

    fn find_static(&self, text: &str) -> Option<&Self> {
        let at = self.statics.binary_search_by(|(known, _)| (**known).cmp(text)).ok()?;
        self.statics.get(at).map(|(_, child)| child)
    }

    fn child(&mut self, text: &str) -> &mut Self {
        let found = self.statics.binary_search_by(|(known, _)| (**known).cmp(text));
        let at = found.unwrap_or_else(|at| {
            self.statics.insert(at, (text.into(), Self::default()));
            at
        });
        #[expect(clippy::indexing_slicing, reason = "found or inserted just above")]
        &mut self.statics[at].1
    }
}
