//! `[cache]`: how much is stored. What is stored, and for how long, is a route's business.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::ByteSize;

/// How much is stored.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Memory for stored responses (size).
    pub max_bytes: ByteSize,
    /// The largest response that is stored (size).
    pub max_object: ByteSize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: ByteSize(256 << 20), max_object: ByteSize(8 << 20) }
    }
}
