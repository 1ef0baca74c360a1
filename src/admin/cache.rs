//! `GET /api/cache/stats` and `POST /api/cache/clear`.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::reply::{Reply, json, problem, share};
use super::{CacheFigures, Purge, RouteFigures, Snapshot};
use crate::metrics::CacheResult;

/// `{"cleared": N}`.
pub(super) fn clear(body: &[u8], purge: impl Fn(&Purge) -> Result<u64, String>) -> Reply {
    #[derive(Serialize)]
    struct Cleared {
        cleared: u64,
    }
    let cleared = Purge::parse(body).and_then(|what| {
        let cleared = purge(&what)?;
        tracing::info!(%what, cleared, "stored responses cleared");
        Ok(cleared)
    });
    match cleared {
        Ok(cleared) => json(&Cleared { cleared }),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

/// What is stored, and how often it was of use since the start.
pub(super) fn stats<'a>(snapshot: &'a Snapshot) -> Reply {
    #[derive(Serialize)]
    struct Stats<'a> {
        entries: u64,
        bytes: u64,
        max_bytes: u64,
        #[serde(flatten)]
        all: Results,
        evictions: u64,
        evictions_by_cause: Map<String, Value>,
        /// Not stored for want of room.
        refused: u64,
        routes: Vec<RouteStats<'a>>,
    }
    #[derive(Serialize)]
    struct RouteStats<'a> {
        name: &'a str,
        entries: u64,
        bytes: u64,
        #[serde(flatten)]
        results: Results,
        evictions: u64,
    }
    let route = |figures: &'a RouteFigures| RouteStats {
        name: &figures.name,
        entries: figures.entries,
        bytes: figures.bytes,
        results: Results::of([figures].into_iter()),
        evictions: figures.evictions,
    };
    let CacheFigures { entries, bytes, max_bytes, evictions, refused } = &snapshot.cache;
    json(&Stats {
        entries: *entries,
        bytes: *bytes,
        max_bytes: *max_bytes,
        all: Results::of(snapshot.routes.iter()),
        evictions: evictions.iter().map(|(_, count)| count).sum(),
        evictions_by_cause: evictions
            .iter()
            .map(|(cause, count)| ((*cause).to_owned(), (*count).into()))
            .collect(),
        refused: *refused,
        routes: snapshot.routes.iter().map(route).collect(),
    })
}

/// What the cache made of requests.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Results {
    hits: u64,
    stale: u64,
    revalidated: u64,
    misses: u64,
    collapsed: u64,
    bypassed: u64,
    /// Share of the requests which used the cache that were answered from it at once (`hits` and `stale`); null before
    /// the first.
    pub(super) hit_rate: Option<f64>,
}

impl Results {
    /// Summed over routes.
    pub(super) fn of<'a>(routes: impl Iterator<Item = &'a RouteFigures>) -> Self {
        let mut sum = Self::default();
        for (result, count) in routes.flat_map(|route| CacheResult::ALL.into_iter().zip(route.cache)) {
            *sum.field(result) += count;
        }
        let at_once = sum.hits + sum.stale;
        sum.hit_rate = share(at_once, at_once + sum.revalidated + sum.misses + sum.collapsed);
        sum
    }

    fn field(&mut self, result: CacheResult) -> &mut u64 {
        match result {
            CacheResult::Hit => &mut self.hits,
            CacheResult::Stale => &mut self.stale,
            CacheResult::Revalidated => &mut self.revalidated,
            CacheResult::Miss => &mut self.misses,
            CacheResult::Bypass => &mut self.bypassed,
            CacheResult::Collapsed => &mut self.collapsed,
        }
    }
}
