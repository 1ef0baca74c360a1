//! From a plan, which has no problems any more, to the policy: what survives reloads is found by its name and takes its
//! new settings here, all else is made anew.

mod jobs;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Plan, PoolPlan, RateLimitPlan, RoutePlan};
use crate::admission::{self, Pool, QueueSpec};
use crate::cache::{BodyRules, CachePolicy, KeyRules, Limits, Mode, NamePattern, TagTemplate};
use crate::config::rate_limit::Charge as ConfigCharge;
use crate::config::rate_limit::Mode as Enforcement;
use crate::config::route::Collapse as ConfigCollapse;
use crate::config::route::cache::{CacheMode, Credentials};
use crate::config::values::Period;
use crate::config::{self, Config};
use crate::policy::{
    AdminPolicy, Collapse, Dedupe, Destination, InFlight, JobRole, ListenerPolicy, PerAddress, Policy, Route,
    State,
};
use crate::rate_limit::{self, Buckets, Charge, Quota, RateLimit};
use crate::router::Router;
use crate::server::Bounds;
use crate::upstream::{Cluster, TlsSpec};

/// Puts a plan into effect on the state, and gives the policy for it.
pub fn attach(plan: Plan<'_>, state: &State) -> Policy {
    let cache = &plan.config.cache;
    state.cache.set_limits(Limits { max_bytes: cache.max_bytes.0, max_object: cache.max_object.0 });
    state.flights.set_budget(cache.max_bytes.0.max(cache.max_object.0));
    let upstreams: Vec<_> = plan.upstreams.iter().map(|spec| upstream(spec.clone(), state)).collect();
    let rate_limits: Vec<_> = plan.rate_limits.iter().map(|limit| rate_limit(limit, state)).collect();
    let pools: Vec<_> = plan.pools.iter().map(|pool| in_flight(pool, state)).collect();
    let parts = Parts { upstreams: &upstreams, rate_limits: &rate_limits, pools: &pools };
    let jobs = jobs::attach(&plan, &parts, state);
    let attach_route =
        |(index, planned)| Arc::new(route(planned, &parts, jobs::role(&plan, index, &jobs), state));
    let routes: Vec<_> = plan.routes.iter().enumerate().map(attach_route).collect();
    let policy = Policy {
        listener: listener(plan.config),
        router: router(&plan, &routes),
        trusted_proxies: plan.trusted_proxies,
        tls: plan.tls,
        routes,
        upstreams,
        rate_limits,
        jobs,
        pools: pools.into_iter().map(|in_flight| in_flight.pool).collect(),
        admin: admin(plan.config),
        effective: config::effective(plan.config),
    };
    forget_the_rest(&policy, state);
    policy
}

/// What routes refer to by index.
struct Parts<'p> {
    upstreams: &'p [(Arc<str>, Arc<Cluster>)],
    rate_limits: &'p [Arc<RateLimit>],
    pools: &'p [InFlight],
}

fn upstream(spec: crate::upstream::Spec, state: &State) -> (Arc<str>, Arc<Cluster>) {
    let name = Arc::clone(&spec.name);
    if spec.tls.as_ref().is_some_and(TlsSpec::is_insecure) {
        tracing::warn!(
            upstream = &*name,
            "tls.insecure: whatever certificate comes is taken; whoever is in between reads and changes everything"
        );
    }
    let cluster = match state.upstreams.find(&name) {
        Some(kept) => {
            kept.reconfigure(spec);
            kept
        }
        None => state.upstreams.keep(&name, || Cluster::new(spec, state.network.clone(), state.clock)),
    };
    (name, cluster)
}

