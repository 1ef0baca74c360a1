//! What jobs need without a request: leases that end, questions that nobody else asks, a file that survives.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{self, HeaderValue};
use http::{Request, Uri};
use tokio::sync::Semaphore;

use super::read_ahead;
use crate::http::body::RequestBody;
use crate::jobs::{self, By, Probe, Seen, Standing};
use crate::policy::{JobPolicy, JobTable, Policy, State};

/// Questions of our own at the same time.
const MAX_PROBES: usize = 8;
/// Questions that wait for their turn; others come in their own time, when the upstream may answer sooner.
const MAX_WAITING: usize = 1024;
/// For the answer to one of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks after all jobs, for as long as it is polled.
pub async fn keep_jobs(state: Arc<State>, policy: Arc<ArcSwap<Policy>>) {
    let (line, places) = (Arc::new(Semaphore::new(MAX_WAITING)), Arc::new(Semaphore::new(MAX_PROBES)));
    let tables = || state.jobs.list().into_iter().map(|(_, table)| table).collect();
    let probe = |table: &Arc<JobTable>, probe: Probe| {
        let policy = policy.load();
        let Some(job) = policy.jobs.iter().find(|job| Arc::ptr_eq(&job.table, table)).cloned() else {
            return;
        };
        let Ok(in_line) = Arc::clone(&line).try_acquire_owned() else { return };
        let (state, places) = (Arc::clone(&state), Arc::clone(&places));
        tokio::spawn(async move {
            let _in_line = in_line;
            let _place = places.acquire().await;
            ask(&state, &job, &probe).await;
        });
    };
    tokio::join!(
        jobs::keep(tables, &state.bells, state.clock, probe),
        jobs::keep_written(tables, &state.bells)
    );
}

/// Brings jobs back from their files, before anything is served: they hold their permits again.
pub fn restore_jobs(policy: &Policy) {
    for job in &policy.jobs {
        match job.table.restore(|| job.hold()) {
            Ok(0) => {}
            Ok(jobs) => {
                tracing::info!(job = %job.spec.name, jobs, "jobs of an earlier run hold their permits again");
            }
            Err(error) => {
                tracing::warn!(job = %job.spec.name, %error, "jobs of an earlier run are not known");
            }
        }
    }
}

/// Asks for a job and tells its table. No answer is no news: the next question comes in its time.
async fn ask(state: &State, job: &JobPolicy, probe: &Probe) {
    let Some(request) = request(job, probe) else { return };
    let asked = state.clock.now();
    let answer = async {
        let (parts, mut body) = job.upstream.probe(request).await.ok()?.into_parts();
        let whole = read_ahead(&parts, &mut body).await;
        Some(job.spec.read_status(parts.status, whole.as_deref()))
    };
    let Ok(Some(reading)) = tokio::time::timeout(PATIENCE, answer).await else { return };
    let seen = Seen { reading, asked, by: By::Probe, url: None };
    if job.table.observe(&probe.id, &seen, || job.hold()) == Standing::Final {
        // Who asks next is told so, and not what was stored before.
        state.cache.purge_url(&format!("{}{}", probe.url.host, probe.url.path));
    }
}

fn request(job: &JobPolicy, probe: &Probe) -> Option<Request<RequestBody>> {
    let mut request = Request::new(RequestBody::Empty);
    *request.uri_mut() = probe.url.path.parse::<Uri>().ok()?;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(credentials) = probe.credentials.as_ref().filter(|_| job.probes_as_starter) {
        headers.extend(credentials.clone());
    }
    for (name, value) in &job.probe_headers {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(header::HOST, HeaderValue::from_str(&probe.url.host).ok()?);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::VIA, HeaderValue::from_static("1.1 forebay"));
    Some(request)
}
