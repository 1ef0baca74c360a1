//! Every metric: its name, its help, its labels. The names are fixed; dashboards depend on them.
//!
//! A counter's name stands here without `_total`, which the encoder adds.

use std::borrow::Cow;
use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::writer::Families;
use crate::admin::process::ProcessFigures;
use crate::admin::{
    JobFigures, PoolFigures, RouteFigures, ServerFigures, Snapshot, UpstreamFigures, VERSION,
};
use crate::metrics::{CacheResult, DedupeResult, UnreadBody};

/// All that one scrape shows.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) snapshot: Snapshot,
    pub(super) admin_connections: i64,
    pub(super) process: ProcessFigures,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        families.requests(&self.snapshot)?;
        families.cache(&self.snapshot)?;
        families.rate_limits(&self.snapshot)?;
        families.in_flight(&self.snapshot)?;
        families.jobs(&self.snapshot)?;
        families.upstreams(&self.snapshot)?;
        families.savings(&self.snapshot)?;
        families.listeners(self)?;
        families.program(&self.snapshot)?;
        families.process(self)
    }
}

impl Families<'_> {
    fn requests(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let routes = || snapshot.routes.iter();
        self.counters(
            "forebay_requests",
            "Answered requests.",
            routes().flat_map(|route| {
                route.requests.iter().map(|seen| {
                    let status = seen.status.to_string();
                    (
                        [
                            route_label(route),
                            ("method", seen.method.as_str().into()),
                            ("status", status.into()),
                        ],
                        seen.count,
                    )
                })
            }),
        )?;
        self.histograms(
            "forebay_request_duration_seconds",
            "Time from a request's head to the last byte of its answer.",
            routes().map(|route| ([route_label(route)], &route.duration)),
        )?;
        self.gauges(
            "forebay_requests_in_progress",
            "Requests that have begun and are not answered yet.",
            routes().map(|route| ([route_label(route)], route.in_progress)),
        )
    }

    fn cache(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let results = |route: &RouteFigures| CacheResult::ALL.into_iter().zip(route.cache);
        self.counters(
            "forebay_cache_requests",
            "Requests by what the cache made of them.",
            matched(snapshot).flat_map(|route| {
                results(route)
                    .map(|(result, count)| ([route_label(route), ("result", result.as_str().into())], count))
            }),
        )?;
        self.counters(
            "forebay_cache_unread_bodies",
            "Bodies that could not tell how long they are fresh (cache.when), by reason.",
            matched(snapshot).flat_map(|route| {
                UnreadBody::ALL
                    .into_iter()
                    .zip(route.unread)
                    .map(|(why, count)| ([route_label(route), ("reason", why.as_str().into())], count))
            }),
        )?;
        self.gauge("forebay_cache_entries", "Stored responses.", &snapshot.cache.entries)?;
        self.gauge("forebay_cache_bytes", "Memory that stored responses take.", &snapshot.cache.bytes)?;
        self.counters(
            "forebay_cache_evictions",
            "Stored responses removed, by cause.",
            snapshot.cache.evictions.iter().map(|(cause, count)| ([("cause", *cause)], *count)),
        )?;
        self.counter(
            "forebay_cache_refused",
            "Responses not stored for want of room.",
            &snapshot.cache.refused,
        )
    }

    fn rate_limits(&mut self, snapshot: &Snapshot) -> fmt::Result {
        self.counters(
            "forebay_rate_limit_decisions",
            "Decisions of rate limits.",
            snapshot.rate_limits.iter().flat_map(|limit| {
                let decisions = [
                    ("allowed", limit.allowed),
                    ("refused", limit.refused),
                    ("would_refuse", limit.would_refuse),
                ];
                decisions.map(|(decision, count)| ([("limit", &*limit.name), ("decision", decision)], count))
            }),
        )?;
        self.gauges(
            "forebay_rate_limit_keys",
            "Clients that a rate limit remembers.",
            snapshot.rate_limits.iter().map(|limit| ([("limit", &*limit.name)], limit.keys)),
        )?;
        self.counters(
            "forebay_rate_limit_overflows",
            "Requests counted together because the table of clients was full.",
            snapshot.rate_limits.iter().map(|limit| ([("limit", &*limit.name)], limit.overflowed)),
        )
    }

    fn in_flight(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let pools = || snapshot.pools.iter();
        self.gauges(
            "forebay_in_flight",
            "Permits held.",
            pools().map(|pool| (pool_label(pool), pool.active)),
        )?;
        self.gauges(
            "forebay_in_flight_max",
            "Permits there are.",
            pools().map(|pool| (pool_label(pool), pool.max)),
        )?;
        self.gauges(
            "forebay_queue_depth",
            "Requests that wait for a permit.",
            pools().map(|pool| (pool_label(pool), pool.queue.depth)),
        )?;
        self.histograms(
            "forebay_queue_wait_seconds",
            "Time that requests waited for a permit.",
            pools().map(|pool| (pool_label(pool), &pool.queue.wait)),
        )?;
        self.counters(
            "forebay_shed",
            "Requests turned away by an in-flight pool.",
            pools().flat_map(|pool| {
                pool.shed.iter().map(|(reason, count)| ([("pool", &*pool.name), ("reason", *reason)], *count))
            }),
        )
    }

    fn jobs(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let jobs = || snapshot.jobs.iter();
        let label = |job: &'_ JobFigures| ("job", job.name.to_string());
        self.gauges("forebay_jobs_active", "Jobs at work.", jobs().map(|job| ([label(job)], job.active)))?;
        self.counters(
            "forebay_jobs",
            "Jobs that are over, by how they ended.",
            jobs().flat_map(|job| {
                job.ended
                    .iter()
                    .map(move |(outcome, count)| ([label(job), ("outcome", (*outcome).to_owned())], *count))
            }),
        )?;
        self.counters(
            "forebay_jobs_unrecognised",
            "Answers that named no job, or told no state.",
            jobs().flat_map(|job| {
                job.unrecognised.map(|(at, count)| ([label(job), ("at", at.to_owned())], count))
            }),
        )?;
        self.counters(
            "forebay_jobs_overflowed",
            "Jobs for which there was no room.",
            jobs().map(|job| ([label(job)], job.overflowed)),
        )?;
        self.counters(
            "forebay_jobs_failed_saves",
            "Times that the state file could not be written.",
            jobs().map(|job| ([label(job)], job.failed_saves)),
        )
    }

    fn upstreams(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let upstreams = || snapshot.upstreams.iter();
        self.counters(
            "forebay_upstream_requests",
            "Attempts at upstreams; status=\"error\" without a response, \"cancelled\" when its client or the route's timeout ended it before there was one.",
            upstreams().flat_map(|upstream| {
                upstream.requests.iter().map(move |(ended_with, count)| {
                    ([upstream_label(upstream), ("status", ended_with.clone())], *count)
                })
            }),
        )?;
        self.histograms(
            "forebay_upstream_duration_seconds",
            "Time from an upstream request to the first byte of its response.",
            upstreams().map(|upstream| ([upstream_label(upstream)], &upstream.duration)),
        )?;
        self.gauges(
            "forebay_upstream_connections",
            "Connections to upstream servers.",
            upstreams().flat_map(|upstream| {
                let (open, idle) = connections(upstream);
                [("active", open.saturating_sub(idle)), ("idle", idle)]
                    .map(|(state, count)| ([upstream_label(upstream), ("state", state.into())], count))
            }),
        )?;
        self.gauges(
            "forebay_upstream_healthy",
            "Whether requests are sent to a server.",
            upstreams().flat_map(|upstream| {
                upstream.servers.iter().map(move |server| {
                    (
                        [upstream_label(upstream), ("server", server.server.clone().into())],
                        u32::from(server.is_healthy),
                    )
                })
            }),
        )?;
        self.counters(
            "forebay_upstream_breaker_transitions",
            "Changes of a server's breaker, by what it became.",
            upstreams().flat_map(by_server(|server| &server.breaker, "to")),
        )?;
        self.counters(
            "forebay_upstream_health_checks",
            "Health checks of a server, by how they ended.",
            upstreams().flat_map(by_server(|server| &server.checks, "result")),
        )?;
        self.counters(
            "forebay_upstream_look_ups",
            "Look-ups of a server's name, by how they ended.",
            upstreams().flat_map(by_server(|server| &server.look_ups, "result")),
        )?;
        self.counters(
            "forebay_upstream_retries",
            "Attempts that were repeated.",
            upstreams().map(|upstream| ([upstream_label(upstream)], upstream.retries)),
        )
    }

    fn savings(&mut self, snapshot: &Snapshot) -> fmt::Result {
        self.counters(
            "forebay_upstream_requests_saved",
            "Upstream requests that were not needed.",
            matched(snapshot).flat_map(|route| {
                let saved = [
                    ("cache", route.saved_by_cache),
                    ("collapse", route.saved_by_collapse),
                    ("dedupe", route.saved_by_dedupe),
                ];
                saved.map(|(by, count)| ([route_label(route), ("by", by.into())], count))
            }),
        )?;
        self.counters(
            "forebay_dedupe_requests",
            "Starts by what dedupe made of them; only routes that have it.",
            matched(snapshot).filter(|route| route.dedupe.iter().any(|count| *count > 0)).flat_map(|route| {
                DedupeResult::ALL
                    .into_iter()
                    .zip(route.dedupe)
                    .map(|(result, count)| ([route_label(route), ("result", result.as_str().into())], count))
            }),
        )?;
        self.counters(
            "forebay_upstream_seconds_saved",
            "Time that upstreams would have worked on saved requests.",
            matched(snapshot).map(|route| ([route_label(route)], route.time_saved.as_secs_f64())),
        )
    }

    fn listeners(&mut self, scrape: &Scrape) -> fmt::Result {
        self.gauges(
            "forebay_connections",
            "Open connections of clients.",
            [("public", scrape.snapshot.connections), ("admin", scrape.admin_connections)]
                .map(|(at, open)| ([("listener", at)], open)),
        )?;
        self.counters(
            "forebay_connections_refused",
            "Connections of clients that were turned away, by reason.",
            [([("reason", "address")], scrape.snapshot.connections_refused)],
        )
    }

    fn program(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let reloads = snapshot.reloads;
        self.counters(
            "forebay_config_reloads",
            "Reloads of the configuration.",
            [("success", reloads.succeeded), ("failure", reloads.failed)]
                .map(|(result, count)| ([("result", result)], count)),
        )?;
        self.gauge(
            "forebay_config_last_reload_successful",
            "Whether the last reload took effect.",
            &u32::from(reloads.last_succeeded),
        )?;
        self.counter(
            "forebay_tls_handshake_failures",
            "TLS handshakes with clients that came to nothing.",
            &snapshot.failed_handshakes,
        )?;
        self.counter(
            "forebay_http_parse_errors",
            "Requests that could not be read as HTTP/1.1.",
            &snapshot.unreadable_heads,
        )?;
        self.counter(
            "forebay_http2_floods",
            "Connections that ended because their client flooded them.",
            &snapshot.floods,
        )?;
        self.counter(
            "forebay_http2_stalled_streams",
            "Streams that were reset because their client took nothing.",
            &snapshot.stalled_streams,
        )?;
        self.counter("forebay_panics", "Requests that failed in forebay itself.", &snapshot.panics)?;
        self.counter(
            "forebay_log_lines_dropped",
            "Log lines that could not be written.",
            &snapshot.log_lines_dropped,
        )?;
        self.gauges("forebay_build_info", "The version that runs.", [([("version", VERSION)], 1_u32)])
    }

    fn process(&mut self, scrape: &Scrape) -> fmt::Result {
        let process = scrape.process;
        let started = scrape.snapshot.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.counter("process_cpu_seconds", "Processor time used, user and system.", &process.cpu_seconds)?;
        self.gauge("process_resident_memory_bytes", "Resident memory.", &process.resident_bytes)?;
        self.gauge("process_virtual_memory_bytes", "Virtual memory.", &process.virtual_bytes)?;
        self.gauge("process_open_fds", "Open file descriptors.", &process.open_fds)?;
        self.gauge("process_max_fds", "File descriptors there may be.", &process.max_fds)?;
        self.gauge("process_threads", "Threads.", &process.threads)?;
        self.gauge("process_start_time_seconds", "When the process began, since the epoch.", &started)
    }
}

