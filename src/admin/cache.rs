//! `GET /api/cache/stats` and `POST /api/cache/clear`.

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::reply::{Reply, json, problem, share};
use super::{CacheFigures, RouteFigures, Snapshot};
use crate::metrics::CacheResult;

/// Which stored responses to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All of them.
    All,
    /// Those of a route, by its name.
    Route(String),
    /// Those with a tag.
    Tag(String),
    /// The one of a path with query on every host, or of a whole URL of the public listener; all its variants.
    Url(String),
    /// Those whose path with query, or whole URL, begins so.
    Prefix(String),
}

impl Purge {
    /// `{}` is all; else exactly one of the four keys. Strict, because a key that is misspelt must not clear everything.
    fn parse(body: &[u8]) -> Result<Self, String> {
        let object: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            format!("the body is a JSON object such as {{}} (everything) or {{\"route\":\"lists\"}}: {error}")
        })?;
        let mut keys = object.into_iter();
        let what = match (keys.next(), keys.next()) {
            (None, _) => return Ok(Self::All),
            (Some((key, Value::String(value))), None) if !value.is_empty() => (key, value),
            (Some((key, _)), None) => return Err(format!("{key:?} is a string that is not empty")),
            _ => return Err("only one of \"route\", \"tag\", \"url\" and \"prefix\" at a time".into()),
        };
        match what {
            (key, value) if key == "route" => Ok(Self::Route(value)),
            (key, value) if key == "tag" => Ok(Self::Tag(value)),
            (key, value) if key == "url" => Ok(Self::Url(value)),
            (key, value) if key == "prefix" => Ok(Self::Prefix(value)),
            (key, _) => Err(format!("there is no {key:?}, only \"route\", \"tag\", \"url\" and \"prefix\"")),
        }
    }
}

/// `{"cleared": N}`.
pub(super) fn clear(body: &[u8], purge: impl Fn(&Purge) -> Result<u64, String>) -> Reply {
    #[derive(Serialize)]
    struct Cleared {
        cleared: u64,
    }
    let cleared = Purge::parse(body).and_then(|what| {
        let cleared = purge(&what)?;
        tracing::info!(?what, cleared, "stored responses cleared");
        Ok(cleared)
    });
    match cleared {
        Ok(cleared) => json(&Cleared { cleared }),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

/// What is stored, and how often it was of use since the start.
pub(super) fn stats(snapshot: &Snapshot) -> Reply {
    #[derive(Serialize)]
    struct Stats<'a> {
        entries: u64,
        bytes: u64,
        max_bytes: u64,
        #[serde(flatten)]
        all: Results,
        evictions: u64,
        evictions_by_cause: Map<String, Value>,
        routes: Vec<RouteStats<'a>>,
    }
    #[derive(Serialize)]
    struct RouteStats<'a> {
        name: &'a str,
        #[serde(flatten)]
        results: Results,
    }
    let CacheFigures { entries, bytes, max_bytes, evictions } = &snapshot.cache;
    let route = |route: &RouteFigures| Results::of([route].into_iter());
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
        routes: snapshot
            .routes
            .iter()
            .map(|figures| RouteStats { name: &figures.name, results: route(figures) })
            .collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_object_clears_everything() {
        for (body, expected) in [
            ("{}", Ok(Purge::All)),
            (r#"{"route":"lists"}"#, Ok(Purge::Route("lists".into()))),
            (r#"{"tag":"scan:7"}"#, Ok(Purge::Tag("scan:7".into()))),
            (r#"{"url":"/api/scans?page=2"}"#, Ok(Purge::Url("/api/scans?page=2".into()))),
            (r#"{"prefix":"/api/"}"#, Ok(Purge::Prefix("/api/".into()))),
            ("", Err(())),
            ("[]", Err(())),
            (r#"{"rout":"lists"}"#, Err(())),
            (r#"{"route":null}"#, Err(())),
            (r#"{"route":""}"#, Err(())),
            (r#"{"route":"lists","tag":"scans"}"#, Err(())),
        ] {
            assert_eq!(Purge::parse(body.as_bytes()).map_err(drop), expected, "{body}");
        }
    }
}
