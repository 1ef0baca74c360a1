//! The configuration file: its schema, and how a text becomes a [`Config`].
//!
//! Reading never stops at the first problem: [`Loaded`] holds the best reading of a file and all that was wrong with it,
//! and only `policy::compile`, which adds what it finds itself, turns one without problems into something that runs.

pub mod admin;
pub mod cache;
pub mod env;
mod find;
pub mod in_flight;
pub mod jobs;
pub mod listener;
pub mod log;
pub mod one_or_many;
mod preset;
pub mod problem;
mod quantity;
mod ranges;
pub mod rate_limit;
mod reading;
pub mod route;
mod schema;
pub mod source;
pub mod upstream;
pub mod values;
mod wording;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use self::find::{NotFound, find};
pub use self::preset::{Preset, for_upstream};
pub use self::problem::{Problem, Problems};
pub use self::reading::{Loaded, load, parse};
pub use self::schema::json_schema;
pub use self::source::Source;

/// Tables that users name, each with the place of its name and of itself.
pub type Named<T> = BTreeMap<Spanned<String>, Spanned<T>>;

/// The configuration of forebay. Durations are strings such as `"250ms"`, `"5s"`, `"1h"`; sizes `"64KiB"`, `"100MiB"`;
/// rates `"2/minute"`, `"20/60s"`. In any string `${VAR}`, `${VAR:-default}`, `${VAR:?message}` stand for environment
/// variables, `$$` for a dollar sign.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "forebay")]
pub struct Config {
    /// Whether to reload when this file changes.
    pub watch: bool,
    /// Where clients come in.
    pub listener: listener::Listener,
    /// The listener of the operator.
    pub admin: admin::Admin,
    /// The backends, by name.
    #[schemars(with = "BTreeMap<String, upstream::Upstream>")]
    pub upstreams: Named<upstream::Upstream>,
    /// How often one client may, by name.
    #[schemars(with = "BTreeMap<String, rate_limit::RateLimit>")]
    pub rate_limits: Named<rate_limit::RateLimit>,
    /// How many requests at the same time, by name.
    #[schemars(with = "BTreeMap<String, in_flight::InFlight>")]
    pub in_flight: Named<in_flight::InFlight>,
    /// Work that goes on after the response that started it, by name.
    #[schemars(with = "BTreeMap<String, jobs::Job>")]
    pub jobs: Named<jobs::Job>,
    /// How much is stored.
    pub cache: cache::Cache,
    /// What applies to which requests; the most specific match wins, whatever the order.
    #[schemars(with = "Vec<route::Route>")]
    pub routes: Vec<Spanned<route::Route>>,
    /// What is written down, and how.
    pub log: log::Log,
}

/// What stands in place of a secret.
const REDACTED: &str = "***";

/// The configuration as TOML, defaults filled in and secrets redacted. Reads back as the same configuration (but for
/// the secrets).
pub fn effective(config: &Config) -> String {
    let mut shown = config.clone();
    if !shown.admin.token.get_ref().is_empty() {
        *shown.admin.token.get_mut() = REDACTED.into();
    }
    for job in shown.jobs.values_mut() {
        job.get_mut().probe_headers.values_mut().for_each(|value| *value.get_mut() = REDACTED.into());
    }
    if let Some(only) = only_name(&shown.upstreams) {
        for route in &mut shown.routes {
            route.get_mut().upstream.get_or_insert_with(|| only.clone());
        }
    }
    // Names hold no dollar sign (compile refuses them): every one stands in a value, where it is read as `$$`.
    toml::to_string(&shown).unwrap_or_else(|error| format!("# {error}\n")).replace('$', "$$")
}

fn only_name<T>(named: &Named<T>) -> Option<Spanned<String>> {
    let mut names = named.keys();
    names.next().filter(|_| names.next().is_none()).cloned()
}

#[cfg(test)]
mod tests;
