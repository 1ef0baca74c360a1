//! `[[routes]]`: what applies to which requests.

pub mod cache;
pub mod dedupe;
pub mod when;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use self::cache::RouteCache;
use self::dedupe::Dedupe;
use super::one_or_many::OneOrMany;
use super::values::Period;

/// What applies to the requests that match. The most specific match wins, whatever the order in the file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// What the route is called in metrics and logs; has no default.
    #[schemars(with = "Option<String>")]
    pub name: Option<Spanned<String>>,
    /// `[METHOD[,METHOD]] [HOST]/PATH`, or a list of them; `{name}` is one segment, `{*name}` the rest. Has no default.
    #[serde(rename = "match")]
    pub matches: OneOrMany<String>,
    /// The upstream, by name. May be left out when there is only one.
    #[schemars(with = "Option<String>")]
    pub upstream: Option<Spanned<String>>,
    /// The rate limits, by name; all must allow a request.
    #[schemars(with = "Vec<String>")]
    pub rate_limits: Vec<Spanned<String>>,
    /// The in-flight pool, by name. Absent: no cap.
    #[schemars(with = "Option<String>")]
    pub in_flight: Option<Spanned<String>>,
    /// The place in that pool's queue, 0 (last) to 9 (first).
    #[serde(deserialize_with = "super::ranges::priority")]
    #[schemars(range(min = 0, max = 9))]
    pub priority: u8,
    /// Tags whose stored responses are dropped after a 2xx or 3xx; `{name}` is a capture of the match.
    #[schemars(with = "Vec<String>")]
    pub invalidates: Vec<Spanned<String>>,
    /// What is stored of the responses.
    #[schemars(with = "RouteCache")]
    pub cache: Spanned<RouteCache>,
    /// Whether text is compressed for clients that take it (zstd, br, gzip), after the cache.
    pub compress: bool,
    /// Which starts are the same, so that one is made. Absent: none.
    #[schemars(with = "Option<Dedupe>")]
    pub dedupe: Option<Spanned<Dedupe>>,
    /// Who shares the response of one upstream request (GET and HEAD).
    pub collapse: Collapse,
    /// Headers, and cookies as `cookie:NAME`, that tell users apart (no `client_ip`). Absent: Authorization, Proxy-Authorization,
    /// Cookie, X-Api-Key, and what the rate limits' keys name.
    #[schemars(with = "Option<Vec<String>>")]
    pub identity: Option<Vec<Spanned<String>>>,
    /// How long the whole exchange may take (duration); 504 then. Absent: only the upstream's timeouts.
    #[serde(deserialize_with = "super::ranges::some_time_if_any")]
    pub timeout: Option<Period>,
    /// How long an upgraded connection (WebSocket) may be silent (duration). Absent: for ever.
    #[serde(deserialize_with = "super::ranges::some_time_if_any")]
    pub idle_timeout: Option<Period>,
    /// How long a request is expected to take (duration).
    #[serde(deserialize_with = "super::ranges::some_time_if_any")]
    pub target: Option<Period>,
    /// Whether responses tell the time in the queue and at the upstream in Server-Timing.
    pub server_timing: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            name: None,
            matches: OneOrMany::default(),
            upstream: None,
            rate_limits: Vec::new(),
            in_flight: None,
            priority: 5,
            invalidates: Vec::new(),
            cache: Spanned::new(0..0, RouteCache::default()),
            compress: false,
            dedupe: None,
            collapse: Collapse::Identity,
            identity: None,
            timeout: None,
            idle_timeout: None,
            target: None,
            server_timing: false,
        }
    }
}

/// Who shares the response of one upstream request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Collapse {
    /// Clients with the same credentials.
    Identity,
    /// All clients: only where the response is the same for everybody.
    Shared,
    /// Nobody.
    Off,
}
