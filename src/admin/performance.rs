//! `GET /api/performance`: one page of JSON that says how it is going.

use serde::Serialize;

use super::cache::Results;
use super::process::ProcessFigures;
use super::reply::{Reply, json, seconds};
use super::{RouteFigures, Snapshot, VERSION};
use crate::metrics::HistogramSnapshot;

#[derive(Serialize)]
struct Performance<'a> {
    version: &'static str,
    uptime_seconds: f64,
    /// Cores this process may use.
    cpu_cores: usize,
    /// Processor time used since the start.
    cpu_seconds: f64,
    memory_bytes: u64,
    /// Answered since the start.
    requests: u64,
    /// Begun and not answered yet.
    in_progress: i64,
    routes: Vec<Route<'a>>,
    in_flight: Vec<Pool<'a>>,
    jobs: Vec<Jobs<'a>>,
    rate_limits: Vec<RateLimit<'a>>,
    /// Null before the first request that used the cache.
    cache_hit_rate: Option<f64>,
    upstream_requests: u64,
    upstream_requests_saved: Saved,
    upstream_seconds_saved: f64,
}

#[derive(Serialize)]
struct Route<'a> {
    /// Empty for requests that no route matched.
    name: &'a str,
    requests: u64,
    in_progress: i64,
    #[serde(flatten)]
    duration: Times,
    cache_hit_rate: Option<f64>,
    upstream_requests_saved: Saved,
}

/// Response times; null before the first.
#[derive(Serialize)]
struct Times {
    mean_seconds: Option<f64>,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Pool<'a> {
    name: &'a str,
    active: u64,
    max: u64,
    waiting: u64,
}

#[derive(Serialize)]
struct Jobs<'a> {
    name: &'a str,
    active: u64,
}

#[derive(Serialize)]
struct RateLimit<'a> {
    name: &'a str,
    rule: &'a str,
}

#[derive(Serialize)]
struct Saved {
    cache: u64,
    collapse: u64,
    dedupe: u64,
    total: u64,
}

/// The whole page.
pub(super) fn render(snapshot: &Snapshot) -> Reply {
    let process = ProcessFigures::read();
    let cpu_cores = std::thread::available_parallelism().map_or(1, usize::from);
    json(&Performance {
        cpu_cores,
        cpu_seconds: process.cpu_seconds,
        memory_bytes: process.resident_bytes,
        ..page(snapshot)
    })
}

/// The part that does not ask the operating system.
fn page(snapshot: &Snapshot) -> Performance<'_> {
    let routes = &snapshot.routes;
    let upstream_counts = snapshot.upstreams.iter().flat_map(|upstream| &upstream.requests);
    Performance {
        version: VERSION,
        uptime_seconds: seconds(snapshot.uptime),
        cpu_cores: 0,
        cpu_seconds: 0.0,
        memory_bytes: 0,
        requests: routes.iter().map(RouteFigures::total).sum(),
        in_progress: routes.iter().map(|route| route.in_progress).sum(),
        routes: routes.iter().map(route).collect(),
        in_flight: snapshot
            .pools
            .iter()
            .map(|pool| Pool {
                name: &pool.name,
                active: pool.active,
                max: pool.max,
                waiting: pool.queue.depth,
            })
            .collect(),
        jobs: snapshot.jobs.iter().map(|job| Jobs { name: &job.name, active: job.active }).collect(),
        rate_limits: snapshot
            .rate_limits
            .iter()
            .map(|limit| RateLimit { name: &limit.name, rule: &limit.rule })
            .collect(),
        cache_hit_rate: Results::of(routes.iter()).hit_rate,
        upstream_requests: upstream_counts.map(|(_, count)| count).sum(),
        upstream_requests_saved: saved(routes.iter()),
        upstream_seconds_saved: seconds(routes.iter().map(|route| route.time_saved).sum()),
    }
}

fn route(figures: &RouteFigures) -> Route<'_> {
    Route {
        name: &figures.name,
        requests: figures.total(),
        in_progress: figures.in_progress,
        duration: times(&figures.duration),
        cache_hit_rate: Results::of([figures].into_iter()).hit_rate,
        upstream_requests_saved: saved([figures].into_iter()),
    }
}

fn times(duration: &HistogramSnapshot) -> Times {
    let quantile = |q| duration.quantile(q).map(seconds);
    Times {
        mean_seconds: duration.mean().map(seconds),
        p50_seconds: quantile(0.5),
        p95_seconds: quantile(0.95),
        p99_seconds: quantile(0.99),
    }
}

fn saved<'a>(routes: impl Iterator<Item = &'a RouteFigures>) -> Saved {
    let (cache, collapse, dedupe) = routes.fold((0, 0, 0), |(cache, collapse, dedupe), route| {
        (cache + route.saved_by_cache, collapse + route.saved_by_collapse, dedupe + route.saved_by_dedupe)
    });
    Saved { cache, collapse, dedupe, total: cache + collapse + dedupe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_documented_fields() {
        let mut page = serde_json::to_value(page(&Snapshot::example())).unwrap();
        page["version"] = "VERSION".into();
        insta::assert_snapshot!(serde_json::to_string_pretty(&page).unwrap());
    }

    #[test]
    fn the_operating_system_is_asked() {
        let process = ProcessFigures::read();
        assert!(
            process.resident_bytes > 1 << 20 && process.open_fds > 2 && process.threads > 0,
            "{process:?}"
        );
    }
}
