//! The fetch of a flight: a task that belongs to nobody, so that no client that leaves ends it for the others.
//!
//! At the response's head it decides who may have it: everybody in the flight, or the one who began alone. Only then does
//! anybody see a byte. What becomes of the response then is [`delivery`]'s.

mod delivery;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header, request, response};
use tokio::time::Instant;

use super::Missed;
use super::asked::{Asked, CONDITIONS};
use crate::admission::{Permit, ShedReason};
use crate::cache::{self, Forwarded, Mode, ResponseFacts, StaleUse, Vary};
use crate::collapse::{FlightKey, Producer};
use crate::http::body::RequestBody;
use crate::policy::{Collapse, Fetched, SharedHead, Sharing, State};
use crate::refusal::Refusal;
use crate::upstream::ResponseBody;

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
    /// Whether all who take part have the same conditions, which the origin evaluates.
    pub(super) is_conditional: bool,
    /// How long it waited for its permit.
    pub(super) queued: Option<Duration>,
}

impl Fetch {
    /// From the permit to the end of the body.
    pub(super) async fn run(mut self, producer: Producer<Sharing>, outgoing: request::Parts) {
        let state = Arc::clone(&self.state);
        let _landing = state.flights.landing(self.key, &producer);
        let route = Arc::clone(self.asked.route());
        if route.in_flight.is_some()
            && let Err(error) = route.upstream.expect_a_server(state.clock.now())
        {
            return self.fall_back(producer, error.into());
        }
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
                obtained = self.obtain(outgoing.clone(), requested) => obtained,
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
            let Some(body) = self.completed(&mut parts, body) else { continue };
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
    async fn obtain(
        &self,
        outgoing: request::Parts,
        now: Instant,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let mut request = Box::new(Request::from_parts(outgoing, RequestBody::Empty));
        // Answered for each client on its own; what is stored is validated as a whole.
        for name in CONDITIONS.iter().filter(|_| !self.is_conditional) {
            request.headers_mut().remove(name);
        }
        for name in [header::RANGE, header::IF_RANGE] {
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
        let upstream = &self.asked.route().upstream;
        let response = match self.has_substitute() {
            true => upstream.send_once(request, now).await?,
            false => upstream.send(request, None, now).await?,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::UnaskedUpgrade);
        }
        Ok(response)
    }

    /// The whole, where it was asked for what a stored part lacks. `None`: what came is of no use for that, and the whole
    /// is to be asked for.
    fn completed(&mut self, parts: &mut response::Parts, body: ResponseBody) -> Option<ResponseBody> {
        let Some(part) = self.missed.part.take() else { return Some(body) };
        match part.complete(parts) {
            Some(around) => Some(body.within(around.before, around.missing, around.behind)),
            None => (!is_about_a_range(parts.status)).then_some(body),
        }
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
            status if stands_in_for(usable, status) => Some(SharedHead::Stored(
                stale.clone(),
                Forwarded { detail: Some("stale-if-error"), ..forwarded },
            )),
            _ => None,
        }
    }

    /// Whether a response that says this of itself is for all in the flight. They have the same credentials, unless the
    /// route collapses across them; without credentials, nobody knows who is who. A cookie is set for one client.
    fn is_for_all(&self, facts: &ResponseFacts) -> bool {
        let is_among_one = self.asked.is_credentialed() && self.asked.route().collapse == Collapse::Identity;
        facts.vary != Vary::Anything && !facts.sets_cookie && (is_among_one || !facts.is_personal())
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

/// Whether a stale response is better than the error that came (RFC 5861 4; RFC 9111 4.3.3).
fn stands_in_for(usable: &StaleUse, status: StatusCode) -> bool {
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => usable.if_error,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            usable.when_unavailable
        }
        _ => false,
    }
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
