//! The right to be in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Pool;
use crate::client::PartitionKey;

/// A permit of a pool. Dropping it is the only way to give it back, and cannot be forgotten: put it where the work is
/// (the response body, the job, the tunnel).
///
/// It is handed on many times, and mostly there is none: a pointer is the least to be copied each time.
#[derive(Debug)]
#[must_use = "dropped, it is given back"]
pub struct Permit(Box<Held>);

#[derive(Debug)]
struct Held {
    /// None once it was taken back without having been used.
    pool: Option<Arc<Pool>>,
    per_key: Option<PartitionKey>,
    since: Instant,
    waited: Duration,
    is_of_job: bool,
}

impl Permit {
    pub(super) fn new(
        pool: Arc<Pool>,
        per_key: Option<PartitionKey>,
        since: Instant,
        waited: Duration,
    ) -> Self {
        Self(Box::new(Held { pool: Some(pool), per_key, since, waited, is_of_job: false }))
    }

    /// How long it was waited for in the queue.
    pub fn waited(&self) -> Duration {
        self.0.waited
    }

    /// Since when it is held.
    pub fn since(&self) -> Instant {
        self.0.since
    }

    /// From now on it is a job's: a cap that the pool finds by itself stays above what jobs hold.
    pub fn pass_to_job(&mut self) {
        let held = &mut *self.0;
        if let Some(pool) = held.pool.as_ref().filter(|_| !held.is_of_job) {
            held.is_of_job = true;
            pool.count_job();
        }
    }

    pub(super) fn is_of_job(&self) -> bool {
        self.0.is_of_job
    }

    pub(super) fn per_key(&self) -> Option<PartitionKey> {
        self.0.per_key
    }

    /// Makes its drop do nothing: the pool takes it back by itself.
    pub(super) fn disarm(mut self) {
        self.0.pool = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pool) = self.0.pool.take() {
            pool.take_back(self);
        }
    }
}
