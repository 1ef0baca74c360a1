//! `[routes.cache]`: what of a route is stored, and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::when::When;
use crate::config::values::Period;

/// What of a route is stored, and for how long.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteCache {
    /// Whose word counts.
    pub mode: CacheMode,
    /// Freshness lifetime (duration). `standard`: of a response that gives none; `force`: of every one, and needed.
    pub ttl: Option<Period>,
    /// Freshness lifetimes by what a JSON body says, in place of `ttl`; the first that matches counts.
    #[schemars(with = "Vec<When>")]
    pub when: Vec<Spanned<When>>,
    /// Freshness lifetime of 404, 410 and 5xx under `force` (duration). Absent: these are not stored.
    pub negative_ttl: Option<Period>,
    /// How long a stale response is still given while a fresh one is fetched (duration). Absent: only as the response
    /// says.
    pub stale_while_revalidate: Option<Period>,
    /// How long a stale response is given when the upstream fails (duration). Absent: only as the response says.
    pub stale_if_error: Option<Period>,
    /// Names to drop the stored responses by; `{name}` is a capture of the match.
    #[schemars(with = "Vec<String>")]
    pub tags: Vec<Spanned<String>>,
    /// What makes two requests the same.
    pub key: CacheKey,
}

/// What makes two requests the same.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct CacheKey {
    /// Query parameters that do not matter; `utm_*` is every one that begins so.
    #[schemars(with = "Vec<String>")]
    pub query_ignore: Vec<Spanned<String>>,
    /// Whether the order of query parameters does not matter.
    pub query_sort: bool,
    /// Header fields that matter besides what Vary names.
    #[schemars(with = "Vec<String>")]
    pub headers: Vec<Spanned<String>>,
    /// Whether credentials matter.
    pub credentials: Credentials,
}

/// Whose word counts about storing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum CacheMode {
    /// The response's, by RFC 9111.
    #[default]
    Standard,
    /// The route's: stored for `ttl` whatever Cache-Control says, but for `private` and Set-Cookie.
    Force,
    /// Nothing is stored.
    Off,
}

/// Whether credentials matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Credentials {
    /// Clients with other credentials get other responses.
    #[default]
    Identity,
    /// All clients share: only where the response is the same for everybody.
    Shared,
}
