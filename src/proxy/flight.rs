//! The way to the upstream for what may be shared or stored: join the fetch that is under way, or begin one.
//!
//! Here is the side of the requests; the fetch itself, which belongs to none of them, is [`fetch`](super::fetch)'s.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{Response, StatusCode, request, response};

use super::asked::Asked;
use super::exchange::Exchange;
use super::fetch::{Fetch, copy};
use super::{Body, Missed, Proxy, part, tell_cache_status};
use crate::admission::Permit;
use crate::cache::{self, Cache, Forward, Forwarded, Precondition, Selected, StaleUse};
use crate::collapse::{Flight, Joined, Outcome, Seat};
use crate::metrics::CacheResult;
use crate::policy::{Collapse, LiveHead, Private, SharedHead, Sharing};
use crate::refusal::Refusal;

impl Proxy {
    /// Answers from a flight.
    pub(super) async fn fly(
        &self,
        asked: Box<Asked>,
        missed: Missed,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let reason = missed.reason;
        let is_left_to_origin = missed.leaves_conditions_to_origin(&asked);
        let asked: Arc<Asked> = Arc::from(asked);
        let conditions = (!is_left_to_origin).then_some(&asked.parts.headers);
        let Boarded { seat, has_joined } = self.board(&asked, missed, exchange, false)?;
        let began = self.state.clock.now();
        let outcome = seat.outcome().await;
        let waited = self.state.clock.now().saturating_duration_since(began);
        // A follower waits for the fetch as a whole: it needs no permit.
        exchange.queued = queued(&outcome).filter(|_| !has_joined);
        exchange.upstream = Some(waited.saturating_sub(exchange.queued.unwrap_or_default()));
        match outcome {
            Outcome::Failed(refusal) => Err(refusal),
            Outcome::Yours(private) => Ok(self.answer_privately(private, conditions, exchange)),
            Outcome::Shared(fetched, reader) if fetched.head.suits(&asked.parts.headers) => {
                let head = &fetched.head;
                let result = if has_joined { CacheResult::Collapsed } else { result_of(head) };
                exchange.count_cache(result);
                Ok(match head {
                    SharedHead::Live(live) => {
                        let (head, forwarded) = live.told_to(has_joined);
                        let response = part::of_live(head, reader, &asked.parts);
                        let mut response = unless_known(response, conditions);
                        tell_cache_status(&mut response, forwarded);
                        response
                    }
                    SharedHead::Stored(selected, forwarded) => {
                        let forwarded = Forwarded { collapsed: has_joined, ..*forwarded };
                        let request::Parts { method, headers, .. } = &*asked.parts;
                        part::answer_from(selected, method, headers.clone(), Some(forwarded))
                    }
                })
            }
            Outcome::Alone | Outcome::Shared(..) => self.forward_shared(asked, reason, exchange).await,
        }
    }

    /// A response that only this request gets; `conditions` are its own, where the origin has not evaluated them.
    fn answer_privately(
        &self,
        private: Private,
        conditions: Option<&HeaderMap>,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        exchange.count_cache(CacheResult::Miss);
        let Private { response, permit, forwarded } = private;
        let (parts, body) = response.into_parts();
        let body = Body::upstream(&parts.headers, body, permit, &self.state.afterlife.end);
        let mut response = unless_known(Response::from_parts(parts, body), conditions);
        tell_cache_status(&mut response, forwarded);
        response
    }

    /// What could not be shared is fetched alone, through the limits and the pool.
    async fn forward_shared(
        &self,
        asked: Arc<Asked>,
        reason: Forward,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        Box::pin(self.forward(Box::new(Arc::unwrap_or_clone(asked)), &mut None, reason, exchange)).await
    }

    /// Has a stale response fetched anew while it is served, once for all who are served it, whether the route collapses
    /// or not; nobody waits for the outcome.
    pub(super) fn refresh(&self, asked: &Asked, stale: &Selected, usable: StaleUse, exchange: &mut Exchange) {
        let missed = Missed { reason: usable.reason, stale: Some((stale.clone(), usable)), part: None };
        drop(self.board(&Arc::new(asked.clone()), missed, exchange, true));
    }

