//! `[in_flight.NAME]`: how many at the same time.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::one_or_many::OneOrMany;
use super::rate_limit::Mode;
use super::values::Period;

/// How many requests may be with the backend at the same time; does nothing until a route names it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InFlight {
    /// The cap, in requests; or `auto`: found by trial. Has no default.
    #[serde(deserialize_with = "super::ranges::cap_or_auto")]
    #[schemars(schema_with = "cap_schema")]
    pub max: Option<Cap>,
    /// Between what `max = "auto"` finds the cap. Absent: 1 and 64.
    #[schemars(with = "Option<Auto>")]
    pub auto: Option<Spanned<Auto>>,
    /// A second cap, per key.
    #[schemars(with = "Option<Per>")]
    pub per: Option<Spanned<Per>>,
    /// Where to wait for a permit. Absent: refused at once.
    pub queue: Option<Queue>,
    /// The status of a refusal.
    #[serde(deserialize_with = "super::ranges::refusal_status")]
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// Whether to refuse or only count.
    pub mode: Mode,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { max: None, auto: None, per: None, queue: None, status: 429, mode: Mode::Enforce }
    }
}

/// A number of requests, or the word that it is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Cap {
    /// So many.
    Fixed(usize),
    /// As many as the backend can take.
    Auto(AutoWord),
}

/// The word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoWord {
    /// `"auto"`.
    Auto,
}

fn cap_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 16_777_216 }, { "const": "auto" }]
    })
}

/// Bounds of a cap that is found by trial.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Auto {
    /// The least, in requests.
    #[serde(deserialize_with = "super::ranges::at_least_one")]
    #[schemars(range(min = 1))]
    pub min: usize,
    /// The most, in requests.
    #[serde(deserialize_with = "super::ranges::at_least_one")]
    #[schemars(range(min = 1))]
    pub max: usize,
}

impl Default for Auto {
    fn default() -> Self {
        Self { min: 1, max: 64 }
    }
}

/// A cap per key, below that of the pool.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Per {
    /// Who counts as one: as in a rate limit.
    pub key: OneOrMany<String>,
    /// The cap of one key, in requests; has no default.
    #[serde(deserialize_with = "super::ranges::cap")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max: Option<usize>,
}

impl Default for Per {
    fn default() -> Self {
        Self { key: OneOrMany::one("client_ip".into()), max: None }
    }
}

/// A waiting line with an end.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Queue {
    /// Requests that may wait.
    #[serde(deserialize_with = "super::ranges::at_least_one")]
    #[schemars(range(min = 1))]
    pub size: usize,
    /// How long one may wait (duration); 503 then.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub timeout: Period,
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 20, timeout: Period::secs(10) }
    }
}
