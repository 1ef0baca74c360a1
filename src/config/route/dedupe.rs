//! `dedupe`: starts that are the same are made once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::config::rate_limit::Mode;
use crate::config::values::Period;

/// Which requests with an unsafe method are the same, so that one is made and all get its answer.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Dedupe {
    /// `body`: those of one identity with equal bodies; `header:NAME`: those with the same value of that field
    /// (`Idempotency-Key`). Has no default.
    #[schemars(with = "Option<String>")]
    pub by: Option<Spanned<String>>,
    /// For how long an answer is kept for those who come later (duration).
    #[serde(deserialize_with = "crate::config::ranges::some_time")]
    pub window: Period,
    /// Whether to share or only count.
    pub mode: Mode,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { by: None, window: Period::secs(5), mode: Mode::Enforce }
    }
}