    /// Takes a seat in the flight for a request, and starts its fetch where there was none.
    fn board(
        &self,
        asked: &Arc<Asked>,
        missed: Missed,
        exchange: &mut Exchange,
        is_background: bool,
    ) -> Result<Boarded, Refusal> {
        let (state, route) = (&self.state, asked.route());
        let is_conditional = missed.leaves_conditions_to_origin(asked);
        let key = match () {
            () if is_background => asked.refresh_key(),
            () if is_conditional => asked.conditional_flight_key(),
            () => asked.flight_key(),
        };
        let begin = || {
            let tags = route.cache.tags(|name| asked.capture(name));
            state.cache.begin(&route.cache, asked.storage_key(), &route.url(&asked.parts), &tags)
        };
        // A write may have changed what an older fetch is about to bring; a client may insist on an answer to a question
        // that is asked after its own.
        let insists = Cache::is_insisted_on(&route.cache, &asked.parts.headers);
        let is_too_old =
            |flight: &Flight<Sharing>| flight.mark().is_overtaken() || insists && flight.has_departed();
        let is_solo = route.collapse == Collapse::Off && !is_background;
        let joined = if is_solo {
            Joined::Alone
        } else {
            state.flights.join(key, |flight| !is_too_old(flight), begin)
        };
        let (producer, seat, is_solo) = match joined {
            Joined::Leader(producer, seat) => (producer, seat, false),
            Joined::Follower(seat) => return Ok(Boarded { seat, has_joined: true }),
            Joined::Full => return Err(Refusal::TooManyFollowers),
            Joined::Alone => {
                let (producer, seat) = state.flights.solo(begin());
                (producer, seat, true)
            }
        };
        // Here and not in the fetch: the limits of the one who begins are no reason to turn anybody else away.
        if let Err(refusal) = exchange.charge(asked, &route.upstream_rate_limits) {
            state.flights.land(key, &producer);
            return Err(refusal);
        }
        let outgoing = asked.outgoing(exchange);
        let fetch = Fetch {
            state: Arc::clone(state),
            asked: Arc::clone(asked),
            key,
            missed,
            is_background,
            is_solo,
            is_conditional,
            queued: None,
        };
        tokio::spawn(fetch.run(producer, outgoing));
        Ok(Boarded { seat, has_joined: false })
    }
}

/// A request in a flight, and whether another one began it.
struct Boarded {
    seat: Seat<Sharing>,
    has_joined: bool,
}

/// How long the one who began the flight waited for the permit of its fetch.
fn queued(outcome: &Outcome<Sharing>) -> Option<Duration> {
    match outcome {
        Outcome::Shared(fetched, _) => fetched.queued,
        Outcome::Yours(private) => private.permit.as_ref().map(Permit::waited),
        Outcome::Alone | Outcome::Failed(_) => None,
    }
}

/// The response, or a 304 where the client has it already.
fn unless_known(mut response: Response<Body>, conditions: Option<&HeaderMap>) -> Response<Body> {
    let is_known = response.status() == StatusCode::OK
        && conditions.is_some_and(|conditions| {
            cache::evaluate(conditions, response.headers()) == Precondition::NotModified
        });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    response
}

impl LiveHead {
    /// The head as one client gets it, and what `Cache-Status` tells of it.
    fn told_to(&self, has_joined: bool) -> (response::Parts, Forwarded) {
        let mut head = copy(&self.parts);
        for name in self.personal.iter().filter(|_| has_joined) {
            head.headers.remove(name);
        }
        (head, Forwarded { collapsed: has_joined, ..self.forwarded })
    }
}

fn result_of(head: &SharedHead) -> CacheResult {
    match head {
        SharedHead::Live(_) => CacheResult::Miss,
        SharedHead::Stored(_, Forwarded { detail: Some(_), .. }) => CacheResult::Stale,
        SharedHead::Stored(..) => CacheResult::Revalidated,
    }
}
