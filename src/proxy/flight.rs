//! The way to the upstream for what may be shared or stored: join the fetch that is under way, or begin one.
//!
//! The fetch runs in a task that belongs to nobody. At the response's head it decides who may have it: everybody in the
//! flight, or the one who began alone. Only then does anybody see a byte.

use std::sync::Arc;

use http::header;
use http::{Request, Response, StatusCode, request, response};
use http_body_util::BodyExt as _;

use super::exchange::Exchange;
use super::intake::Asked;
use super::{Body, Missed, Proxy, answer_from, tell_cache_status};
use crate::admission::Permit;
use crate::cache::{self, Forward, Forwarded, Plan, Precondition, ResponseFacts, Selected, StaleUse, Vary};
use crate::collapse::{FlightKey, Joined, Outcome, Producer, Seat};
use crate::http::body::RequestBody;
use crate::metrics::CacheResult;
use crate::policy::{Collapse, LiveHead, Private, SharedHead, Sharing, State};
use crate::rate_limit;
use crate::refusal::Refusal;
use crate::server::Peer;
use crate::upstream::{self, ResponseBody};

/// How much of a body that is not stored is kept for those who join while it streams.
const KEPT_FOR_JOINERS: u64 = 512 * 1024;

impl Proxy {
    /// Answers from a flight.
    pub(super) async fn fly(
        &self,
        asked: Box<Asked>,
        missed: Missed,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let reason = missed.reason;
        let asked: Arc<Asked> = Arc::from(asked);
        let (seat, has_joined) = match self.board(&asked, missed, peer, exchange, false) {
            Boarded::Seat { seat, has_joined } => (seat, has_joined),
            Boarded::Alone => return self.forward_shared(asked, reason, peer, exchange).await,
            Boarded::Full => return Err(Refusal::TooManyFollowers),
        };
        let began = self.state.clock.now();
        let outcome = seat.outcome().await;
        exchange.upstream = Some(self.state.clock.now().saturating_duration_since(began));
        match outcome {
            Outcome::Failed(refusal) => Err(refusal),
            Outcome::Yours(private) => Ok(answer_privately(private, exchange)),
            Outcome::Shared(head, reader) if head.suits(&asked.parts.headers) => {
                let result = if has_joined { CacheResult::Collapsed } else { result_of(&head) };
                exchange.count_cache(result);
                Ok(match &*head {
                    SharedHead::Live(live) => answer_live(live, &asked, Body::flight(reader), has_joined),
                    SharedHead::Stored(selected, forwarded) => {
                        let forwarded = Forwarded { collapsed: has_joined, ..*forwarded };
                        answer_from(selected, asked.parts.clone(), Some(forwarded))
                    }
                })
            }
            Outcome::Alone | Outcome::Shared(..) => self.forward_shared(asked, reason, peer, exchange).await,
        }
    }

    /// What could not be shared is fetched alone, through the limits and the pool.
    async fn forward_shared(
        &self,
        asked: Arc<Asked>,
        reason: Forward,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        Box::pin(self.forward(Box::new(Arc::unwrap_or_clone(asked)), &mut None, reason, peer, exchange)).await
    }

    /// Has a stale response fetched anew while it is served; nobody waits for the outcome.
    pub(super) fn refresh(
        &self,
        asked: &Asked,
        stale: &Selected,
        usable: StaleUse,
        peer: &Peer,
        exchange: &Exchange,
    ) {
        let missed = Missed { reason: usable.reason, stale: Some((stale.clone(), usable)) };
        drop(self.board(&Arc::new(asked.clone()), missed, peer, exchange, true));
    }

    /// Takes a seat in the flight for a request, and starts its fetch where there was none.
    fn board(
        &self,
        asked: &Arc<Asked>,
        missed: Missed,
        peer: &Peer,
        exchange: &Exchange,
        is_background: bool,
    ) -> Boarded {
        let (state, route) = (&self.state, &asked.route);
        let key = asked.flight_key();
        let begin = || {
            let tags = route.cache.tags(|name| asked.capture(name));
            state.cache.begin(&route.cache, asked.storage_key(), &route.url(&asked.parts), &tags)
        };
        let (producer, seat) = if route.collapse == Collapse::Off {
            state.flights.solo(begin())
        } else {
            // A write may have changed what an older fetch is about to bring; a client may insist on news.
            let insists = missed.reason == Forward::Request;
            match state.flights.join(key, |begun| !begun.is_overtaken() && !insists, begin) {
                Joined::Leader(producer, seat) => (producer, seat),
                Joined::Follower(seat) => return Boarded::Seat { seat, has_joined: true },
                Joined::Alone => return Boarded::Alone,
                Joined::Full => return Boarded::Full,
            }
        };
        let outgoing = asked.outgoing(peer, &exchange.id);
        let job = Job { state: Arc::clone(state), asked: Arc::clone(asked), key, missed, is_background };
        tokio::spawn(job.run(producer, outgoing));
        Boarded::Seat { seat, has_joined: false }
    }
}

