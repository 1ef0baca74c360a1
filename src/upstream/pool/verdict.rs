//! What exchanges and checks say of a server, and whether it is sent requests.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Pool;
use crate::upstream::Error;
use crate::upstream::sending::Sending;
use crate::upstream::standing::{Change, Trial};

/// How long a server that could not be reached is the last choice.
const SHUNNED: Duration = Duration::from_secs(1);

impl Pool {
    /// Whether the server has just been found unreachable.
    pub(in crate::upstream) fn is_shunned(&self, now: Instant) -> bool {
        let failed_at = self.dial_failed_at.load(Ordering::Relaxed);
        failed_at > 0
            && self.clock.since_start(now).saturating_sub(Duration::from_millis(failed_at)) < SHUNNED
    }

    /// The one try that an open breaker allows when its time is over.
    pub(in crate::upstream) fn try_again(&self, now: Instant) -> Option<Trial<'_>> {
        self.standing.try_again(now, self.limits.load().breaker)
    }

    /// Whether the next request may reach the server.
    pub(in crate::upstream) fn may_be_asked(&self, now: Instant) -> bool {
        self.standing.state(now).may_be_asked()
    }

    /// For how long the server gets no request, as far as that is known.
    pub(in crate::upstream) fn out_for(&self, now: Instant) -> Duration {
        self.standing.out_for(now).unwrap_or_else(|| self.checks.interval())
    }

    /// Says in the log what has changed in the server's standing.
    pub(in crate::upstream) fn tell(&self, change: Option<Change>) {
        let (upstream, server) = (&*self.upstream, &self.server);
        match change {
            None => {}
            Some(Change::Opened) => {
                tracing::warn!(upstream, %server, "the server fails again and again; it gets no requests for a while");
            }
            Some(Change::Closed) => tracing::info!(upstream, %server, "the server answers again"),
            Some(Change::TurnedUnhealthy) => {
                tracing::warn!(upstream, %server, "health checks fail; the server gets no requests");
            }
            Some(Change::TurnedHealthy) => tracing::info!(upstream, %server, "health checks pass again"),
        }
    }

    /// Takes note of how an exchange went that began then.
    pub(super) fn judge(
        &self,
        outcome: Result<StatusCode, Error>,
        trial: Option<Trial<'_>>,
        began: Instant,
        sending: &Sending<'_>,
    ) {
        let verdict = match outcome {
            Ok(status) => Some(!is_gateway_failure(status)),
            // Of a kept connection that was closed in the moment of use nobody is to blame, and of an upload that broke off
            // its client: no client may take a server from all others.
            Err(error) => {
                if !error.is_without_attempt() {
                    self.failures.inc();
                }
                let speaks_against_it =
                    error.blames_the_server() && !sending.crossed_a_close && !sending.is_clients_fault;
                speaks_against_it.then_some(false)
            }
        };
        if let Some(has_succeeded) = verdict {
            // Of a failure before it was sent the request has taken no time.
            let now = if has_succeeded { sending.now } else { self.clock.now() };
            // By the rules in force: one that is judged by rules that are gone would be out for ever.
            let rules = if has_succeeded { None } else { self.limits.load().breaker };
            self.tell(self.standing.judge(has_succeeded, trial, began, now, rules));
        }
    }
}

/// Whether a status says that the server itself is out of order, or what stands behind it.
fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}
