//! What routes have to do with jobs.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use http::header::HeaderMap;

use crate::admission::{Permit, Pool};
use crate::cache::CachePolicy;
use crate::client::IdentityFields;
use crate::http::segment;
use crate::jobs::{Jobs, MAX_ID, Spec, Url};
use crate::router::Pattern;
use crate::upstream::Cluster;

/// The jobs of one kind. Each holds a permit of its start's pool, where that has one.
pub type JobTable = Jobs<Option<Permit>>;

/// A kind of job, compiled.
#[derive(Debug)]
pub struct JobPolicy {
    /// How answers are read.
    pub spec: Spec,
    /// The jobs.
    pub table: Arc<JobTable>,
    /// What a job's permit is of.
    pub pool: Option<Arc<Pool>>,
    /// What tells one starter from another.
    pub identity: IdentityFields,
    /// The capture of the status route that names the job.
    pub capture: Box<str>,
    /// What the status route matches.
    pub patterns: Vec<Pattern>,
    /// Where a status is asked for.
    pub upstream: Arc<Cluster>,
    /// How a final status is stored.
    pub done: CachePolicy,
    /// What forebay asks with.
    pub probe_headers: HeaderMap,
    /// Whether it may ask with the starter's credentials.
    pub probes_as_starter: bool,
}

/// What a route has to do with a kind of job.
#[derive(Debug, Clone)]
pub enum JobRole {
    /// Its 2xx starts one.
    Start(Arc<JobPolicy>),
    /// It tells how one is.
    Status(Arc<JobPolicy>),
}

impl JobPolicy {
    /// A permit for a job that goes on already.
    pub fn hold(&self) -> Option<Permit> {
        self.pool.as_ref().map(Pool::adopt)
    }

    /// The name that stands in a captured part of a path; `None` where it can be no job's.
    pub fn id_of(&self, captured: &str) -> Option<String> {
        segment::decoded(captured).filter(|id| !id.is_empty() && id.len() <= MAX_ID)
    }

    /// The name of the job whose status is at this path.
    pub fn id_at(&self, path: &str) -> Option<String> {
        let captured = self.patterns.iter().find_map(|pattern| pattern.capture(path, &self.capture))?;
        self.id_of(captured)
    }

    /// Where the status of a job will be asked for: `host` where the status route is for any, `known` what the start's
    /// own path has captured. `None` where more would have to be known.
    pub fn status_url<'k>(
        &self,
        id: &str,
        host: &str,
        known: impl Fn(&str) -> Option<&'k str>,
    ) -> Option<Url> {
        let pattern = self.patterns.iter().find(|pattern| pattern.takes_method(&Method::GET))?;
        let path = pattern.fill(|name| match name {
            name if *name == *self.capture => Some(Cow::Owned(segment::encoded(id))),
            name => known(name).map(Cow::Borrowed),
        })?;
        Url::new(pattern.host().unwrap_or(host), &path)
    }
}
