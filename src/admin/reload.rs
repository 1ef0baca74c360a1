//! `POST /api/reload`: reads the configuration again and says what came of it.

use http::StatusCode;
use serde::Serialize;

use super::reply::{Reply, json, problem};

/// A reload that took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Whether the new configuration says anything different.
    pub has_changed: bool,
    /// Keys whose change waits for a restart, such as `listener.address`.
    pub needs_restart: Vec<String>,
}

/// 200 `{"reloaded":true,"changed":..,"needs_restart":[..]}`, or 422 with everything that is wrong in `detail`; the old
/// configuration stays in effect then.
pub(super) fn render(result: Result<Reloaded, String>) -> Reply {
    #[derive(Serialize)]
    struct Report {
        reloaded: bool,
        changed: bool,
        needs_restart: Vec<String>,
    }
    match result {
        Ok(Reloaded { has_changed, needs_restart }) => {
            json(&Report { reloaded: true, changed: has_changed, needs_restart })
        }
        Err(problems) => problem(StatusCode::UNPROCESSABLE_ENTITY, &problems),
    }
}
