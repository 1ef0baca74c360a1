//! `[log]`: what is written down, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written down, and how.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: Format,
    /// The least important message that is written.
    pub level: Level,
    /// Where one line per request goes: `stdout`, `off`, or the path of a file.
    pub access: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Auto, level: Level::Info, access: "stdout".into() }
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

/// The least important message that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Level {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// What happens seldom.
    Info,
    /// What happens often.
    Debug,
    /// Everything.
    Trace,
}