/// Where a request got in.
enum Boarded {
    Seat { seat: Seat<Sharing>, has_joined: bool },
    Alone,
    Full,
}

/// A fetch.
struct Job {
    state: Arc<State>,
    /// The request that began it, with the client's own fields.
    asked: Arc<Asked>,
    key: FlightKey,
    missed: Missed,
    is_background: bool,
}

impl Job {
    async fn run(self, producer: Producer<Sharing>, outgoing: request::Parts) {
        let requested = self.state.clock.now();
        let obtained = tokio::select! {
            biased;
            obtained = self.obtain(outgoing) => obtained,
            () = producer.abandoned(), if !self.is_background => return self.land(&producer),
        };
        let exchange = cache::Exchange {
            request: &self.asked.parts,
            credentialed: self.asked.is_credentialed(),
            requested,
            received: self.state.clock.now(),
        };
        self.asked.route.figures.observe_upstream(exchange.received.saturating_duration_since(requested));
        match obtained {
            Err(refusal) => self.fall_back(producer, refusal),
            Ok((response, permit)) => self.deliver(producer, &exchange, response, permit).await,
        }
    }

    /// Limits that count what goes upstream, a permit, the exchange to its head.
    async fn obtain(
        &self,
        outgoing: request::Parts,
    ) -> Result<(Response<ResponseBody>, Option<Permit>), Refusal> {
        let (asked, route) = (&self.asked, &self.asked.route);
        let keyed =
            route.upstream_rate_limits.iter().map(|limit| (limit, asked.partition(&limit.spec().key)));
        let charges = rate_limit::check_all(keyed, self.state.clock.now())?;
        let permit = match asked.admit().await {
            Ok(permit) => permit,
            Err(shed) => {
                charges.refund();
                return Err(shed.into());
            }
        };
        let mut request = Request::from_parts(outgoing, RequestBody::Empty);
        // Answered for each client on its own; only what is stored may be validated.
        request.headers_mut().remove(header::IF_NONE_MATCH);
        request.headers_mut().remove(header::IF_MODIFIED_SINCE);
        if let Some((stale, _)) = &self.missed.stale {
            stale.add_conditions(request.headers_mut());
        }
        let response = route.upstream.send(request, None).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::UnaskedUpgrade);
        }
        Ok((response, permit))
    }

    /// No response: a stale one may serve instead.
    fn fall_back(&self, producer: Producer<Sharing>, refusal: Refusal) {
        self.land(&producer);
        match &self.missed.stale {
            Some((stale, usable)) if usable.when_disconnected && refusal.is_upstream_failure() => {
                producer.share(SharedHead::Stored(
                    stale.clone(),
                    Forwarded { detail: Some("stale-if-error"), ..self.forwarded() },
                ));
                producer.finish(None);
            }
            _ => producer.fail(refusal),
        }
    }

    async fn deliver(
        &self,
        producer: Producer<Sharing>,
        exchange: &cache::Exchange<'_>,
        response: Response<ResponseBody>,
        permit: Option<Permit>,
    ) {
        let (mut parts, body) = response.into_parts();
        upstream::prepare_response(&mut parts);
        if let Some(answer) = self.answer_from_stale(&producer, exchange, &parts) {
            drop((body, permit));
            self.land(&producer);
            producer.share(answer);
            return producer.finish(None);
        }
        let judgement = self.state.cache.judge(&self.asked.route.cache, exchange, &parts);
        let plan = judgement.verdict.ok();
        let forwarded = Forwarded {
            stored: plan.is_some(),
            ttl: plan.as_ref().map(|plan| i64::try_from(plan.ttl().as_secs()).unwrap_or(i64::MAX)),
            ..self.forwarded()
        };
        if !self.may_be_shared(&judgement.facts, &parts) {
            self.state.flights.remember_unshareable(self.key);
            self.land(&producer);
            let forwarded = Forwarded { stored: false, ttl: None, ..forwarded };
            return producer.release(Private {
                response: Response::from_parts(parts, body),
                permit,
                forwarded,
            });
        }
        let selecting = cache::SelectingFields::of(judgement.facts.vary.names(), &self.asked.parts.headers);
        producer.share(SharedHead::Live(Box::new(LiveHead { parts: copy(&parts), selecting, forwarded })));
        self.stream(producer, parts, body, plan).await;
        drop(permit);
    }

    /// A stored response that turns out to be good still, or is better than the error that came.
    fn answer_from_stale(
        &self,
        producer: &Producer<Sharing>,
        exchange: &cache::Exchange<'_>,
        parts: &response::Parts,
    ) -> Option<SharedHead> {
        let (stale, usable) = self.missed.stale.as_ref()?;
        let forwarded = Forwarded { status: Some(parts.status), ..self.forwarded() };
        let policy = &self.asked.route.cache;
        match parts.status {
            StatusCode::NOT_MODIFIED => {
                let freshened = self.state.cache.freshen(producer.mark(), policy, stale, exchange, parts)?;
                let stored = freshened.stored.is_ok();
                let ttl = stored.then(|| freshened.selected.ttl());
                Some(SharedHead::Stored(freshened.selected, Forwarded { stored, ttl, ..forwarded }))
            }
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
                if usable.if_error =>
            {
                Some(SharedHead::Stored(
                    stale.clone(),
                    Forwarded { detail: Some("stale-if-error"), ..forwarded },
                ))
            }
            _ => None,
        }
    }

    /// Hands the body on as it comes; what came whole is stored before the flight ends, so that no second fetch slips
    /// in between.
    async fn stream(
        &self,
        producer: Producer<Sharing>,
        parts: response::Parts,
        mut body: ResponseBody,
        plan: Option<Plan>,
    ) {
        let patience = self.asked.route.upstream.patience().body;
        let retain = match &plan {
            Some(plan) => plan.max_object(),
            None if self.asked.route.collapse == Collapse::Off => 0,
            None => KEPT_FOR_JOINERS,
        };
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return self.land(&producer) };
            match frame.into_data() {
                Ok(data) => {
                    let is_unwanted = plan.is_none() && !self.is_background && producer.is_abandoned();
                    if is_unwanted || producer.push(data, retain, patience).await.is_err() {
                        return self.land(&producer);
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        if let Some(plan) = plan
            && let Some(chunks) = producer.whole()
        {
            let stored =
                self.state.cache.store(producer.mark(), &plan, &self.asked.parts.headers, &parts, chunks);
            if let Err(reason) = stored {
                tracing::debug!(?reason, route = %self.asked.route.name, "not stored");
            }
        }
        self.land(&producer);
        producer.finish(trailers);
    }

    /// Whether everybody in the flight may have this response, or only the one who began it. All in it have the same
    /// credentials, unless the route collapses across them; without credentials, nobody knows who is who.
    fn may_be_shared(&self, facts: &ResponseFacts, parts: &response::Parts) -> bool {
        let is_whole = parts.status != StatusCode::PARTIAL_CONTENT;
        let is_endless = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let is_among_one = self.asked.is_credentialed() && self.asked.route.collapse == Collapse::Identity;
        is_whole && !is_endless && facts.vary != Vary::Anything && (is_among_one || !facts.is_personal())
    }

    fn forwarded(&self) -> Forwarded {
        Forwarded::because(self.missed.reason)
    }

    fn land(&self, producer: &Producer<Sharing>) {
        self.state.flights.land(self.key, producer);
    }
}

/// A response that only this request gets.
fn answer_privately(private: Private, exchange: &mut Exchange) -> Response<Body> {
    exchange.count_cache(CacheResult::Miss);
    let mut response = private.response.map(|body| Body::upstream(body, private.permit));
    tell_cache_status(&mut response, private.forwarded);
    response
}

/// A response that several get while it streams; each client's own conditions are answered here.
fn answer_live(live: &LiveHead, asked: &Asked, body: Body, has_joined: bool) -> Response<Body> {
    let parts = copy(&live.parts);
    let is_known = parts.status == StatusCode::OK
        && cache::evaluate(&asked.parts.headers, &parts.headers) == Precondition::NotModified;
    let mut response = Response::from_parts(parts, body);
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    tell_cache_status(&mut response, Forwarded { collapsed: has_joined, ..live.forwarded });
    response
}

fn result_of(head: &SharedHead) -> CacheResult {
    match head {
        SharedHead::Live(_) => CacheResult::Miss,
        SharedHead::Stored(_, forwarded) if forwarded.status == Some(StatusCode::NOT_MODIFIED) => {
            CacheResult::Revalidated
        }
        SharedHead::Stored(..) => CacheResult::Stale,
    }
}

fn copy(parts: &response::Parts) -> response::Parts {
    let mut copy = Response::new(()).into_parts().0;
    copy.status = parts.status;
    copy.headers = parts.headers.clone();
    copy
}
