//! `[log]`: what is written down, and how.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use crate::logging;

/// What is written down, and how.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// The least important message that is written: `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives
    /// such as `info,forebay=debug`.
    #[serde(deserialize_with = "level")]
    #[schemars(with = "String")]
    pub level: String,
    /// Where one line per request goes: `stdout`, `off`, or the path of a file.
    #[schemars(with = "String")]
    pub access: Spanned<String>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Auto, level: "info".into(), access: Spanned::new(0..0, "stdout".into()) }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let level = String::deserialize(deserializer)?;
    logging::check_level(&level).map_err(D::Error::custom)?;
    Ok(level)
}
