//! Jobs: their routes are there and fit, their pointers can be read.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use toml::Spanned;

use super::limits::PoolPlan;
use super::routes::RoutePlan;
use super::when::check_pointer;
use super::{Findings, names, shared};
use crate::config::jobs::Job;
use crate::config::{self, Config, Problem};
use crate::jobs::{Pace, Spec};
use crate::router::Pattern;

/// A kind of job with its routes found and its texts read.
#[derive(Debug)]
pub struct JobPlan<'c> {
    /// How answers are read, and times.
    pub spec: Spec,
    /// The index of the route that starts a job.
    pub start: usize,
    /// The index of the route that tells how one is.
    pub status: usize,
    /// The capture of that route which names the job.
    pub capture: String,
    /// What forebay asks with.
    pub probe_headers: HeaderMap,
    /// The rest of it.
    pub config: &'c Job,
}

/// Fields that frame or direct a request: forebay's own business.
const OWN_FIELDS: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// What jobs may name, and what others have taken.
struct Scope<'s, 'c> {
    routes: &'s [RoutePlan<'c>],
    pools: &'s [PoolPlan<'c>],
    /// Routes and files that have a part in a job, with the place that says so.
    taken: HashMap<String, Range<usize>>,
}

/// In the order of the names. Only those without problems are planned.
pub(super) fn check<'c>(
    config: &'c Config,
    routes: &[RoutePlan<'c>],
    pools: &[PoolPlan<'c>],
    findings: &mut Findings<'_>,
) -> Vec<JobPlan<'c>> {
    let mut scope = Scope { routes, pools, taken: HashMap::new() };
    let check_one = |(name, job): (&'c Spanned<String>, &'c Spanned<Job>)| {
        names::check("a kind of job", name, findings);
        scope.check(name.get_ref(), job, findings)
    };
    config.jobs.iter().filter_map(check_one).collect()
}