fn connections(upstream: &UpstreamFigures) -> (u64, u64) {
    upstream.servers.iter().fold((0, 0), |(open, idle), server| (open + server.open, idle + server.idle))
}

/// A count with its labels.
type ServerCount<'s> = ([(&'static str, Cow<'s, str>); 3], u64);

/// Counts of each server of an upstream, under its labels and one more.
fn by_server<'s, const N: usize>(
    counts: impl Fn(&'s ServerFigures) -> &'s [(&'static str, u64); N] + Copy,
    label: &'static str,
) -> impl Fn(&'s UpstreamFigures) -> Vec<ServerCount<'s>> {
    move |upstream| {
        let of_server = |server: &'s ServerFigures| {
            counts(server).iter().map(move |(what, count)| {
                let labels = [
                    upstream_label(upstream),
                    ("server", Cow::from(&*server.server)),
                    (label, Cow::from(*what)),
                ];
                (labels, *count)
            })
        };
        upstream.servers.iter().flat_map(of_server).collect()
    }
}

/// The routes there are; what no route matched uses neither cache nor upstream.
fn matched(snapshot: &Snapshot) -> impl Iterator<Item = &RouteFigures> {
    snapshot.routes.iter().filter(|route| !route.name.is_empty())
}

fn route_label(route: &RouteFigures) -> (&'static str, Cow<'_, str>) {
    ("route", Cow::from(&*route.name))
}

fn upstream_label(upstream: &UpstreamFigures) -> (&'static str, Cow<'_, str>) {
    ("upstream", Cow::from(&*upstream.name))
}

fn pool_label(pool: &PoolFigures) -> [(&'static str, &str); 1] {
    [("pool", &*pool.name)]
}

#[cfg(test)]
mod tests;