fn rate_limit(plan: &RateLimitPlan<'_>, state: &State) -> Arc<RateLimit> {
    let config = plan.config;
    let tier =
        |rate: &toml::Spanned<config::values::Rate>| Quota::new(rate.get_ref().limit, rate.get_ref().window);
    let spec = rate_limit::Spec {
        name: Arc::clone(&plan.name),
        key: plan.key.clone(),
        tiers: config.rates.iter().map(tier).collect(),
        burst: config.burst,
        charge: match config.charge {
            ConfigCharge::Request => Charge::Request,
            ConfigCharge::Upstream => Charge::Upstream,
        },
        observe: config.mode == Enforcement::Observe,
        max_keys: config.max_keys,
    };
    let buckets = state.buckets.keep(&plan.name, || Buckets::new(state.clock.epoch()));
    Arc::new(RateLimit::new(spec, buckets))
}

fn in_flight(plan: &PoolPlan<'_>, state: &State) -> InFlight {
    let config = plan.config;
    let spec = admission::Spec {
        name: Arc::clone(&plan.name),
        max: plan.max,
        auto: plan.auto,
        per: plan.per.clone(),
        queue: config.queue.map(|queue| QueueSpec { size: queue.size, timeout: queue.timeout.0 }),
        status: StatusCode::from_u16(config.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS),
        observe: config.mode == Enforcement::Observe,
    };
    let per = spec.per.as_ref().map(|(key, _)| key.clone());
    let is_adaptive = spec.auto.is_some();
    let pool = match state.pools.find(&plan.name) {
        Some(kept) => {
            kept.reconfigure(spec);
            kept
        }
        None => state.pools.keep(&plan.name, || Pool::new(spec, state.clock)),
    };
    InFlight { pool, per, is_adaptive }
}

fn route(plan: &RoutePlan<'_>, parts: &Parts<'_>, job: Option<JobRole>, state: &State) -> Route {
    let config = plan.config;
    let limits: Vec<_> =
        plan.rate_limits.iter().filter_map(|index| parts.rate_limits.get(*index)).cloned().collect();
    let (rate_limits, upstream_rate_limits) =
        limits.into_iter().partition(|limit| limit.spec().charge == Charge::Request);
    let (upstream_name, upstream) = chosen(parts.upstreams, plan.upstream);
    Route {
        name: Arc::clone(&plan.name),
        upstream,
        upstream_name,
        identity: plan.identity.clone(),
        rate_limits,
        upstream_rate_limits,
        in_flight: plan.pool.and_then(|index| parts.pools.get(index)).cloned(),
        priority: config.priority,
        job,
        cache: cache_policy(plan, state),
        compress: config.compress,
        collapse: match config.collapse {
            ConfigCollapse::Identity => Collapse::Identity,
            ConfigCollapse::Shared => Collapse::Shared,
            ConfigCollapse::Off => Collapse::Off,
        },
        dedupe: dedupe(plan, state),
        invalidates: tags(plan, &config.invalidates),
        timeout: duration(config.timeout),
        idle_timeout: duration(config.idle_timeout),
        target: duration(config.target),
        server_timing: config.server_timing,
        figures: state.routes.keep(&plan.name, Default::default),
    }
}

fn dedupe(plan: &RoutePlan<'_>, state: &State) -> Option<Dedupe> {
    let (by, config) = (plan.dedupe.clone()?, plan.config.dedupe.as_ref()?.get_ref());
    Some(Dedupe {
        by,
        window: config.window.0,
        observe: config.mode == Enforcement::Observe,
        starts: state.starts.keep(&plan.name, Default::default),
    })
}

#[expect(clippy::indexing_slicing, reason = "a plan's indices are into its own lists")]
fn chosen(upstreams: &[(Arc<str>, Arc<Cluster>)], index: usize) -> (Arc<str>, Arc<Cluster>) {
    upstreams[index].clone()
}

fn tags(plan: &RoutePlan<'_>, texts: &[toml::Spanned<String>]) -> Vec<TagTemplate> {
    let captures: Vec<&str> = plan.captures.iter().map(String::as_str).collect();
    texts.iter().filter_map(|text| TagTemplate::parse(text.get_ref(), &captures).ok()).collect()
}

