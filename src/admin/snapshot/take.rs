//! From the stages' own figures to a snapshot.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{
    CacheFigures, JobFigures, LimitFigures, PoolFigures, QueueFigures, ReloadFigures, RouteFigures,
    ServerFigures, Snapshot, UpstreamFigures,
};
use crate::admission::{Pool, ShedReason};
use crate::cache::{Cache, Live};
use crate::jobs::Outcome;
use crate::metrics::{CacheResult, DedupeResult, RouteMetrics, UnreadBody};
use crate::policy::{JobPolicy, Policy, State};
use crate::rate_limit::RateLimit;
use crate::upstream::{Cluster, ServerStats};

/// So many of those that wait for a permit are shown.
const SHOWN_IN_LINE: usize = 20;

impl Snapshot {
    /// Walks the state for what the policy names. `log_lines_dropped` is of the program's log and the access log.
    pub fn take(state: &State, policy: &Policy, log_lines_dropped: u64) -> Self {
        let now = state.clock.now();
        let uptime = state.clock.since_start(now);
        let unrouted = RouteFigures::of("".into(), &state.unrouted, Live::default());
        let routes = policy.routes.iter().map(|route| {
            RouteFigures::of(Arc::clone(&route.name), &route.figures, state.cache.route_stats(&route.name))
        });
        let upstreams = policy.upstreams.iter();
        Self {
            started: state.clock.wall(now) - uptime,
            is_draining: state.is_draining(),
            uptime,
            routes: std::iter::once(unrouted).chain(routes).collect(),
            cache: CacheFigures::of(&state.cache),
            rate_limits: policy.rate_limits.iter().map(|limit| LimitFigures::of(limit)).collect(),
            pools: policy.pools.iter().map(|pool| PoolFigures::of(pool)).collect(),
            jobs: policy.jobs.iter().map(|job| JobFigures::of(job)).collect(),
            upstreams: upstreams
                .map(|(name, cluster)| UpstreamFigures::of(Arc::clone(name), cluster))
                .collect(),
            connections: state.listener.connections.count.value(),
            failed_handshakes: state.listener.connections.failed_handshakes.value(),
            connections_refused: state.listener.connections.refused.value(),
            floods: state.listener.connections.floods.value(),
            unreadable_heads: state.listener.connections.unreadable.value(),
            stalled_streams: state.listener.connections.stalled.value(),
            panics: state.listener.panics.value(),
            reloads: ReloadFigures {
                succeeded: state.reloads.succeeded.value(),
                failed: state.reloads.failed.value(),
                last_succeeded: state.reloads.last_was_successful.value() == 1,
            },
            log_lines_dropped,
        }
    }
}

impl RouteFigures {
    pub(super) fn of(name: Arc<str>, figures: &RouteMetrics, stored: Live) -> Self {
        Self {
            name,
            requests: figures.requests().collect(),
            duration: figures.duration.snapshot(),
            in_progress: figures.in_progress.value(),
            cache: CacheResult::ALL.map(|result| figures.cache_count(result)),
            unread: UnreadBody::ALL.map(|why| figures.unread_count(why)),
            saved_by_cache: figures.saved_by_cache.value(),
            saved_by_collapse: figures.saved_by_collapse.value(),
            saved_by_dedupe: figures.saved_by_dedupe.value(),
            dedupe: DedupeResult::ALL.map(|result| figures.dedupe_count(result)),
            time_saved: figures.seconds_saved.value(),
            entries: stored.entries,
            bytes: stored.bytes,
            evictions: figures.evictions.value(),
        }
    }
}

impl CacheFigures {
    fn of(cache: &Cache) -> Self {
        let (stats, evictions) = (cache.stats(), cache.evictions());
        let evictions = [
            ("size", &evictions.size),
            ("expired", &evictions.expired),
            ("purged", &evictions.purged),
            ("variants", &evictions.variants),
        ];
        Self {
            entries: stats.entries,
            bytes: stats.bytes,
            max_bytes: stats.limits.max_bytes,
            evictions: evictions.into_iter().map(|(cause, count)| (cause, count.value())).collect(),
            refused: stats.refused,
        }
    }
}

