//! What becomes of a response: who gets it, and what of it is stored.

use bytes::Bytes;
use http::{Method, Response, StatusCode, response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{Fetch, copy};
use crate::admission::Permit;
use crate::cache::{self, Forward, Forwarded, Gathering, NotStored, Plan, Precondition, ResponseFacts};
use crate::collapse::Producer;
use crate::http::fields;
use crate::policy::{LiveHead, Private, SharedHead, Sharing};
use crate::proxy::job::Watch;
use crate::upstream::ResponseBody;

/// How much of a body that is not stored is kept for those who join while it streams, in bytes.
const KEPT_FOR_JOINERS: u64 = 512 * 1024;
/// As long as all flights, of bodies that will be stored too, keep no more than this: else some clients that do not read
/// would have us keep half a megabyte for each of their requests.
const ALL_KEPT_FOR_JOINERS: u64 = 16 * 1024 * 1024;

impl Fetch {
    /// A response that answers: to the one who began alone, or to all as it streams.
    pub(super) async fn deliver(
        &self,
        producer: Producer<Sharing>,
        exchange: &cache::Exchange<'_>,
        mut parts: response::Parts,
        mut body: ResponseBody,
        permit: Option<Permit>,
    ) {
        let job = match Watch::of(&self.asked) {
            Some(watch) => Some(Box::pin(watch.read(exchange.requested, &parts, &mut body)).await),
            None => None,
        };
        let usual = &self.asked.route().cache;
        let policy = job.as_ref().map_or(usual, |job| job.cache_policy(usual));
        let judgement = self.state.cache.judge(policy, exchange, &parts);
        if let Some(job) = &job {
            job.tell(&mut parts.headers);
        }
        let is_head = self.asked.parts.method == Method::HEAD;
        let plan = judgement.verdict.ok().filter(|_| !is_head || self.believes_heads());
        if plan.as_ref().is_none_or(Plan::is_head_only)
            && let Some((stale, _)) = &self.missed.stale
            && takes_the_place_of_what_is_stored(parts.status)
            && (!is_head || self.believes_heads())
        {
            self.state.cache.forget(producer.mark(), stale);
        }
        let forwarded = self.told(plan.as_ref(), &parts);
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
        let length = body.size_hint().exact();
        let mut gathering = plan.map(|plan| self.state.cache.gather(plan, length));
        if body.is_end_stream() {
            self.keep(&producer, gathering.take(), &parts);
            self.land(&producer);
        }
        self.share(&producer, SharedHead::Live(Box::new(head)));
        self.stream(producer, parts, body, gathering).await;
        drop(permit);
    }

    /// What `Cache-Status` tells of a response that is to be stored by this plan.
    fn told(&self, plan: Option<&Plan>, parts: &response::Parts) -> Forwarded {
        let Some(plan) = plan else { return self.forwarded() };
        let is_by_body = plan.is_by_body();
        Forwarded {
            stored: plan.is_certain(&parts.headers),
            ttl: (!is_by_body).then(|| i64::try_from(plan.ttl().as_secs()).unwrap_or(i64::MAX)),
            detail: is_by_body.then_some("ttl-by-body"),
            ..self.forwarded()
        }
    }

    /// Hands the body on as it comes; what came whole is stored before the flight ends, so that no second fetch slips
    /// in between.
    async fn stream(
        &self,
        mut producer: Producer<Sharing>,
        parts: response::Parts,
        mut body: ResponseBody,
        mut gathering: Option<Gathering>,
    ) {
        let patience = self.asked.route().upstream.patience().body;
        let (length, mut received) = (body.size_hint().exact(), 0);
        // Who is told 304 by the head has left already, and has not lost interest.
        let is_known = !self.is_conditional
            && cache::evaluate(&self.asked.parts.headers, &parts.headers) == Precondition::NotModified;
        let mut trailers = None;
        loop {
            let is_worth_finishing = gathering.is_some() && (is_known || is_mostly_there(received, length));
            let may_break_off = !self.is_background && !is_worth_finishing;
            let frame = tokio::select! {
                biased;
                () = self.given_up(&producer), if may_break_off => return,
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                self.keep_beginning(&producer, &parts, gathering);
                return self.land(&producer);
            };
            match frame.into_data() {
                Ok(mut data) => {
                    received += data.len() as u64;
                    let mut is_left = true;
                    while is_left {
                        let piece = gather(&mut gathering, &mut data);
                        is_left = !data.is_empty();
                        let retain = self.retained(gathering.as_ref());
                        // Nobody joins who has the last byte already: the answer is stored by then, or it was not for later.
                        if !is_left && body.is_end_stream() {
                            self.keep(&producer, gathering.take(), &parts);
                            self.land(&producer);
                        }
                        if producer.push(piece, retain, patience).await.is_err() {
                            return self.land(&producer);
                        }
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        self.keep(&producer, gathering, &parts);
        self.land(&producer);
        producer.finish(trailers);
    }

    /// How much of a body is kept for those who join while it streams: all of what will be stored.
    fn retained(&self, gathering: Option<&Gathering>) -> u64 {
        match gathering {
            Some(gathering) => gathering.plan().max_object(),
            None if self.is_solo || self.state.flights.retained() > ALL_KEPT_FOR_JOINERS => 0,
            None => KEPT_FOR_JOINERS,
        }
    }

    /// What came of a response that broke off may be completed later; a completion that did is not to be trusted.
    fn keep_beginning(
        &self,
        producer: &Producer<Sharing>,
        parts: &response::Parts,
        gathering: Option<Gathering>,
    ) {
        if self.missed.reason == Forward::Partial {
            return;
        }
        let Some(gathering) = gathering else { return };
        let stored = gathering.store_beginning(producer.mark(), &self.asked.parts.headers, parts);
        if let Err(reason) = stored {
            tracing::debug!(?reason, route = %self.asked.route().name, "no beginning is stored");
        }
    }

    /// Stores what came whole, where that was gathered.
    fn keep(&self, producer: &Producer<Sharing>, gathering: Option<Gathering>, parts: &response::Parts) {
        let (Some(gathering), fetch) = (gathering, producer.mark()) else { return };
        if let Err(reason) = gathering.store(fetch, &self.asked.parts.headers, parts) {
            if let (NotStored::Unstorable(_), Some((stale, _))) = (reason, &self.missed.stale) {
                self.state.cache.forget(fetch, stale);
            }
            tracing::debug!(?reason, route = %self.asked.route().name, "not stored");
        }
    }

    /// Whether everybody in the flight may have this response, or only the one who began it.
    fn may_be_shared(&self, facts: &ResponseFacts, parts: &response::Parts) -> bool {
        let is_answer = match parts.status {
            StatusCode::PARTIAL_CONTENT => false,
            // One that not all have asked for means something to the one client at most that it may have been meant for.
            StatusCode::NOT_MODIFIED => self.is_conditional,
            _ => true,
        };
        is_answer && !fields::is_event_stream(&parts.headers) && self.is_for_all(facts)
    }
}

/// As much of a chunk as is handed on at once: where it is gathered, the very bytes that are kept.
fn gather(gathering: &mut Option<Gathering>, data: &mut Bytes) -> Bytes {
    gathering.as_mut().and_then(|gathering| gathering.add(data)).unwrap_or_else(|| {
        *gathering = None;
        std::mem::take(data)
    })
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
