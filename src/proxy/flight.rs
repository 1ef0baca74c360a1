//! The way to the upstream for what may be shared or stored: join the fetch that is under way, or begin one.
//!
//! The fetch runs in a task that belongs to nobody. At the response's head it decides who may have it: everybody in the
//! flight, or the one who began alone. Only then does anybody see a byte.

use std::sync::Arc;

use http::header;
use http::{Method, Request, Response, StatusCode, request, response};
use http_body_util::BodyExt as _;

use super::exchange::Exchange;
use super::intake::Asked;
use super::{Body, Missed, Proxy, answer_from, tell_cache_status};
use crate::admission::{Permit, ShedReason};
use crate::cache::{self, Forward, Forwarded, Plan, Precondition, ResponseFacts, Selected, StaleUse, Vary};
use crate::collapse::{FlightKey, Joined, Outcome, Producer, Seat};
use crate::http::body::RequestBody;
use crate::metrics::CacheResult;
use crate::policy::{Collapse, LiveHead, Private, SharedHead, Sharing, State};
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
        let (seat, has_joined) = match self.board(&asked, missed, peer, exchange, false)? {
            Boarded::Seat { seat, has_joined } => (seat, has_joined),
            Boarded::Alone => return self.forward_shared(asked, reason, peer, exchange).await,
            Boarded::Full => return Err(Refusal::TooManyFollowers),
        };
        let began = self.state.clock.now();
        let outcome = seat.outcome().await;
        exchange.upstream = Some(self.state.clock.now().saturating_duration_since(began));
        match outcome {
            Outcome::Failed(refusal) => Err(refusal),
            Outcome::Yours(private) => Ok(answer_privately(private, &asked, exchange)),
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
        exchange: &mut Exchange,
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
        exchange: &mut Exchange,
        is_background: bool,
    ) -> Result<Boarded, Refusal> {
        let (state, route) = (&self.state, asked.route());
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
                Joined::Follower(seat) => return Ok(Boarded::Seat { seat, has_joined: true }),
                Joined::Alone => return Ok(Boarded::Alone),
                Joined::Full => return Ok(Boarded::Full),
            }
        };
        // Here and not in the fetch: the limits of the one who begins are no reason to turn anybody else away.
        if let Err(refusal) = exchange.charge(asked, &route.upstream_rate_limits) {
            state.flights.land(key, &producer);
            return Err(refusal);
        }
        let outgoing = asked.outgoing(peer, &exchange.id);
        let job = Job { state: Arc::clone(state), asked: Arc::clone(asked), key, missed, is_background };
        tokio::spawn(job.run(producer, outgoing));
        Ok(Boarded::Seat { seat, has_joined: false })
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
    async fn run(mut self, producer: Producer<Sharing>, outgoing: request::Parts) {
        let admitted = tokio::select! {
            biased;
            admitted = self.asked.admit() => admitted,
            () = producer.abandoned(), if !self.is_background => return self.land(&producer),
        };
        match admitted {
            Ok(permit) => self.fetch(producer, outgoing, permit).await,
            // The key that is full is that of the one who began.
            Err(shed) if shed.reason == ShedReason::PerKey => {
                self.land(&producer);
                producer.refuse(shed.into());
            }
            Err(shed) => self.fall_back(producer, shed.into()),
        }
    }

    /// Asks the upstream. A 304 that is not about what is stored answers nobody: the upstream is then asked once more,
    /// without conditions (RFC 9111 section 4.3.4).
    async fn fetch(&mut self, producer: Producer<Sharing>, outgoing: request::Parts, permit: Option<Permit>) {
        loop {
            let requested = self.state.clock.now();
            let obtained = tokio::select! {
                biased;
                obtained = self.obtain(outgoing.clone()) => obtained,
                () = producer.abandoned(), if !self.is_background => return self.land(&producer),
            };
            let response = match obtained {
                Ok(response) => response,
                Err(refusal) => return self.fall_back(producer, refusal),
            };
            let asked = Arc::clone(&self.asked);
            let exchange = cache::Exchange {
                request: &asked.parts,
                credentialed: asked.is_credentialed(),
                requested,
                received: self.state.clock.now(),
            };
            asked.route().figures.observe_upstream(exchange.received.saturating_duration_since(requested));
            let (mut parts, body) = response.into_parts();
            upstream::prepare_response(&mut parts);
            if let Some(answer) = self.answer_from_stale(&producer, &exchange, &parts) {
                drop((body, permit));
                self.land(&producer);
                producer.share(answer);
                return producer.finish(None);
            }
            if parts.status != StatusCode::NOT_MODIFIED || self.missed.stale.take().is_none() {
                return self.deliver(producer, &exchange, parts, body, permit).await;
            }
        }
    }

    /// The exchange to its head.
    async fn obtain(&self, outgoing: request::Parts) -> Result<Response<ResponseBody>, Refusal> {
        let mut request = Request::from_parts(outgoing, RequestBody::Empty);
        // Answered for each client on its own; only what is stored may be validated.
        request.headers_mut().remove(header::IF_NONE_MATCH);
        request.headers_mut().remove(header::IF_MODIFIED_SINCE);
        if let Some((stale, _)) = &self.missed.stale {
            stale.add_conditions(request.headers_mut());
        }
        let response = self.asked.route().upstream.send(request, None).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::UnaskedUpgrade);
        }
        Ok(response)
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
        parts: response::Parts,
        body: ResponseBody,
        permit: Option<Permit>,
    ) {
        let judgement = self.state.cache.judge(&self.asked.route().cache, exchange, &parts);
        let plan = judgement.verdict.ok();
        if plan.is_none()
            && let Some((stale, _)) = &self.missed.stale
            && takes_the_place_of_what_is_stored(exchange, parts.status)
        {
            self.state.cache.forget(producer.mark(), stale);
        }
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
        let policy = &self.asked.route().cache;
        match parts.status {
            // The head alone is news of the stored response, too (RFC 9111 section 4.3.5).
            StatusCode::OK if self.asked.parts.method == Method::HEAD => {
                let freshened = self.state.cache.freshen(producer.mark(), policy, stale, exchange, parts)?;
                Some(SharedHead::Stored(freshened.selected, forwarded))
            }
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
        let patience = self.asked.route().upstream.patience().body;
        let retain = match &plan {
            Some(plan) => plan.max_object(),
            None if self.asked.route().collapse == Collapse::Off => 0,
            None => KEPT_FOR_JOINERS,
        };
        let may_break_off = plan.is_none() && !self.is_background;
        let mut trailers = None;
        loop {
            let frame = tokio::select! {
                biased;
                () = producer.abandoned(), if may_break_off => return self.land(&producer),
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else { return self.land(&producer) };
            match frame.into_data() {
                Ok(data) => {
                    if producer.push(data, retain, patience).await.is_err() {
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
                tracing::debug!(?reason, route = %self.asked.route().name, "not stored");
            }
        }
        self.land(&producer);
        producer.finish(trailers);
    }

    /// Whether everybody in the flight may have this response, or only the one who began it. All in it have the same
    /// credentials, unless the route collapses across them; without credentials, nobody knows who is who.
    fn may_be_shared(&self, facts: &ResponseFacts, parts: &response::Parts) -> bool {
        // A 304 that nobody asked for means something to the one client at most that it may have been meant for.
        let is_whole = !matches!(parts.status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        let is_endless = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let is_among_one = self.asked.is_credentialed() && self.asked.route().collapse == Collapse::Identity;
        is_whole && !is_endless && facts.vary != Vary::Anything && (is_among_one || !facts.is_personal())
    }

    fn forwarded(&self) -> Forwarded {
        Forwarded::because(self.missed.reason)
    }

    fn land(&self, producer: &Producer<Sharing>) {
        self.state.flights.land(self.key, producer);
    }
}

/// Whether an answer that is not stored speaks against what is: an error or a refusal that passes does not, and the
/// answer to a HEAD has been weighed before.
fn takes_the_place_of_what_is_stored(exchange: &cache::Exchange<'_>, status: StatusCode) -> bool {
    let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    exchange.request.method == Method::GET && (status.is_success() || status.is_redirection() || is_gone)
}

/// A response that only this request gets.
fn answer_privately(private: Private, asked: &Asked, exchange: &mut Exchange) -> Response<Body> {
    exchange.count_cache(CacheResult::Miss);
    let response = private.response.map(|body| Body::upstream(body, private.permit));
    let mut response = unless_known(response, asked);
    tell_cache_status(&mut response, private.forwarded);
    response
}

/// A response that several get while it streams; each client's own conditions are answered here.
fn answer_live(live: &LiveHead, asked: &Asked, body: Body, has_joined: bool) -> Response<Body> {
    let mut response = unless_known(Response::from_parts(copy(&live.parts), body), asked);
    tell_cache_status(&mut response, Forwarded { collapsed: has_joined, ..live.forwarded });
    response
}

/// The response, or a 304 where the client has it already.
fn unless_known(mut response: Response<Body>, asked: &Asked) -> Response<Body> {
    let is_known = response.status() == StatusCode::OK
        && cache::evaluate(&asked.parts.headers, response.headers()) == Precondition::NotModified;
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    response
}

fn result_of(head: &SharedHead) -> CacheResult {
    match head {
        SharedHead::Live(_) => CacheResult::Miss,
        SharedHead::Stored(_, Forwarded { detail: Some(_), .. }) => CacheResult::Stale,
        SharedHead::Stored(..) => CacheResult::Revalidated,
    }
}

fn copy(parts: &response::Parts) -> response::Parts {
    let mut copy = Response::new(()).into_parts().0;
    copy.status = parts.status;
    copy.headers = parts.headers.clone();
    copy
}
