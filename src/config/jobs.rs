//! `[jobs.NAME]`: work that goes on after the response that started it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::values::Period;

/// Work that goes on after the response that started it: the permit of the start is kept until the work is done.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Job {
    /// The route whose 2xx starts a job, by name; has no default.
    #[schemars(with = "Option<String>")]
    pub start: Option<Spanned<String>>,
    /// Where its answer names the job: a JSON pointer to a string or a number, such as `/scan_id`; has no default.
    #[schemars(with = "Option<String>")]
    pub id: Option<Spanned<String>>,
    /// The route that tells how a job is, by name. One of its captures names the job: that called like the last part of
    /// `id`, or the only one. Has no default.
    #[schemars(with = "Option<String>")]
    pub status: Option<Spanned<String>>,
    /// Where a status answer tells the state: a JSON pointer, such as `/status`; has no default.
    #[schemars(with = "Option<String>")]
    pub state: Option<Spanned<String>>,
    /// The states that are final; at least one.
    #[schemars(with = "Vec<String>")]
    pub done: Vec<Spanned<String>>,
    /// The in-flight pool whose permit a job keeps: that of the start route. Absent: that pool, where the route has one.
    #[schemars(with = "Option<String>")]
    pub holds: Option<Spanned<String>>,
    /// After which a job is over whatever it says (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub lease: Period,
    /// How long nothing is heard of a job before forebay asks by itself (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub probe: Period,
    /// Header fields that it asks with; a poller's credentials are never borrowed.
    #[schemars(with = "BTreeMap<String, String>")]
    pub probe_headers: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Whose credentials it asks with.
    pub probe_as: ProbeAs,
    /// How long a start whose answer names no job keeps its permit (duration).
    pub unknown_hold: Period,
    /// How long a final status is kept (duration), where the status route stores.
    pub done_ttl: Period,
    /// What pollers are told while a job is at work.
    #[schemars(with = "Pace")]
    pub pace: Spanned<Pace>,
    /// A file that lets jobs survive a restart; empty: they do not.
    #[schemars(with = "String")]
    pub state_file: Spanned<String>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            start: None,
            id: None,
            status: None,
            state: None,
            done: Vec::new(),
            holds: None,
            lease: Period::secs(3600),
            probe: Period::secs(30),
            probe_headers: BTreeMap::new(),
            probe_as: ProbeAs::Nobody,
            unknown_hold: Period::secs(0),
            done_ttl: Period::secs(3600),
            pace: Spanned::new(0..0, Pace::default()),
            state_file: Spanned::new(0..0, String::new()),
        }
    }
}

/// Whose credentials forebay asks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum ProbeAs {
    /// Nobody's: only with `probe_headers`.
    Nobody,
    /// Those of the request that started the job; they are kept in memory until it is over.
    Starter,
}

/// How often to ask: the interval grows with the job's age.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Pace {
    /// The first interval (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub initial: Period,
    /// The longest (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub max: Period,
    /// How much longer each is than the one before, 1 to 10.
    #[serde(deserialize_with = "super::ranges::growth")]
    #[schemars(range(min = 1.0, max = 10.0))]
    pub factor: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { initial: Period::secs(5), max: Period::secs(30), factor: 1.2 }
    }
}
