//! The right to be in flight.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::pool::Pool;
use crate::client::PartitionKey;

/// A permit of a pool. Dropping it is the only way to give it back, and cannot be forgotten: put it where the work is
/// (the response body, the job, the tunnel).
#[derive(Debug)]
#[must_use = "dropped, it is given back"]
pub struct Permit {
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
        Self { pool: Some(pool), per_key, since, waited, is_of_job: false }
    }

    /// How long it was waited for in the queue.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Since when it is held.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// From now on it is a job's: a cap that the pool finds by itself stays above what jobs hold.
    pub fn pass_to_job(&mut self) {
        if let Some(pool) = self.pool.as_ref().filter(|_| !self.is_of_job) {
            self.is_of_job = true;
            pool.count_job();
        }
    }

    pub(super) fn is_of_job(&self) -> bool {
        self.is_of_job
    }

    pub(super) fn per_key(&self) -> Option<PartitionKey> {
        self.per_key
    }

    /// Makes its drop do nothing: the pool takes it back by itself.
    pub(super) fn disarm(mut self) {
        self.pool = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.take_back(self);
        }
    }
}
