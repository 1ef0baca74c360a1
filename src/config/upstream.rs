//! `[upstreams.NAME]`: a backend, on one server or several.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::values::Period;

/// A backend, on one server or several, and how it is reached.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The servers, `http://`, `https://` or `h2c://HOST:PORT`, or `unix:/PATH`; at least one. The only key of an upstream without a default.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<Spanned<String>>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Connections to one server; 0: no cap.
    pub max_connections: usize,
    /// How long to wait for one of them (duration); 503 then.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub acquire_timeout: Period,
    /// How long connecting may take (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub connect_timeout: Period,
    /// From the request sent to the head of the response (duration); 504 then.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub first_byte_timeout: Period,
    /// Between two pieces of a body, either way (duration): a client that sends nothing for so long is answered 408, a backend that
    /// takes nothing 504, and one that sends nothing is cut off.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub body_timeout: Period,
    /// How often the names of servers are looked up anew (duration); a look-up that fails keeps the last good addresses.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub dns_refresh: Period,
    /// How long an idle connection is kept (duration). Stay below the backend's own keep-alive (uvicorn: 5 s).
    pub idle_timeout: Period,
    /// The age at which a connection is replaced (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub max_age: Period,
    /// Retries of an idempotent request that got no byte back; never of a POST.
    #[serde(deserialize_with = "super::ranges::retries")]
    #[schemars(range(max = 10))]
    pub retries: u32,
    /// Retries as a share of requests, 0 to 1.
    #[serde(deserialize_with = "super::ranges::share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub retry_budget: f64,
    /// When failing answers take a server out. Absent: never.
    pub breaker: Option<Breaker>,
    /// How a server's health is checked. Absent: not at all.
    #[schemars(with = "Option<Health>")]
    pub health: Option<Health>,
    /// TLS towards `https://` servers. Absent: the system's roots, no certificate of our own.
    #[schemars(with = "Option<Tls>")]
    pub tls: Option<Spanned<Tls>>,
    /// Which Host the backend sees.
    pub host: Host,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            balance: Balance::LeastRequest,
            max_connections: 100,
            acquire_timeout: Period::secs(30),
            connect_timeout: Period::secs(2),
            first_byte_timeout: Period::secs(60),
            body_timeout: Period::secs(30),
            dns_refresh: Period::secs(30),
            idle_timeout: Period::secs(4),
            max_age: Period::secs(3600),
            retries: 1,
            retry_budget: 0.1,
            breaker: None,
            health: None,
            tls: None,
            host: Host::Preserve,
        }
    }
}

/// Failures in a row take a server out: failed connections, resets, timeouts, 502 to 504.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Breaker {
    /// So many.
    #[serde(deserialize_with = "super::ranges::times")]
    #[schemars(range(min = 1))]
    pub failures: u32,
    /// For how long (duration); then one request tries.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub open: Period,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, open: Period::secs(10) }
    }
}

/// A GET to each server from time to time; 2xx and 3xx pass.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Health {
    /// What is asked for, with the server's own name as Host.
    #[schemars(with = "String")]
    pub path: Spanned<String>,
    /// From check to check (duration), give or take a tenth.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub interval: Period,
    /// How long one may take (duration), connecting included.
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub timeout: Period,
    /// Failed checks in a row that take a server out.
    #[serde(deserialize_with = "super::ranges::times")]
    #[schemars(range(min = 1))]
    pub unhealthy_after: u32,
    /// Passed checks in a row that bring it back.
    #[serde(deserialize_with = "super::ranges::times")]
    #[schemars(range(min = 1))]
    pub healthy_after: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: Spanned::new(0..0, "/".to_owned()),
            interval: Period::secs(5),
            timeout: Period::secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

/// TLS towards the servers of an upstream.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Tls {
    /// A PEM file of certificates whose signatures are believed. Empty: those that the system believes.
    pub ca: String,
    /// A PEM file with the certificate that servers are shown, the leaf first. Empty: none.
    pub cert: String,
    /// The PEM file with its key.
    pub key: String,
    /// The name that servers are asked for and verified by. Empty: each server's own.
    pub server_name: String,
    /// Whether whatever certificate comes is taken: whoever is in between reads and changes everything.
    pub insecure: bool,
}

/// How a server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Balance {
    /// The one with the fewest requests under way; equal ones take turns.
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// The less busy of two drawn at random.
    Random,
}

/// Which Host the backend sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Host {
    /// The one the client asked for.
    Preserve,
    /// The server's own.
    Upstream,
}