impl LimitFigures {
    fn of(limit: &RateLimit) -> Self {
        let (spec, buckets) = (limit.spec(), limit.buckets());
        Self {
            name: Arc::clone(&spec.name),
            rule: limit.in_words(),
            is_enforced: !spec.observe,
            keys: buckets.keys() as u64,
            max_keys: spec.max_keys as u64,
            allowed: buckets.allowed(),
            refused: buckets.refused.value(),
            would_refuse: buckets.would_refuse.value(),
            overflowed: buckets.overflowed.value(),
        }
    }
}

impl PoolFigures {
    fn of(pool: &Pool) -> Self {
        let (spec, stats) = (pool.spec(), pool.stats());
        Self {
            name: spec.name,
            is_enforced: !spec.observe,
            active: stats.in_flight as u64,
            max: stats.max as u64,
            per_key_max: spec.per.map(|(_, max)| max as u64),
            mean_hold: stats.mean_hold,
            queue: QueueFigures {
                depth: stats.queued as u64,
                size: stats.queue_size as u64,
                oldest_wait: stats.oldest_wait,
                wait: pool.wait.snapshot(),
                held_back: stats.held_back as u64,
                next: pool.line(SHOWN_IN_LINE),
            },
            shed: ShedReason::ALL.into_iter().map(|reason| (reason.as_str(), pool.shed_by(reason))).collect(),
        }
    }
}

impl JobFigures {
    fn of(job: &JobPolicy) -> Self {
        let figures = &job.table.figures;
        let ended = |outcome: Outcome| (outcome.as_str(), figures.outcome(outcome).value());
        Self {
            name: Arc::clone(&job.spec.name),
            active: job.table.active() as u64,
            ended: Outcome::ALL.into_iter().map(ended).collect(),
            unrecognised: [
                ("start", figures.unrecognised_starts.value()),
                ("status", figures.unrecognised_statuses.value()),
            ],
            overflowed: figures.overflowed.value(),
            failed_saves: figures.failed_saves.value(),
        }
    }
}

impl UpstreamFigures {
    fn of(name: Arc<str>, cluster: &Cluster) -> Self {
        let figures = cluster.figures();
        let without_a_status = [("error", &figures.errors), ("cancelled", &figures.cancelled)]
            .map(|(label, counter)| (Cow::from(label), counter.value()));
        Self {
            name,
            requests: figures
                .statuses
                .seen()
                .map(|(status, count)| (status.to_string().into(), count))
                .chain(without_a_status.into_iter().filter(|(_, count)| *count > 0))
                .collect(),
            duration: figures.first_byte.snapshot(),
            retries: figures.retries.value(),
            servers: cluster.servers().into_iter().map(ServerFigures::from).collect(),
        }
    }
}

impl From<ServerStats> for ServerFigures {
    fn from(stats: ServerStats) -> Self {
        let mean = |time: Duration| Some(time).filter(|time| !time.is_zero());
        Self {
            server: stats.server,
            state: stats.state.as_str(),
            is_healthy: stats.state.is_healthy(),
            may_be_asked: stats.state.may_be_asked(),
            breaker: [("open", stats.opened), ("half_open", stats.half_opened), ("closed", stats.closed)],
            checks: [("passed", stats.checks_passed), ("failed", stats.checks_failed)],
            look_ups: [("found", stats.names_found), ("failed", stats.names_failed)],
            open: stats.open as u64,
            idle: stats.idle as u64,
            max: (stats.max > 0).then_some(stats.max as u64),
            waiting: stats.waiting as u64,
            timeouts: stats.timeouts,
            created: stats.created,
            recycled: stats.recycled,
            requests: stats.requests,
            failures: stats.failures,
            mean_connect: mean(stats.mean_connect),
            mean_first_byte: mean(stats.mean_first_byte),
        }
    }
}
