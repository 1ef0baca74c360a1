//! The fetch of a flight: a task that belongs to nobody, so that no client that leaves ends it for the others.
//!
//! At the response's head it decides who may have it: everybody in the flight, or the one who began alone. Only then does
//! anybody see a byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header, request, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::Missed;
use super::asked::Asked;
use super::job::Watch;
use crate::admission::{Permit, ShedReason};
use crate::cache::{self, Forward, Forwarded, Mode, NotStored, Plan, Precondition, ResponseFacts, Vary};
use crate::collapse::{FlightKey, Producer};
use crate::http::body::RequestBody;
use crate::policy::{Collapse, Fetched, LiveHead, Private, SharedHead, Sharing, State};
use crate::refusal::Refusal;
use crate::upstream::{self, ResponseBody};

/// How much of a body that is not stored is kept for those who join while it streams.
const KEPT_FOR_JOINERS: u64 = 512 * 1024;

/// A fetch under way.
pub(super) struct Fetch {
    pub(super) state: Arc<State>,
    /// The request that began it, with the client's own fields.
    pub(super) asked: Arc<Asked>,
    pub(super) key: FlightKey,
    pub(super) missed: Missed,
    /// Whether it goes on when nobody waits for it.
    pub(super) is_background: bool,
    /// Whether nobody can join it.
    pub(super) is_solo: bool,
    /// How long it waited for its permit.
    pub(super) queued: Option<Duration>,
}

impl Fetch {
    /// From the permit to the end of the body.
    pub(super) async fn run(mut self, producer: Producer<Sharing>, outgoing: request::Parts) {
        let state = Arc::clone(&self.state);
        let _landing = state.flights.landing(self.key, &producer);
        let admitted = tokio::select! {
            biased;
            admitted = self.asked.admit() => admitted,
            () = self.given_up(&producer), if !self.is_background => return,
        };
        match admitted {
            Ok(permit) => {
                self.queued = permit.as_ref().map(Permit::waited);
                self.ask(producer, outgoing, permit).await;
            }
            // The key that is full is that of the one who began.
            Err(shed) if shed.reason == ShedReason::PerKey => {
                self.land(&producer);
                producer.refuse(shed.into());
            }
            Err(shed) => self.fall_back(producer, shed.into()),
        }
    }

    /// Asks the upstream. A 304 that is not about what is stored answers nobody, and one that makes it personal not
    /// everybody: the upstream is then asked once more, without conditions (RFC 9111 section 4.3.4).
    async fn ask(&mut self, producer: Producer<Sharing>, outgoing: request::Parts, permit: Option<Permit>) {
        let mut was_unreachable = false;
        loop {
            producer.depart();
            let requested = self.state.clock.now();
            let obtained = tokio::select! {
                biased;
                obtained = self.obtain(outgoing.clone()) => obtained,
                () = self.given_up(&producer), if !self.is_background => return,
            };
            let received = self.state.clock.now();
            let status = obtained.as_ref().ok().map(Response::status);
            self.asked.route().report(requested, received, status);
            let response = match obtained {
                Ok(response) => response,
                // Once for those who have joined, and have time left as long as they are there.
                Err(refusal)
                    if refusal.is_connect_failure()
                        && !was_unreachable
                        && !self.has_substitute()
                        && producer.has_followers() =>
                {
                    was_unreachable = true;
                    continue;
                }
                Err(refusal) => return self.fall_back(producer, refusal),
            };
            let asked = Arc::clone(&self.asked);
            let exchange = cache::Exchange {
                request: &asked.parts,
                credentialed: asked.is_credentialed(),
                requested,
                received,
            };
            asked.route().figures.observe_upstream(exchange.received.saturating_duration_since(requested));
            let (mut parts, body) = response.into_parts();
            upstream::prepare_response(&mut parts);
            let body = match self.missed.part.take() {
                Some(part) => match part.complete(&mut parts) {
                    Some(around) => body.within(around.before, around.missing, around.behind),
                    // No part of what was stored: the whole, please.
                    None if is_about_a_range(parts.status) => continue,
                    None => body,
                },
                None => body,
            };
            if let Some(answer) = self.answer_from_stale(&producer, &exchange, &parts) {
                drop((body, permit));
                self.land(&producer);
                self.share(&producer, answer);
                return producer.finish(None);
            }
            if parts.status != StatusCode::NOT_MODIFIED || self.missed.stale.take().is_none() {
                return self.deliver(producer, &exchange, parts, body, permit).await;
            }
        }
    }

