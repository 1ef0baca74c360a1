//! Which route takes the request, and why not the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use http::request::Parts;
use serde::Serialize;

use crate::http::target::host;
use crate::policy::{Destination, Policy};
use crate::router::{Candidate, Fate, Miss};

/// The route that takes the request.
#[derive(Debug, Serialize)]
pub(super) struct Winner {
    /// Its name.
    pub(super) name: String,
    /// The pattern that matches.
    #[serde(rename = "match")]
    pub(super) pattern: String,
    /// What its captures are.
    pub(super) captures: BTreeMap<String, String>,
    /// Why it goes before the best of the others that match.
    pub(super) over: Option<String>,
}

/// A pattern that does not take the request.
#[derive(Debug, Serialize)]
pub(super) struct Rival {
    /// Its route.
    pub(super) route: String,
    /// The pattern.
    #[serde(rename = "match")]
    pub(super) pattern: String,
    /// Whether it would take the request if the winner were not there.
    pub(super) matches: bool,
    /// Why it does not take it.
    pub(super) why: String,
}

/// All patterns sorted: the winner, and the others from near to far.
pub(super) fn judge(policy: &Policy, head: &Parts) -> (Option<Winner>, Vec<Rival>) {
    let path = head.uri.path();
    let mut candidates = policy.router.explain(&head.method, host(&head.headers), path);
    candidates.sort_by_key(|candidate| distance(&candidate.fate, path));
    let mut winner = None;
    let mut rivals = Vec::new();
    for Candidate { route: destination, pattern, fate } in candidates {
        let Destination { route, captures: names } = &**destination;
        let (matches, why) = match fate {
            Fate::Won { captures, over } => {
                winner = Some(Winner {
                    name: route.name.to_string(),
                    pattern: pattern.to_string(),
                    captures: names
                        .iter()
                        .enumerate()
                        .filter_map(|(index, name)| {
                            Some((name.to_string(), captures.value(path, index)?.to_owned()))
                        })
                        .collect(),
                    over,
                });
                continue;
            }
            Fate::Outranked => (true, "matches too, but less specifically".to_owned()),
            Fate::Missed(miss) => (false, miss.to_string()),
        };
        rivals.push(Rival { route: route.name.to_string(), pattern: pattern.to_string(), matches, why });
    }
    (winner, rivals)
}

/// How far a pattern is from taking the request: first what lacks only the method, then the host, then what follows the
/// path longest.
fn distance(fate: &Fate, path: &str) -> (u8, Reverse<usize>) {
    let segments = |text: &str| text.split('/').count();
    match fate {
        Fate::Won { .. } => (0, Reverse(0)),
        Fate::Outranked => (1, Reverse(0)),
        Fate::Missed(Miss::Method) => (2, Reverse(0)),
        Fate::Missed(Miss::Host) => (3, Reverse(0)),
        Fate::Missed(Miss::TooShort { .. }) => (4, Reverse(segments(path) - 1)),
        Fate::Missed(Miss::TooLong { surplus }) => {
            (4, Reverse(segments(path).saturating_sub(1 + segments(surplus))))
        }
        Fate::Missed(Miss::Segment { index, .. }) => (4, Reverse(*index)),
        Fate::Missed(Miss::NotAPath) => (5, Reverse(0)),
    }
}
