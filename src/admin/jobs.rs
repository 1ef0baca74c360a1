//! `GET /api/jobs` and `DELETE /api/jobs/{id}`: the jobs at work, and how an operator lets one go.

use http::StatusCode;
use serde::Serialize;

use super::Jobs;
use super::reply::{Reply, json, problem, seconds};
use crate::http::segment::decoded;

/// The jobs at work, the oldest first, by kind.
pub(super) fn list(jobs: &Jobs) -> Reply {
    #[derive(Serialize)]
    struct List<'a> {
        jobs: Vec<Job<'a>>,
    }
    #[derive(Serialize)]
    struct Job<'a> {
        /// The kind.
        job: &'a str,
        id: &'a str,
        /// The last one that it told; empty before.
        state: &'a str,
        age_seconds: f64,
        lease_left_seconds: f64,
        /// Since a client's question about it last reached the backend; null before.
        last_poll_seconds: Option<f64>,
        /// Clients whose questions reached the backend within the last minute.
        pollers: usize,
        /// Whether it was seen at work without having been started here.
        adopted: bool,
    }
    let jobs = (jobs.list)();
    let rows = jobs.iter().map(|(kind, stats)| Job {
        job: kind,
        id: &stats.id,
        state: &stats.state,
        age_seconds: seconds(stats.age),
        lease_left_seconds: seconds(stats.lease_left),
        last_poll_seconds: stats.last_poll.map(seconds),
        pollers: stats.pollers,
        adopted: stats.is_adopted,
    });
    json(&List { jobs: rows.collect() })
}

/// Lets the job go that stands in the path, of every kind or of the one that `?job=` names.
pub(super) fn release(in_path: &str, query: Option<&str>, jobs: &Jobs) -> Reply {
    #[derive(Serialize)]
    struct Released {
        released: usize,
    }
    let mut parameters = query.into_iter().flat_map(|query| query.split('&'));
    let kind = parameters.find_map(|parameter| decoded(parameter.strip_prefix("job=")?));
    let Some(id) = decoded(in_path) else {
        return problem(StatusCode::BAD_REQUEST, "the id in the path is not encoded as UTF-8");
    };
    match (jobs.release)(&id, kind.as_deref()) {
        0 => {
            problem(StatusCode::NOT_FOUND, "no job of this id is at work; GET /api/jobs lists those that are")
        }
        released => {
            tracing::info!(id, kind, released, "jobs let go by the operator");
            json(&Released { released })
        }
    }
}
