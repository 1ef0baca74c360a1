//! `[rate_limits.NAME]`: how often one client may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::one_or_many::OneOrMany;
use super::values::Rate;

/// How often one client may; does nothing until a route names it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Who counts as one: `client_ip`, `global`, `header:NAME`, `cookie:NAME`, `query:NAME`, `path:NAME`, or a list of
    /// them. A request without it falls back to `client_ip`.
    pub key: OneOrMany<String>,
    /// How many bits of an IPv6 address count as one client.
    #[serde(deserialize_with = "super::ranges::ipv6_prefix")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix: u8,
    /// The tiers, such as `2/minute` or `20/60s`; every one must allow a request, a refused one is charged to none. At
    /// least one.
    #[schemars(with = "Vec<Rate>")]
    pub rates: Vec<Spanned<Rate>>,
    /// Extra allowance on top of each rate, in requests.
    pub burst: u32,
    /// What is charged.
    pub charge: Charge,
    /// Whether to refuse or only count.
    pub mode: Mode,
    /// Clients remembered; further ones share one bucket.
    #[serde(deserialize_with = "super::ranges::at_least_one")]
    #[schemars(range(min = 1))]
    pub max_keys: usize,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            key: OneOrMany::one("client_ip".into()),
            ipv6_prefix: 64,
            rates: Vec::new(),
            burst: 0,
            charge: Charge::Request,
            mode: Mode::Enforce,
            max_keys: 100_000,
        }
    }
}

/// What is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Charge {
    /// Every request.
    Request,
    /// What goes to the upstream: hits and collapsed followers are free.
    Upstream,
}

/// Whether to refuse or only count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Mode {
    /// Refuse.
    Enforce,
    /// Count what would be refused, refuse nothing.
    Observe,
}