fn cache_policy(plan: &RoutePlan<'_>, state: &State) -> CachePolicy {
    let config = plan.config.cache.get_ref();
    let figures = state.routes.keep(&plan.name, Default::default);
    let when = || Arc::new(BodyRules { rules: plan.when.clone(), figures: Arc::clone(&figures) });
    CachePolicy {
        mode: match config.mode {
            CacheMode::Standard => Mode::Standard,
            CacheMode::Force => Mode::Force,
            CacheMode::Off => Mode::Off,
        },
        ttl: duration(config.ttl),
        when: (!plan.when.is_empty()).then(when),
        negative_ttl: duration(config.negative_ttl),
        stale_while_revalidate: duration(config.stale_while_revalidate),
        stale_if_error: duration(config.stale_if_error),
        tags: tags(plan, &config.tags),
        key: KeyRules {
            query_ignore: config
                .key
                .query_ignore
                .iter()
                .map(|name| NamePattern::new(name.get_ref()))
                .collect(),
            query_sort: config.key.query_sort,
            headers: plan.key_headers.clone(),
            shared_credentials: config.key.credentials == Credentials::Shared,
        },
        keeps_coded: plan.config.compress,
        max_object: None,
        route: Arc::clone(&plan.name),
        figures,
    }
}

fn router(plan: &Plan<'_>, routes: &[Arc<Route>]) -> Router<Arc<Destination>> {
    let lead = plan.patterns().filter_map(|(pattern, index)| {
        let captures = pattern.captures().map(Box::from).collect();
        let route = Arc::clone(routes.get(index)?);
        Some((pattern.clone(), Arc::new(Destination { route, captures })))
    });
    // A plan has no conflicts; an empty router would answer 404, never the wrong route.
    Router::build(lead.collect()).unwrap_or_default()
}

fn listener(config: &Config) -> ListenerPolicy {
    let listener = &config.listener;
    ListenerPolicy {
        bounds: Bounds {
            max_connections: listener.max_connections,
            header_timeout: listener.header_timeout.0,
            idle_timeout: listener.idle_timeout.0,
            max_header_bytes: usize::try_from(listener.max_header_bytes.0).unwrap_or(usize::MAX),
        },
        max_connections_per_ip: match listener.max_connections_per_ip {
            Some(0) => PerAddress::Unbounded,
            Some(most) => PerAddress::Bounded(most),
            None => PerAddress::FromAfar(listener.max_connections.div_ceil(2)),
        },
        max_body_bytes: listener.max_body_bytes.0,
        min_body_rate: listener.min_body_rate.0,
        drain_timeout: listener.drain_timeout.0,
    }
}

fn admin(config: &Config) -> AdminPolicy {
    let token = config.admin.token.get_ref();
    let hosts = config.admin.hosts.iter().map(|host| host.get_ref().clone()).collect();
    AdminPolicy { token: (!token.is_empty()).then(|| token.clone()), hosts }
}

fn duration(period: Option<Period>) -> Option<Duration> {
    period.map(|period| period.0)
}

/// What the configuration does not name any more is forgotten, once nobody uses it.
fn forget_the_rest(policy: &Policy, state: &State) {
    state.upstreams.retain(|name| policy.upstreams.iter().any(|(kept, _)| **kept == *name));
    state.buckets.retain(|name| policy.rate_limits.iter().any(|limit| *limit.spec().name == *name));
    state.pools.retain(|name| policy.pools.iter().any(|pool| *pool.spec().name == *name));
    state.jobs.retain(|name| policy.jobs.iter().any(|job| *job.spec.name == *name));
    state
        .starts
        .retain(|name| policy.routes.iter().any(|route| route.dedupe.is_some() && *route.name == *name));
    state.routes.retain(|name| policy.routes.iter().any(|route| *route.name == *name));
}
