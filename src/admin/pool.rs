//! `GET /api/pool/stats`: upstream servers and the connections to them.

use serde::Serialize;
use serde_json::{Map, Value};

use super::reply::{Reply, json, seconds};
use super::{ServerFigures, Snapshot, UpstreamFigures};

#[derive(Serialize)]
struct Pools<'a> {
    upstreams: Vec<Upstream<'a>>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    /// Attempts by status; `error` without one, `cancelled` where the client or the route's time ended it.
    requests: Map<String, Value>,
    retries: u64,
    servers: Vec<Server<'a>>,
}

#[derive(Serialize)]
struct Server<'a> {
    server: &'a str,
    state: &'static str,
    open: u64,
    idle: u64,
    /// Null without a cap.
    max: Option<u64>,
    waiting: u64,
    /// Requests that waited for a connection in vain: no attempts.
    timeouts: u64,
    created: u64,
    recycled: u64,
    requests: u64,
    failures: u64,
    /// How often its breaker changed, by what it became.
    breaker: Map<String, Value>,
    /// Health checks, by how they ended.
    health_checks: Map<String, Value>,
    /// Look-ups of its name, by how they ended.
    look_ups: Map<String, Value>,
    /// Null before the first.
    mean_connect_seconds: Option<f64>,
    /// Null before the first.
    mean_first_byte_seconds: Option<f64>,
}

/// By upstream and server.
pub(super) fn render(snapshot: &Snapshot) -> Reply {
    json(&Pools { upstreams: snapshot.upstreams.iter().map(upstream).collect() })
}

fn upstream(figures: &UpstreamFigures) -> Upstream<'_> {
    Upstream {
        name: &figures.name,
        requests: figures
            .requests
            .iter()
            .map(|(ended_with, count)| (ended_with.to_string(), (*count).into()))
            .collect(),
        retries: figures.retries,
        servers: figures.servers.iter().map(server).collect(),
    }
}

fn server(figures: &ServerFigures) -> Server<'_> {
    Server {
        server: &figures.server,
        state: figures.state,
        open: figures.open,
        idle: figures.idle,
        max: figures.max,
        waiting: figures.waiting,
        timeouts: figures.timeouts,
        created: figures.created,
        recycled: figures.recycled,
        requests: figures.requests,
        failures: figures.failures,
        breaker: counts(&figures.breaker),
        health_checks: counts(&figures.checks),
        look_ups: counts(&figures.look_ups),
        mean_connect_seconds: figures.mean_connect.map(seconds),
        mean_first_byte_seconds: figures.mean_first_byte.map(seconds),
    }
}

fn counts(figures: &[(&'static str, u64)]) -> Map<String, Value> {
    figures.iter().map(|(what, count)| ((*what).to_owned(), (*count).into())).collect()
}
