//! What one route has answered.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Counter, DedupeResult, Gauge, Histogram, StatusCounts, TimeTotal};

/// The figures of one route. They outlive a reload under the route's name.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    requests: [StatusCounts; MethodClass::ALL.len()],
    cache: [Counter; CacheResult::ALL.len()],
    unread: [Counter; UnreadBody::ALL.len()],
    dedupe: [Counter; DedupeResult::ALL.len()],
    /// From the request's head to the last byte of the answer.
    pub duration: Histogram,
    /// Requests that have begun and whose answer is not through yet.
    pub in_progress: Gauge,
    /// Stored responses that went before somebody replaced them.
    pub evictions: Counter,
    /// Upstream requests that a stored response made unnecessary.
    pub saved_by_cache: Counter,
    /// Upstream requests that somebody else's flight made unnecessary.
    pub saved_by_collapse: Counter,
    /// Upstream requests that an equal start made unnecessary.
    pub saved_by_dedupe: Counter,
    /// How long the upstream would have worked on what was saved.
    pub seconds_saved: TimeTotal,
    /// A moving mean of the upstream's time to a response's head, in microseconds.
    usual_upstream: AtomicU64,
}

impl RouteMetrics {
    /// Counts an answered request.
    pub fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        if let Some(statuses) = self.requests.get(MethodClass::of(method) as usize) {
            statuses.inc(status);
        }
        self.duration.observe(took);
    }

    /// Counts what the cache made of a request.
    pub fn count_cache(&self, result: CacheResult) {
        if let Some(counter) = self.cache.get(result as usize) {
            counter.inc();
        }
    }

    /// Counts a body that could not be asked about a response's lifetime.
    pub fn count_unread(&self, why: UnreadBody) {
        if let Some(counter) = self.unread.get(why as usize) {
            counter.inc();
        }
    }

    /// How many bodies could not be asked for that reason.
    pub fn unread_count(&self, why: UnreadBody) -> u64 {
        self.unread.get(why as usize).map_or(0, Counter::value)
    }

    /// Counts what `dedupe` made of a request.
    pub fn count_dedupe(&self, result: DedupeResult) {
        if let Some(counter) = self.dedupe.get(result as usize) {
            counter.inc();
        }
    }

    /// How often `dedupe` made that of a request.
    pub fn dedupe_count(&self, result: DedupeResult) -> u64 {
        self.dedupe.get(result as usize).map_or(0, Counter::value)
    }

    /// The upstream took so long to its head; remembered as what a saved request would have cost.
    pub fn observe_upstream(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let seven_eighths = |mean: u64| mean - mean / 8;
        let update =
            |mean: u64| Some(if mean == 0 { micros } else { seven_eighths(mean).saturating_add(micros / 8) });
        let _ = self.usual_upstream.fetch_update(Relaxed, Relaxed, update);
    }

    /// Counts an upstream request that was not made, by what made it unnecessary.
    pub fn count_saved(&self, by: &Counter) {
        by.inc();
        self.seconds_saved.add(Duration::from_micros(self.usual_upstream.load(Relaxed)));
    }

    /// How often the cache made that of a request.
    pub fn cache_count(&self, result: CacheResult) -> u64 {
        self.cache.get(result as usize).map_or(0, Counter::value)
    }

    /// Answered requests by method and status; only combinations that were seen.
    pub fn requests(&self) -> impl Iterator<Item = RequestCount> + '_ {
        let methods = MethodClass::ALL.into_iter().zip(&self.requests);
        methods.flat_map(|(method, statuses)| {
            statuses.seen().map(move |(status, count)| RequestCount { method, status, count })
        })
    }

    /// All answered requests.
    pub fn total(&self) -> u64 {
        self.requests().map(|request| request.count).sum()
    }
}

/// How many requests of one method got one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCount {
    /// Their method.
    pub method: MethodClass,
    /// Their status.
    pub status: u16,
    /// Their number.
    pub count: u64,
}

/// The methods that have a label of their own; a client cannot add any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the method of that name")]
pub enum MethodClass {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Any other.
    Other,
}

impl MethodClass {
    /// In the order of declaration, which is the order of the counters.
    pub const ALL: [Self; 8] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options, Self::Other];

    /// The class of a method.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

/// What the cache, or somebody else's flight, made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// Answered from a fresh stored response.
    Hit,
    /// Answered from a stale stored response that was allowed to be.
    Stale,
    /// Answered from a stored response that the upstream confirmed.
    Revalidated,
    /// Nothing was stored that fits.
    Miss,
    /// The request or the route does not use the cache.
    Bypass,
    /// Answered by somebody else's flight.
    Collapsed,
}

impl CacheResult {
    /// In the order of declaration, which is the order of the counters.
    pub const ALL: [Self; 6] =
        [Self::Hit, Self::Stale, Self::Revalidated, Self::Miss, Self::Bypass, Self::Collapsed];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Collapsed => "collapsed",
        }
    }
}

/// Why a body could not be asked how long its response is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnreadBody {
    /// It is not JSON.
    NotJson,
    /// It is longer than 64 KiB.
    TooLong,
    /// It has a content coding, though none was asked for.
    Encoded,
}

impl UnreadBody {
    /// In the order of declaration, which is the order of the counters.
    pub const ALL: [Self; 3] = [Self::NotJson, Self::TooLong, Self::Encoded];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::TooLong => "too_long",
            Self::Encoded => "encoded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_counts_in_its_own_place() {
        for (at, method) in MethodClass::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, at);
        }
        for (at, result) in DedupeResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at);
        }
        for (at, result) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, at);
        }
        for (at, why) in UnreadBody::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
    }

    #[test]
    fn a_made_up_method_is_other() {
        let figures = RouteMetrics::default();
        figures.answered(
            &Method::from_bytes(b"BREW").unwrap(),
            StatusCode::IM_A_TEAPOT,
            Duration::from_millis(3),
        );
        figures.answered(&Method::TRACE, StatusCode::IM_A_TEAPOT, Duration::from_millis(3));
        let seen: Vec<_> = figures.requests().collect();
        assert_eq!(seen, [RequestCount { method: MethodClass::Other, status: 418, count: 2 }]);
        assert_eq!(figures.total(), figures.duration.snapshot().count);
    }

    #[test]
    fn cache_results_are_counted_apart() {
        let figures = RouteMetrics::default();
        figures.count_cache(CacheResult::Hit);
        figures.count_cache(CacheResult::Hit);
        figures.count_cache(CacheResult::Collapsed);
        let counts = CacheResult::ALL.map(|result| figures.cache_count(result));
        assert_eq!(counts, [2, 0, 0, 0, 0, 1]);
    }
}
