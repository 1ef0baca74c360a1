//! Which route a request belongs to.
//!
//! Promises: the most specific pattern wins, whatever the order in the config; a pattern that fails late (its host or
//! method says no, or a later segment) never hides a more general one that matches; finding a route allocates nothing
//! and visits each node of the tree at most once.
//!
//! The path must be canonical before it comes here (`http::target` sees to that): what is matched is what is forwarded.

mod explain;
mod pattern;
mod tree;

pub use explain::{Candidate, Fate, Miss};
pub use pattern::{Captures, MAX_CAPTURES, Pattern, PatternError};

use std::cmp::Ordering;

use http::Method;

use self::tree::Node;

/// All routes, ready to be searched.
#[derive(Debug)]
pub struct Router<T> {
    routes: Vec<(Pattern, T)>,
    tree: Node,
    /// Whether any pattern names a host.
    looks_at_hosts: bool,
}

/// A request's route and the parts of the path that its pattern names.
#[derive(Debug)]
pub struct Match<'r, T> {
    /// What was given to [`Router::build`] with the winning pattern.
    pub route: &'r T,
    /// The winning pattern.
    pub pattern: &'r Pattern,
    /// Where its captures are in the path that was searched for.
    pub captures: Captures,
}

impl<T> Match<'_, T> {
    /// The text of the capture called `name`, as it stands in the canonical `path`.
    pub fn capture<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let index = self.pattern.captures().position(|known| known == name)?;
        self.captures.value(path, index)
    }
}

/// Two patterns that would match the same requests with the same right, by their index in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    /// The one that came first in the list.
    pub first: usize,
    /// The one that came later.
    pub second: usize,
}

impl<T> Default for Router<T> {
    /// One without routes.
    fn default() -> Self {
        Self { routes: Vec::new(), tree: Node::default(), looks_at_hosts: false }
    }
}

impl<T> Router<T> {
    /// Builds the tree. A value may come with several patterns: list it once with each.
    ///
    /// # Errors
    /// Every pair of patterns that are equal but for the names of their captures, and share a method.
    pub fn build(routes: Vec<(Pattern, T)>) -> Result<Self, Vec<Conflict>> {
        let conflicts = conflicts(&routes);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by(|a, b| match (routes.get(*a), routes.get(*b)) {
            (Some((a, _)), Some((b, _))) => a.leaf_order(b),
            _ => Ordering::Equal,
        });
        let mut tree = Node::default();
        for index in order {
            if let Some((pattern, _)) = routes.get(index) {
                tree.insert(pattern.segments(), index);
            }
        }
        let looks_at_hosts = routes.iter().any(|(pattern, _)| pattern.host().is_some());
        Ok(Self { routes, tree, looks_at_hosts })
    }

    /// The route of a request: `host` is the canonical authority (empty where there is none), `path` the canonical path.
    pub fn find(&self, method: &Method, host: &str, path: &str) -> Option<Match<'_, T>> {
        let rest = path.strip_prefix('/')?;
        let accepts = |indices: &[usize]| self.best(indices, method, host);
        let (index, captures) = self.tree.search(rest, 1, Captures::default(), &accepts)?;
        let (pattern, route) = self.routes.get(index)?;
        Some(Match { route, pattern, captures })
    }

    /// Whether the host makes a difference: where it makes none, any may be given to [`find`](Self::find).
    pub fn looks_at_hosts(&self) -> bool {
        self.looks_at_hosts
    }

    /// The patterns with their routes, in the order of the list that was built from.
    pub fn routes(&self) -> &[(Pattern, T)] {
        &self.routes
    }

    /// Of patterns with one shape, in leaf order, the first whose host and method fit; one that names the method goes
    /// before a `GET` that only implies `HEAD`.
    fn best(&self, indices: &[usize], method: &Method, host: &str) -> Option<usize> {
        let fit = |index: &&usize| self.routes.get(**index).is_some_and(|(p, _)| p.fits(method, host));
        let first = indices.iter().find(fit)?;
        if method != Method::HEAD {
            return Some(*first);
        }
        indices
            .iter()
            .filter(fit)
            .filter_map(|index| Some((*index, &self.routes.get(*index)?.0)))
            .min_by_key(|(_, pattern)| pattern.rank(method))
            .map(|(index, _)| index)
    }
}

fn conflicts<T>(routes: &[(Pattern, T)]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (second, (pattern, _)) in routes.iter().enumerate() {
        let earlier = routes.iter().take(second).enumerate();
        found.extend(
            earlier
                .filter(|(_, (other, _))| pattern.is_equal_to(other))
                .map(|(first, _)| Conflict { first, second }),
        );
    }
    found
}

#[cfg(test)]
mod tests;
