//! Why a request goes to the route it goes to, for `forebay explain`.
//!
//! It looks at every pattern by itself, without the tree: a second opinion that a property test holds against the first.

use std::fmt;

use http::Method;

use super::{Captures, Pattern, Router};

/// One pattern and what became of it.
#[derive(Debug)]
pub struct Candidate<'r, T> {
    /// What the pattern stands for.
    pub route: &'r T,
    /// The pattern.
    pub pattern: &'r Pattern,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It takes the request; `over` says why it goes before the best of the others that match, where there is one.
    Won {
        /// Its captures.
        captures: Captures,
        /// Why it goes first.
        over: Option<String>,
    },
    /// It matches, but a more specific one won.
    Outranked,
    /// It does not match.
    Missed(Miss),
}

/// Why a pattern does not match; the first reason in the order path, host, method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// The target is no path (`OPTIONS *`).
    NotAPath,
    /// A segment differs; segments count from 0.
    Segment {
        /// Which one.
        index: usize,
        /// What the pattern has there.
        wanted: String,
        /// What the path has there.
        found: String,
    },
    /// The path ends too early.
    TooShort {
        /// What the pattern still wants.
        missing: String,
    },
    /// The path goes on.
    TooLong {
        /// What is left of it.
        surplus: String,
    },
    /// Another host.
    Host,
    /// Another method.
    Method,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPath => f.write_str("the target is not a path"),
            Self::Segment { index, wanted, found } if found.is_empty() => {
                write!(f, "segment {} is empty, not `{wanted}`", index + 1)
            }
            Self::Segment { index, wanted, found } => {
                write!(f, "segment {} is `{found}`, not `{wanted}`", index + 1)
            }
            Self::TooShort { missing } => write!(f, "the path ends before `{missing}`"),
            Self::TooLong { surplus } => write!(f, "the path goes on with `/{surplus}`"),
            Self::Host => f.write_str("another host"),
            Self::Method => f.write_str("another method"),
        }
    }
}

impl<T> Router<T> {
    /// What each pattern says to a request: the winner, those that it outranks, then the others in the order of the list.
    pub fn explain(&self, method: &Method, host: &str, path: &str) -> Vec<Candidate<'_, T>> {
        let mut matching = Vec::new();
        let mut missed = Vec::new();
        for (pattern, route) in self.routes() {
            match judge(pattern, method, host, path) {
                Ok(captures) => matching.push((pattern, route, captures)),
                Err(miss) => missed.push(Candidate { route, pattern, fate: Fate::Missed(miss) }),
            }
        }
        matching.sort_by(|(a, ..), (b, ..)| a.precedence(b, method));
        let over = match matching.as_slice() {
            [(winner, ..), (second, ..), ..] => Some(advantage(winner, second, method)),
            _ => None,
        };
        let fates = matching.into_iter().enumerate().map(|(place, (pattern, route, captures))| {
            let fate = if place == 0 { Fate::Won { captures, over: over.clone() } } else { Fate::Outranked };
            Candidate { route, pattern, fate }
        });
        fates.chain(missed).collect()
    }
}

fn judge(pattern: &Pattern, method: &Method, host: &str, path: &str) -> Result<Captures, Miss> {
    let captures = pattern.match_path(path)?;
    if !pattern.takes_host(host) {
        return Err(Miss::Host);
    }
    if !pattern.takes_method(method) {
        return Err(Miss::Method);
    }
    Ok(captures)
}

fn advantage(winner: &Pattern, second: &Pattern, method: &Method) -> String {
    let mut steps = winner.segments().iter().zip(second.segments());
    if let Some((mine, theirs)) = steps.find(|(a, b)| a != b && a.generality() != b.generality()) {
        return format!("`{mine}` is more specific than `{theirs}` of `{second}`");
    }
    match (winner.host(), second.host()) {
        (Some(host), None) => format!("it names the host {host}, `{second}` does not"),
        _ => format!("it names the method {method}, `{second}` does not"),
    }
}
