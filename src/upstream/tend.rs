//! What a server needs from time to time: health checks, and looking its name up anew.
//!
//! Each check is a GET on a connection of its own, under the server's own name, so that it also finds out whether a
//! connection can be opened. Well is who answers with 2xx or 3xx in time. Checks are in no figure of what clients have
//! cost the upstream, and hold no connection of the pool.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::pool::{Offer, Pool};
use super::sending::Sending;
use super::standing::CheckRules;
use super::{Error, Patience};
use crate::clock::jitter::jittered;
use crate::http::body::RequestBody;

const USER_AGENT: HeaderValue = HeaderValue::from_static("forebay-health");
/// After how long somebody should ask again where nothing better is known.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How a server's health is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSpec {
    /// What is asked for.
    pub path: PathAndQuery,
    /// From check to check, give or take a tenth.
    pub interval: Duration,
    /// How long one may take, connecting included.
    pub timeout: Duration,
    /// How many of them decide.
    pub rules: CheckRules,
}

/// The checks of one server.
#[derive(Debug)]
pub(super) struct Checks(Mutex<Schedule>);

#[derive(Debug)]
struct Schedule {
    spec: Option<Arc<HealthSpec>>,
    /// When the next one is due; `None`: now.
    next: Option<Instant>,
    is_under_way: bool,
}

/// A check under way; whatever ends it, the next one may begin.
struct UnderWay {
    pool: Arc<Pool>,
    spec: Arc<HealthSpec>,
}

impl Checks {
    pub(super) fn new(spec: Option<HealthSpec>) -> Self {
        Self(Mutex::new(Schedule { spec: spec.map(Arc::new), next: None, is_under_way: false }))
    }

    /// Takes new rules, under which the checks begin anew; whether they are other ones.
    pub(super) fn reconfigure(&self, spec: Option<HealthSpec>) -> bool {
        let mut schedule = self.0.lock();
        let is_news = schedule.spec.as_deref() != spec.as_ref();
        if is_news {
            *schedule = Schedule { spec: spec.map(Arc::new), next: None, is_under_way: false };
        }
        is_news
    }

    /// From check to check.
    pub(super) fn interval(&self) -> Duration {
        self.0.lock().spec.as_ref().map_or(A_MOMENT, |spec| spec.interval)
    }

    /// The check that is due, if one is, and when to look again.
    fn due(&self, now: Instant) -> (Option<Arc<HealthSpec>>, Option<Instant>) {
        let mut schedule = self.0.lock();
        let Some(spec) = schedule.spec.clone() else { return (None, None) };
        if let Some(next) = schedule.next.filter(|next| *next > now) {
            return (None, Some(next));
        }
        let next = Some(now + jittered(spec.interval));
        schedule.next = next;
        // One that takes longer than the interval is not joined by a second.
        let is_free = !std::mem::replace(&mut schedule.is_under_way, true);
        (is_free.then_some(spec), next)
    }
}

impl Pool {
    /// Starts what is due; when it is to be called again.
    pub(super) fn tend(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let look_up = self.tend_addresses(now);
        let check = self.tend_health(now);
        look_up.into_iter().chain(check).min()
    }

    fn tend_addresses(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (due, next) = self.dialer.addresses.due(now);
        if let Some(under_way) = due {
            let pool = Arc::clone(self);
            tokio::spawn(async move {
                let has_changed = pool.dialer.addresses.look_up(now).await == Ok(true);
                drop(under_way);
                if has_changed {
                    tracing::info!(server = %pool.server(), "the name has other addresses");
                    pool.sweep(pool.clock.now());
                }
            });
        }
        next
    }

    fn tend_health(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (due, next) = self.checks.due(now);
        if let Some(spec) = due {
            let check = UnderWay { pool: Arc::clone(self), spec };
            tokio::spawn(async move {
                let outcome = check.pool.check(&check.spec).await;
                check.note(&outcome);
            });
        }
        next
    }

    async fn check(&self, spec: &HealthSpec) -> Result<(), Failure> {
        let mut request = Request::new(RequestBody::Empty);
        *request.uri_mut() = Uri::from(spec.path.clone());
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let mut sending = Sending::new(Box::new(request), None, self.clock.now());
        sending.name_host(self.server());
        let asked = async {
            let mut channel = self.open(Offer::All, spec.timeout).await?.into_channel();
            let patience = Patience { first_byte: spec.timeout, body: spec.timeout };
            channel.exchange(&mut sending, Some(patience)).await
        };
        let status =
            tokio::time::timeout(spec.timeout, asked).await.map_err(|_| Error::ResponseTimeout)??;
        if status.is_success() || status.is_redirection() { Ok(()) } else { Err(Failure::Status(status)) }
    }
}

impl Schedule {
    /// Whether these are the rules still, and not those from before a reload.
    fn is_of(&self, spec: &Arc<HealthSpec>) -> bool {
        self.spec.as_ref().is_some_and(|own| Arc::ptr_eq(own, spec))
    }
}

impl UnderWay {
    /// Takes note of how it went.
    fn note(self, outcome: &Result<(), Failure>) {
        let pool = &self.pool;
        if let Err(reason) = outcome {
            tracing::debug!(server = %pool.server(), %reason, "a health check failed");
        }
        // Held, so that no reload comes in between: it would find the server judged by rules that are gone.
        let schedule = pool.checks.0.lock();
        let change = if schedule.is_of(&self.spec) && speaks_of_the_server(outcome) {
            pool.standing().checked(outcome.is_ok(), pool.clock.now(), self.spec.rules)
        } else {
            None
        };
        drop(schedule);
        pool.tell(change);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut schedule = self.pool.checks.0.lock();
        if schedule.is_of(&self.spec) {
            schedule.is_under_way = false;
        }
    }
}

/// A check for which we have no descriptor has not taken place.
fn speaks_of_the_server(outcome: &Result<(), Failure>) -> bool {
    !matches!(outcome, Err(Failure::Unanswered(error)) if !error.blames_the_server())
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Unanswered(#[from] Error),
    #[error("the answer was {0}")]
    Status(StatusCode),
}

#[cfg(test)]
mod tests;
