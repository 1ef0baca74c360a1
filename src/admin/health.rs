//! `GET /healthz` and `GET /readyz`: for orchestrators and load balancers.

use http::StatusCode;
use serde::Serialize;

use super::reply::{Reply, json, json_with};
use super::{Snapshot, VERSION};

/// 200 as long as there is somebody to say so.
pub(super) fn healthz() -> Reply {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
    }
    json(&Health { status: "healthy", version: VERSION })
}

/// 200 when new work is taken, else 503 with the reason.
pub(super) fn readyz(snapshot: &Snapshot) -> Reply {
    #[derive(Serialize)]
    struct Readiness {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    }
    match reason(snapshot) {
        None => json(&Readiness { status: "ready", reason: None }),
        reason => json_with(StatusCode::SERVICE_UNAVAILABLE, &Readiness { status: "not ready", reason }),
    }
}

fn reason(snapshot: &Snapshot) -> Option<&'static str> {
    let mut servers = snapshot.upstreams.iter().flat_map(|upstream| &upstream.servers);
    if snapshot.is_draining {
        Some("draining")
    } else if !servers.any(|server| server.may_be_asked) {
        Some("no upstream has a healthy server")
    } else {
        None
    }
}
