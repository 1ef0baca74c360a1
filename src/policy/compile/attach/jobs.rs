//! Jobs survive a reload under their name, and under a new one where their routes are the same.

use std::sync::Arc;

use super::{Parts, cache_policy, chosen};
use crate::admission::Pool;
use crate::cache::CachePolicy;
use crate::config::jobs::ProbeAs;
use crate::jobs::{Jobs, Spec};
use crate::policy::compile::{JobPlan, Plan};
use crate::policy::{JobPolicy, JobRole, JobTable, State};

/// All kinds, in the order of the names.
pub(super) fn attach(plan: &Plan<'_>, parts: &Parts<'_>, state: &State) -> Vec<Arc<JobPolicy>> {
    let attached = plan.jobs.iter().filter_map(|job| {
        let (start, status) = (plan.routes.get(job.start)?, plan.routes.get(job.status)?);
        let pool = start.pool.and_then(|index| parts.pools.get(index)).map(|held| Arc::clone(&held.pool));
        Some(Arc::new(JobPolicy {
            table: table(job, plan, pool.as_ref(), state),
            spec: job.spec.clone(),
            pool,
            identity: start.identity.clone(),
            capture: job.capture.as_str().into(),
            patterns: status.patterns.clone(),
            upstream: chosen(parts.upstreams, status.upstream).1,
            done: CachePolicy { ttl: Some(job.config.done_ttl.0), when: None, ..cache_policy(status, state) },
            probe_headers: job.probe_headers.clone(),
            probes_as_starter: job.config.probe_as == ProbeAs::Starter,
        }))
    });
    attached.collect()
}

/// What the route at this index has to do with jobs.
pub(super) fn role(plan: &Plan<'_>, index: usize, jobs: &[Arc<JobPolicy>]) -> Option<JobRole> {
    plan.jobs.iter().zip(jobs).find_map(|(planned, job)| match index {
        index if index == planned.start => Some(JobRole::Start(Arc::clone(job))),
        index if index == planned.status => Some(JobRole::Status(Arc::clone(job))),
        _ => None,
    })
}

fn table(job: &JobPlan<'_>, plan: &Plan<'_>, pool: Option<&Arc<Pool>>, state: &State) -> Arc<JobTable> {
    let name = &job.spec.name;
    if state.jobs.find(name).is_none()
        && let Some(old) = former_name(&job.spec, plan, state)
    {
        state.jobs.rename(&old, name);
    }
    match state.jobs.find(name) {
        Some(kept) => {
            kept.reconfigure(job.spec.clone(), || pool.map(Pool::adopt));
            kept
        }
        None => state.jobs.keep(name, || Jobs::new(job.spec.clone(), state.clock, Arc::clone(&state.bells))),
    }
}

/// The name of a kind with the same routes that the configuration does not have any more.
fn former_name(spec: &Spec, plan: &Plan<'_>, state: &State) -> Option<Arc<str>> {
    let is_former = |(name, table): &(Arc<str>, Arc<JobTable>)| {
        !plan.jobs.iter().any(|job| job.spec.name == *name) && table.spec().routes == spec.routes
    };
    state.jobs.list().into_iter().find(is_former).map(|(name, _)| name)
}