    /// The exchange to its head.
    async fn obtain(&self, outgoing: request::Parts) -> Result<Response<ResponseBody>, Refusal> {
        let mut request = Box::new(Request::from_parts(outgoing, RequestBody::Empty));
        // Answered for each client on its own; only what is stored may be validated, and as a whole.
        let own = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];
        for name in own {
            request.headers_mut().remove(name);
        }
        // A status is asked for whole: a 304 would not say how its job is.
        let is_status = self.asked.route().tells_of_jobs();
        if let Some((stale, _)) = self.missed.stale.as_ref().filter(|_| !is_status) {
            stale.add_conditions(request.headers_mut());
        }
        if let Some(part) = &self.missed.part {
            part.ask(request.headers_mut());
        }
        let response = self.asked.route().upstream.send(request, None).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::UnaskedUpgrade);
        }
        Ok(response)
    }

    /// Whether the answer to a HEAD is news of a stored body. Without validators it cannot tell another body of the same
    /// length: it is none where the body says how long it is good, or the operator alone does.
    fn believes_heads(&self) -> bool {
        let route = self.asked.route();
        route.cache.mode == Mode::Standard && !route.taps_body()
    }

    /// Whether a stale response may serve where the upstream cannot be reached.
    fn has_substitute(&self) -> bool {
        self.missed.stale.as_ref().is_some_and(|(_, usable)| usable.when_disconnected)
    }

    /// No response: a stale one may serve instead.
    fn fall_back(&self, producer: Producer<Sharing>, refusal: Refusal) {
        self.land(&producer);
        match &self.missed.stale {
            Some((stale, usable)) if usable.when_disconnected && refusal.is_upstream_failure() => {
                let forwarded = Forwarded { detail: Some("stale-if-error"), ..self.forwarded() };
                self.share(&producer, SharedHead::Stored(stale.clone(), forwarded));
                producer.finish(None);
            }
            _ => producer.fail(refusal),
        }
    }

    /// A response that answers: to the one who began alone, or to all as it streams.
    async fn deliver(
        &self,
        producer: Producer<Sharing>,
        exchange: &cache::Exchange<'_>,
        mut parts: response::Parts,
        mut body: ResponseBody,
        permit: Option<Permit>,
    ) {
        let told = match Watch::of(&self.asked) {
            Some(watch) => Some(Box::pin(watch.read(exchange.requested, &parts, &mut body)).await),
            None => None,
        };
        let usual = &self.asked.route().cache;
        let policy = told.as_ref().map_or(usual, |told| told.cache_policy(usual));
        let judgement = self.state.cache.judge(policy, exchange, &parts);
        if let Some(told) = &told {
            told.tell(&mut parts.headers);
        }
        let mut plan = judgement.verdict.ok();
        if plan.is_none()
            && let Some((stale, _)) = &self.missed.stale
            && takes_the_place_of_what_is_stored(parts.status)
            && (self.asked.parts.method != Method::HEAD || self.believes_heads())
        {
            self.state.cache.forget(producer.mark(), stale);
        }
        let forwarded = Forwarded {
            stored: plan.as_ref().is_some_and(|plan| plan.is_certain(&parts.headers)),
            ttl: plan
                .as_ref()
                .filter(|plan| !plan.is_by_body())
                .map(|plan| i64::try_from(plan.ttl().as_secs()).unwrap_or(i64::MAX)),
            detail: plan.as_ref().filter(|plan| plan.is_by_body()).map(|_| "ttl-by-body"),
            ..self.forwarded()
        };
        // What is stored is everybody's already.
        let is_own_fault = plan.is_none() && blames_the_request(parts.status);
        if is_own_fault || !self.may_be_shared(&judgement.facts, &parts) {
            // The next request may be at no fault: nobody need be kept from waiting behind it.
            if !is_own_fault && !self.is_background {
                self.state.flights.remember_unshareable(self.key);
            }
            self.land(&producer);
            let forwarded = self.forwarded();
            return producer.release(Private {
                response: Response::from_parts(parts, body),
                permit,
                forwarded,
            });
        }
        if self.is_solo {
            self.state.flights.forget_unshareable(self.key);
        }
        let selecting = cache::SelectingFields::of(judgement.facts.vary.names(), &self.asked.parts.headers);
        let personal = judgement.facts.personal_fields().into();
        let head = LiveHead { parts: copy(&parts), personal, selecting, forwarded };
        if body.is_end_stream() {
            self.keep(&producer, plan.take(), &parts, None);
            self.land(&producer);
        }
        self.share(&producer, SharedHead::Live(Box::new(head)));
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
            StatusCode::OK if self.asked.parts.method == Method::HEAD && self.believes_heads() => {
                let freshened = self.state.cache.freshen(producer.mark(), policy, stale, exchange, parts)?;
                let is_for_all = self.is_for_all(&freshened.facts);
                is_for_all.then(|| SharedHead::Stored(freshened.selected, forwarded))
            }
            StatusCode::NOT_MODIFIED => {
                let freshened = self.state.cache.freshen(producer.mark(), policy, stale, exchange, parts)?;
                if !self.is_for_all(&freshened.facts) {
                    return None;
                }
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
        mut producer: Producer<Sharing>,
        parts: response::Parts,
        mut body: ResponseBody,
        mut plan: Option<Plan>,
    ) {
        let patience = self.asked.route().upstream.patience().body;
        let retain = match &plan {
            Some(plan) => plan.max_object(),
            None if self.is_solo => 0,
            None => KEPT_FOR_JOINERS,
        };
        let (length, mut received) = (body.size_hint().exact(), 0);
        // Who is told 304 by the head has left already, and has not lost interest.
        let is_known =
            cache::evaluate(&self.asked.parts.headers, &parts.headers) == Precondition::NotModified;
        let mut trailers = None;
        loop {
            let is_worth_finishing = plan.as_ref().is_some_and(|plan| received <= plan.max_object())
                && (is_known || is_mostly_there(received, length));
            let may_break_off = !self.is_background && !is_worth_finishing;
            let frame = tokio::select! {
                biased;
                () = self.given_up(&producer), if may_break_off => return,
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                self.keep_beginning(&producer, &parts, plan.as_ref());
                return self.land(&producer);
            };
            match frame.into_data() {
                Ok(data) => {
                    received += data.len() as u64;
                    // Nobody joins who has the last byte already: the answer is stored by then, or it was not for later.
                    if body.is_end_stream() {
                        self.keep(&producer, plan.take(), &parts, Some(&data));
                        self.land(&producer);
                    }
                    if producer.push(data, retain, patience).await.is_err() {
                        return self.land(&producer);
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        self.keep(&producer, plan, &parts, None);
        self.land(&producer);
        producer.finish(trailers);
    }

    /// What came of a response that broke off may be completed later; a completion that did is not to be trusted.
    fn keep_beginning(&self, producer: &Producer<Sharing>, parts: &response::Parts, plan: Option<&Plan>) {
        if self.missed.reason == Forward::Partial {
            return;
        }
        if let (Some(plan), Some(chunks)) = (plan, producer.whole()) {
            let (cache, request) = (&self.state.cache, &self.asked.parts.headers);
            let stored = cache.store_beginning(producer.mark(), plan, request, parts, chunks);
            if let Err(reason) = stored {
                tracing::debug!(?reason, route = %self.asked.route().name, "no beginning is stored");
            }
        }
    }

    /// Stores what came whole, where there is a plan for it; `last` is still to be handed out.
    fn keep(
        &self,
        producer: &Producer<Sharing>,
        plan: Option<Plan>,
        parts: &response::Parts,
        last: Option<&Bytes>,
    ) {
        let Some((plan, chunks)) = plan.zip(producer.whole()) else { return };
        let (cache, fetch) = (&self.state.cache, producer.mark());
        let chunks = chunks.into_iter().chain(last.cloned());
        if let Err(reason) = cache.store(fetch, &plan, &self.asked.parts.headers, parts, chunks) {
            if let (NotStored::Unstorable(_), Some((stale, _))) = (reason, &self.missed.stale) {
                cache.forget(fetch, stale);
            }
            tracing::debug!(?reason, route = %self.asked.route().name, "not stored");
        }
    }

    /// Whether everybody in the flight may have this response, or only the one who began it.
    fn may_be_shared(&self, facts: &ResponseFacts, parts: &response::Parts) -> bool {
        // A 304 that nobody asked for means something to the one client at most that it may have been meant for.
        let is_whole = !matches!(parts.status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        let is_endless = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        is_whole && !is_endless && self.is_for_all(facts)
    }

    /// Whether a response that says this of itself is for all in the flight. They have the same credentials, unless the
    /// route collapses across them; without credentials, nobody knows who is who.
    fn is_for_all(&self, facts: &ResponseFacts) -> bool {
        let is_among_one = self.asked.is_credentialed() && self.asked.route().collapse == Collapse::Identity;
        facts.vary != Vary::Anything && (is_among_one || !facts.is_personal())
    }

    fn forwarded(&self) -> Forwarded {
        Forwarded::because(self.missed.reason)
    }

    /// Waits until nobody takes part any more, nor can.
    async fn given_up(&self, producer: &Producer<Sharing>) {
        loop {
            producer.abandoned().await;
            if self.state.flights.give_up(self.key, producer) {
                return;
            }
        }
    }

    fn share(&self, producer: &Producer<Sharing>, head: SharedHead) {
        producer.share(Fetched { head, queued: self.queued });
    }

    fn land(&self, producer: &Producer<Sharing>) {
        self.state.flights.land(self.key, producer);
    }
}

/// Whether an answer that is not stored, be it to a HEAD, speaks against what is (RFC 9111 4.3.3, 4.3.5): an error or a
/// refusal that passes does not.
fn takes_the_place_of_what_is_stored(status: StatusCode) -> bool {
    let is_gone = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    status.is_success() || status.is_redirection() || is_gone
}

/// Whether what is missing of a body is worth its while although nobody waits for it.
fn is_mostly_there(received: u64, length: Option<u64>) -> bool {
    length.is_some_and(|length| received >= length.div_ceil(2))
}

/// Whether an answer may be about the request that was sent rather than what it asks for: too much from this client,
/// not with these fields.
fn blames_the_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Whether an answer makes sense only to who has asked for a range.
fn is_about_a_range(status: StatusCode) -> bool {
    matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// A copy for each who gets the head; extensions stay behind.
pub(super) fn copy(parts: &response::Parts) -> response::Parts {
    let mut copy = Response::new(()).into_parts().0;
    copy.status = parts.status;
    copy.headers = parts.headers.clone();
    copy
}
