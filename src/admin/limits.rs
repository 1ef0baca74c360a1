//! `GET /api/limits`: rate limits and in-flight pools.

use serde::Serialize;
use serde_json::{Map, Value};

use super::reply::{Reply, json, seconds};
use super::{LimitFigures, PoolFigures, Snapshot};
use crate::admission;
use crate::digest::short;

#[derive(Serialize)]
struct Limits<'a> {
    rate_limits: Vec<RateLimit<'a>>,
    in_flight: Vec<Pool<'a>>,
}

#[derive(Serialize)]
struct RateLimit<'a> {
    name: &'a str,
    rule: &'a str,
    mode: &'static str,
    keys: u64,
    max_keys: u64,
    allowed: u64,
    refused: u64,
    would_refuse: u64,
    /// Of unknown clients, counted together because the table was full.
    overflowed: u64,
}

#[derive(Serialize)]
struct Pool<'a> {
    name: &'a str,
    mode: &'static str,
    active: u64,
    max: u64,
    /// Null without a second cap.
    per_key_max: Option<u64>,
    /// For how long a permit is held, on average; null before the first.
    mean_hold_seconds: Option<f64>,
    queue: Queue,
    refused: u64,
    refused_by_reason: Map<String, Value>,
}

#[derive(Serialize)]
struct Queue {
    depth: u64,
    /// Zero without a queue.
    size: u64,
    /// Null when nobody waits.
    oldest_wait_seconds: Option<f64>,
    /// Null before the first.
    mean_wait_seconds: Option<f64>,
    /// How many wait for a permit of their own key.
    held_back: u64,
    /// The next in line, in their order.
    next: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    /// From 1.
    position: usize,
    /// Stands for its address.
    client: String,
    priority: u8,
    waited_seconds: f64,
    /// At the measured pace; null before anything was measured.
    expected_wait_seconds: Option<f64>,
}

/// By limit and by pool.
pub(super) fn render(snapshot: &Snapshot) -> Reply {
    json(&Limits {
        rate_limits: snapshot.rate_limits.iter().map(rate_limit).collect(),
        in_flight: snapshot.pools.iter().map(pool).collect(),
    })
}

fn rate_limit(figures: &LimitFigures) -> RateLimit<'_> {
    RateLimit {
        name: &figures.name,
        rule: &figures.rule,
        mode: mode(figures.is_enforced),
        keys: figures.keys,
        max_keys: figures.max_keys,
        allowed: figures.allowed,
        refused: figures.refused,
        would_refuse: figures.would_refuse,
        overflowed: figures.overflowed,
    }
}

fn pool(figures: &PoolFigures) -> Pool<'_> {
    Pool {
        name: &figures.name,
        mode: mode(figures.is_enforced),
        active: figures.active,
        max: figures.max,
        per_key_max: figures.per_key_max,
        mean_hold_seconds: figures.mean_hold.map(seconds),
        queue: Queue {
            depth: figures.queue.depth,
            size: figures.queue.size,
            oldest_wait_seconds: figures.queue.oldest_wait.map(seconds),
            mean_wait_seconds: figures.queue.wait.mean().map(seconds),
            held_back: figures.queue.held_back,
            next: figures.queue.next.iter().enumerate().map(waiting).collect(),
        },
        refused: figures
            .shed
            .iter()
            .filter(|(reason, _)| !reason.starts_with("would_"))
            .map(|(_, count)| count)
            .sum(),
        refused_by_reason: figures
            .shed
            .iter()
            .map(|(reason, count)| ((*reason).into(), (*count).into()))
            .collect(),
    }
}

fn waiting((before, waiting): (usize, &admission::Waiting)) -> Waiting {
    Waiting {
        position: before + 1,
        client: short(waiting.client.0),
        priority: waiting.priority,
        waited_seconds: seconds(waiting.waited),
        expected_wait_seconds: waiting.expected.map(seconds),
    }
}

fn mode(is_enforced: bool) -> &'static str {
    if is_enforced { "enforce" } else { "observe" }
}
