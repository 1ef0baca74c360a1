//! A row in which anybody may leave at any time, at once: the place stays behind, empty, until somebody comes past it or
//! most places are empty. So every step costs a fixed time on average, and no search.

use std::collections::VecDeque;

/// Places, in order. Who is still there, the caller knows.
#[derive(Debug, Clone)]
pub(super) struct Row<T> {
    places: VecDeque<T>,
    present: usize,
}

/// So many empty places are always tolerated.
const SLACK: usize = 16;

impl<T: Copy> Row<T> {
    /// How many are there.
    pub(super) fn len(&self) -> usize {
        self.present
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present == 0
    }

    pub(super) fn join(&mut self, place: T) {
        self.places.push_back(place);
        self.present += 1;
    }

    /// One of those that were there is not any more.
    pub(super) fn leave(&mut self, is_there: impl Fn(&T) -> bool) {
        self.present -= 1;
        if self.places.len() > 2 * self.present + SLACK {
            self.places.retain(is_there);
        }
    }

    /// The first that is there.
    pub(super) fn first(&mut self, is_there: impl Fn(&T) -> bool) -> Option<T> {
        while let Some(place) = self.places.front() {
            if is_there(place) {
                return Some(*place);
            }
            self.places.pop_front();
        }
        None
    }

    /// The last that is there.
    pub(super) fn last(&mut self, is_there: impl Fn(&T) -> bool) -> Option<T> {
        while let Some(place) = self.places.back() {
            if is_there(place) {
                return Some(*place);
            }
            self.places.pop_back();
        }
        None
    }

    /// Takes out the one that [`Self::first`] has found.
    pub(super) fn pop_first(&mut self) {
        self.present -= usize::from(self.places.pop_front().is_some());
    }

    /// All places in order, the empty ones too.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter()
    }
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), present: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_places_are_passed_over_and_do_not_pile_up() {
        let mut row = Row::default();
        (0..1000).for_each(|number| row.join(number));
        for gone in (0..1000).filter(|number| number % 250 != 1) {
            // Those that left before have left, too.
            row.leave(|number| *number > gone || number % 250 == 1);
        }
        let is_there = |number: &i32| number % 250 == 1;
        assert_eq!((row.len(), row.first(is_there), row.last(is_there)), (4, Some(1), Some(751)));
        assert!(row.iter().count() <= 2 * 4 + SLACK);
        row.pop_first();
        assert_eq!((row.len(), row.first(is_there)), (3, Some(251)));
    }
}
