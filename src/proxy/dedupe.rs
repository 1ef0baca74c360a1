//! Starts that are the same: one is made, and all who asked for it get its answer, once it is whole.
//!
//! After the identity and before the limits: who gets somebody else's answer is charged nothing and needs no permit. The
//! start itself runs in a task of its own, so that no client that leaves ends it for the others; while it is queued and
//! the last has left, it is given up. One that is not answered in time is not made again as long as it runs: equal ones
//! are told the same. Answers never cross identities: the identity is part of what makes two starts the same, and clients
//! without one are told apart by address. As several may share an address, what is personal in an answer (`Set-Cookie`,
//! `Cache-Control: private`) goes to nobody else there, unless the client has chosen the key.

mod making;
mod start;

use std::sync::Arc;

use http::Response;
use http::header;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use self::making::Making;
use super::asked::Asked;
use super::exchange::Exchange;
use super::{Body, Proxy};
use crate::cache::Forward;
use crate::dedupe::{Answer, By, Entered, Outcome, Ticket, Waiting};
use crate::metrics::{CacheResult, DedupeResult};
use crate::policy::Dedupe;
use crate::refusal::Refusal;

impl Proxy {
    /// Makes a start, unless it is under way or was just answered.
    pub(super) async fn once(
        &self,
        mut asked: Box<Asked>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let route = Arc::clone(asked.route());
        let Some(dedupe) = &route.dedupe else { return self.charged(asked, body, exchange).await };
        let Some(start) = self.start(&mut asked, dedupe, body).await? else {
            exchange.count_dedupe(DedupeResult::Skipped);
            return self.charged(asked, body, exchange).await;
        };
        loop {
            let waiting = match dedupe.starts.enter(start.key, start.fingerprint, self.state.clock.now()) {
                Entered::First(ticket, waiting) if !dedupe.observe => {
                    exchange.count_dedupe(DedupeResult::First);
                    return self.make(asked, dedupe, ticket, waiting, exchange).await;
                }
                Entered::First(ticket, _) => {
                    exchange.count_dedupe(DedupeResult::First);
                    ticket.keep(Outcome::Alone, self.state.clock.now() + dedupe.window);
                    return self.charged(asked, body, exchange).await;
                }
                Entered::Same(waiting) if !dedupe.observe => waiting,
                Entered::Other if !dedupe.observe => {
                    exchange.count_dedupe(DedupeResult::Refused);
                    return Err(Refusal::KeyReused);
                }
                entered => {
                    exchange.count_dedupe(observed(&entered));
                    return self.charged(asked, body, exchange).await;
                }
            };
            match waiting.outcome().await {
                Some(Outcome::Answered(answer)) => {
                    exchange.count_dedupe(DedupeResult::Shared);
                    return Ok(repeat(&answer));
                }
                Some(Outcome::Failed(refusal)) => return Err(refusal),
                Some(Outcome::Alone) if dedupe.by != By::Body => {
                    exchange.count_dedupe(DedupeResult::Refused);
                    return Err(Refusal::NotRepeatable);
                }
                Some(Outcome::Alone) => {
                    exchange.count_dedupe(DedupeResult::Skipped);
                    return self.charged(asked, body, exchange).await;
                }
                None => {}
            }
        }
    }

    /// The usual way of a request, from the limits on.
    async fn charged(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route().rate_limits)?;
        Box::pin(self.forward(asked, body, Forward::Method, exchange)).await
    }

    /// Makes the first of equal starts, in a task of its own.
    async fn make(
        &self,
        mut asked: Box<Asked>,
        dedupe: &Dedupe,
        ticket: Ticket<Refusal>,
        waiting: Waiting<Refusal>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route().rate_limits)?;
        // Those who share the answer need not take the same codings.
        asked.parts.headers.remove(header::ACCEPT_ENCODING);
        let (own, is_own) = oneshot::channel();
        asked.ticket = Some(ticket.clone());
        let making = Making {
            proxy: self.clone(),
            dedupe: dedupe.clone(),
            exchange: exchange.on_behalf_of_several(),
            ticket,
            own,
        };
        let began = self.state.clock.now();
        self.state.afterlife.tasks.spawn(making.run(asked));
        let outcome = waiting.outcome().await;
        exchange.observe_upstream(self.state.clock.now().saturating_duration_since(began));
        exchange.count_cache(CacheResult::Bypass);
        match outcome {
            Some(Outcome::Answered(answer)) => Ok(repeat(&answer)),
            Some(Outcome::Failed(refusal)) => Err(refusal),
            Some(Outcome::Alone) => is_own.await.map_err(|_| Refusal::Internal),
            None => Err(Refusal::Internal),
        }
    }
}

/// What would have become of a start that is made all the same.
fn observed(entered: &Entered<Refusal>) -> DedupeResult {
    match entered {
        Entered::Same(_) => DedupeResult::WouldShare,
        Entered::Other => DedupeResult::WouldRefuse,
        Entered::First(..) | Entered::Full => DedupeResult::Skipped,
    }
}

/// The answer of an equal start.
fn repeat(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::whole(answer.body.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}
