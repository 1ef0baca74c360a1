//! `[in_flight.NAME]`: how many at the same time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::one_or_many::OneOrMany;
use super::rate_limit::Mode;
use super::values::Period;

/// How many requests may be with the backend at the same time; does nothing until a route names it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InFlight {
    /// The cap, in requests; has no default.
    #[serde(deserialize_with = "super::ranges::cap")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max: Option<usize>,
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
        Self { max: None, per: None, queue: None, status: 429, mode: Mode::Enforce }
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
