//! `GET /api/config`: the configuration in effect, defaults filled in, secrets redacted.
//!
//! It is TOML, the same text that `forebay check --print` writes, so it can be saved and used as a file.

use http::StatusCode;

use super::reply::{Reply, typed};

/// The text as it is.
pub(super) fn render(effective: String) -> Reply {
    typed(StatusCode::OK, "application/toml", effective)
}