impl<'c> Scope<'_, 'c> {
    fn check(
        &mut self,
        name: &str,
        table: &'c Spanned<Job>,
        findings: &mut Findings<'_>,
    ) -> Option<JobPlan<'c>> {
        let job = table.get_ref();
        let mut needed = |value: &'c Option<Spanned<String>>, key: &str, like: &str| {
            if value.is_none() {
                let problem = Problem::at(table.span(), format!("the job `{name}` has no {key}"));
                findings.missing(&table.span(), key, problem.help(format!("add: {key} = {like}")));
            }
            value.as_ref()
        };
        let start = needed(&job.start, "start", "\"start-scan\", the route whose 2xx starts one");
        let id = needed(&job.id, "id", "\"/scan_id\"");
        let status = needed(&job.status, "status", "\"scan-status\", the route that tells how it is");
        let state = needed(&job.state, "state", "\"/status\"");
        if job.done.is_empty() {
            let problem = Problem::at(table.span(), format!("the job `{name}` has no final state"));
            findings.missing(&table.span(), "done", problem.help("add: done = [\"completed\", \"failed\"]"));
        }
        let start = start.and_then(|start| self.check_start(start, findings));
        let capture = status.and_then(|status| self.check_status(status, id, findings));
        let holds = start.and_then(|start| self.check_holds(job, start, findings));
        self.check_file(&job.state_file, findings);
        let probe_headers = check_fields(job, findings);
        let pace = check_pace(&job.pace, findings);
        let [id, state] = [id, state].map(|text| text.and_then(|text| check_pointer(text, findings)));
        let ((status, capture), start) = (capture?, start?);
        let spec = Spec {
            name: shared(name),
            routes: (Arc::clone(&self.routes.get(start)?.name), Arc::clone(&self.routes.get(status)?.name)),
            id: id?,
            state: state?,
            done: job.done.iter().map(|state| state.get_ref().as_str().into()).collect(),
            holds,
            lease: job.lease.0,
            probe: job.probe.0,
            unknown_hold: job.unknown_hold.0,
            pace,
            state_file: Some(PathBuf::from(job.state_file.get_ref()))
                .filter(|path| !path.as_os_str().is_empty()),
        };
        Some(JobPlan { spec, start, status, capture, probe_headers, config: job })
    }

    fn check_start(&mut self, name: &Spanned<String>, findings: &mut Findings<'_>) -> Option<usize> {
        let index = self.check_route(name, findings)?;
        let route = self.routes.get(index)?;
        if !route.patterns.is_empty() && !route.patterns.iter().any(Pattern::takes_unsafe) {
            let message = format!("the route `{}` takes only methods that change nothing", name.get_ref());
            let problem = Problem::at(name.span(), message);
            findings.add(problem.help("a job is started by a POST: name the route that takes it"));
        }
        Some(index)
    }

    /// The route, and the capture that names the job.
    fn check_status(
        &mut self,
        name: &Spanned<String>,
        id: Option<&Spanned<String>>,
        findings: &mut Findings<'_>,
    ) -> Option<(usize, String)> {
        let index = self.check_route(name, findings)?;
        let route = self.routes.get(index)?;
        if route.patterns.is_empty() {
            return None;
        }
        if !route.patterns.iter().any(|pattern| pattern.takes_method(&Method::GET)) {
            let message =
                format!("the route `{}` takes no GET: a status is asked for by one", name.get_ref());
            findings.add(Problem::at(name.span(), message).help("name the route that is polled"));
        }
        let id = id?.get_ref();
        let called = id.rsplit('/').next().unwrap_or_default();
        let capture = match &*route.captures {
            captures if captures.iter().any(|capture| capture == called) => Some(called.to_owned()),
            [only] => Some(only.clone()),
            _ => None,
        };
        if capture.is_none() {
            let message = format!("no capture of the route `{}` names the job", name.get_ref());
            let help =
                format!("write `{{{called}}}` in each match of that route, where the job's name stands");
            findings.add(Problem::at(name.span(), message).help(help));
        }
        Some((index, capture?))
    }

    /// A route that has no part in a job yet.
    fn check_route(&mut self, name: &Spanned<String>, findings: &mut Findings<'_>) -> Option<usize> {
        let index = names::resolve("route", name, self.routes.iter().map(|route| &*route.name), findings)?;
        self.take(format!("the route `{}` has", name.get_ref()), name.span(), findings);
        Some(index)
    }

    fn take(&mut self, what: String, place: Range<usize>, findings: &mut Findings<'_>) {
        if let Some(first) = self.taken.get(&what) {
            let problem = Problem::at(place, format!("{what} a part in a job already"));
            findings.add(problem.also(first.clone(), "there"));
        } else {
            self.taken.insert(what, place);
        }
    }

    /// The start's permit is what a job keeps: it can be of no other pool.
    fn check_holds(&self, job: &Job, start: usize, findings: &mut Findings<'_>) -> Option<Arc<str>> {
        let route = self.routes.get(start)?;
        let own = route.pool.and_then(|index| self.pools.get(index)).map(|pool| Arc::clone(&pool.name));
        let Some(holds) = &job.holds else { return own };
        names::resolve("in-flight pool", holds, self.pools.iter().map(|pool| &*pool.name), findings)?;
        if own.as_deref() != Some(holds.get_ref()) {
            let has = own.as_ref().map_or("none".to_owned(), |own| format!("`{own}`"));
            let message = format!(
                "a job keeps the permit of its start, and the pool of the route `{}` is {has}",
                route.name
            );
            let help = format!("write in_flight = \"{}\" into that route", holds.get_ref());
            findings.add(Problem::at(holds.span(), message).help(help));
        }
        own
    }

    fn check_file(&mut self, file: &Spanned<String>, findings: &mut Findings<'_>) {
        if !file.get_ref().is_empty() {
            self.take(format!("the file `{}` has", file.get_ref()), file.span(), findings);
        }
    }
}

fn check_pace(pace: &Spanned<config::jobs::Pace>, findings: &mut Findings<'_>) -> Pace {
    let config::jobs::Pace { initial, max, factor } = *pace.get_ref();
    if initial > max {
        let message = format!("the first interval, {initial}, is longer than the longest, {max}");
        findings.add(Problem::at(pace.span(), message).help("give `max` too, at least as long as `initial`"));
    }
    Pace { initial: initial.0, max: max.0, factor }
}

fn check_fields(job: &Job, findings: &mut Findings<'_>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in &job.probe_headers {
        match HeaderName::from_bytes(name.get_ref().as_bytes()) {
            Ok(known) if OWN_FIELDS.contains(&known) => {
                findings.refuse(name, format!("`{}` is set by forebay itself", name.get_ref()));
            }
            Ok(known) => match HeaderValue::from_str(value.get_ref()) {
                Ok(value) => drop(fields.insert(known, value)),
                Err(_) => findings.refuse(value, "this is not the value of a header field"),
            },
            Err(_) => {
                findings.refuse(name, format!("`{}` is not the name of a header field", name.get_ref()));
            }
        }
    }
    fields
}
