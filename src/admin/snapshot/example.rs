//! A snapshot for tests.

use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::*;
use crate::cache::Live;
use crate::client::PartitionKey;
use crate::metrics::RouteMetrics;

impl Snapshot {
    /// A proxy that has been busy for an hour, with one of everything.
    pub(in crate::admin) fn example() -> Self {
        let (polls, starts) = (RouteMetrics::default(), RouteMetrics::default());
        for millis in [1, 2, 2, 3, 200] {
            polls.answered(&Method::GET, StatusCode::OK, Duration::from_millis(millis));
        }
        polls.answered(
            &Method::from_bytes(b"BREW").unwrap(),
            StatusCode::NOT_FOUND,
            Duration::from_millis(1),
        );
        for (result, count) in CacheResult::ALL.into_iter().zip([2, 0, 0, 1, 0, 1]) {
            (0..count).for_each(|_| polls.count_cache(result));
        }
        polls.saved_by_cache.add(2);
        polls.evictions.add(3);
        polls.saved_by_collapse.inc();
        polls.seconds_saved.add(Duration::from_millis(600));
        polls.in_progress.inc();
        starts.saved_by_dedupe.inc();
        [DedupeResult::First, DedupeResult::Shared]
            .into_iter()
            .for_each(|result| starts.count_dedupe(result));
        starts.answered(&Method::POST, StatusCode::TOO_MANY_REQUESTS, Duration::from_micros(80));
        Self {
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            is_draining: false,
            uptime: Duration::from_secs(3600),
            routes: vec![
                RouteFigures::of("".into(), &RouteMetrics::default(), Live::default()),
                RouteFigures::of("scan-status".into(), &polls, Live { entries: 3, bytes: 4096 }),
                RouteFigures::of("start \"scan\"".into(), &starts, Live::default()),
            ],
            cache: CacheFigures {
                entries: 3,
                bytes: 4096,
                max_bytes: 1 << 28,
                evictions: vec![("size", 1), ("purged", 2)],
                refused: 4,
            },
            rate_limits: vec![LimitFigures {
                name: "scan-start".into(),
                rule: "2 per minute and 10 per hour for each client address".into(),
                is_enforced: true,
                keys: 7,
                max_keys: 100_000,
                allowed: 20,
                refused: 5,
                would_refuse: 0,
                overflowed: 1,
            }],
            pools: vec![PoolFigures {
                name: "scans".into(),
                is_enforced: true,
                active: 2,
                max: 2,
                per_key_max: Some(1),
                mean_hold: Some(Duration::from_secs(20)),
                queue: QueueFigures {
                    depth: 4,
                    size: 20,
                    oldest_wait: Some(Duration::from_millis(1500)),
                    wait: HistogramSnapshot::default(),
                    held_back: 3,
                    next: vec![Waiting {
                        client: PartitionKey(0x1a2b_3c4d << 96),
                        priority: 5,
                        waited: Duration::from_millis(1500),
                        expected: Some(Duration::from_secs(10)),
                    }],
                },
                shed: vec![("full", 3), ("timeout", 1), ("would_refuse", 9)],
            }],
            jobs: vec![JobFigures {
                name: "scan".into(),
                active: 2,
                ended: vec![("done", 40), ("expired", 1), ("gone", 2), ("released", 3)],
                unrecognised: [("start", 1), ("status", 5)],
                overflowed: 0,
                failed_saves: 0,
            }],
            upstreams: vec![UpstreamFigures {
                name: "scan".into(),
                requests: vec![
                    ("200".into(), 4),
                    ("503".into(), 1),
                    ("error".into(), 2),
                    ("cancelled".into(), 3),
                ],
                duration: polls.duration.snapshot(),
                retries: 1,
                servers: vec![ServerFigures {
                    server: "127.0.0.1:8000".into(),
                    state: "healthy",
                    is_healthy: true,
                    may_be_asked: true,
                    breaker: [("open", 1), ("half_open", 2), ("closed", 1)],
                    checks: [("passed", 20), ("failed", 3)],
                    look_ups: [("found", 6), ("failed", 1)],
                    open: 5,
                    idle: 3,
                    max: Some(15),
                    timeouts: 1,
                    created: 9,
                    recycled: 4,
                    requests: 7,
                    failures: 2,
                    mean_connect: Some(Duration::from_micros(350)),
                    mean_first_byte: None,
                    ..ServerFigures::default()
                }],
            }],
            connections: 12,
            failed_handshakes: 5,
            connections_refused: 4,
            floods: 3,
            unreadable_heads: 6,
            stalled_streams: 8,
            panics: 0,
            reloads: ReloadFigures { succeeded: 2, failed: 1, last_succeeded: false },
            log_lines_dropped: 0,
        }
    }
}
