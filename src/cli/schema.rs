//! `forebay schema`: the JSON Schema of the configuration file.

use std::process::ExitCode;

use super::print;
use crate::config;

/// Prints the schema.
pub fn schema() -> ExitCode {
    print(&format!("{:#}\n", config::json_schema()))
}
