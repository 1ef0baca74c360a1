//! The proxy: one request, from top to bottom.
//!
//! ```text
//! receive -> route -> identify -> rate limits -> cache lookup (a fresh hit ends here)
//!   -> collapse (a follower waits here, holding no permit) -> upstream-charged limits -> in-flight permit, or queue
//!   -> upstream -> store while streaming -> answer
//! ```
//!
//! Every stage is a plain type with one verb, and they meet only here. Two ways lead to the upstream: `flight` for what
//! may be shared or stored (its task is `fetch`), `direct` for everything else (what changes something: a `write`). A
//! start that may be the same as another goes through `dedupe` first.

pub(crate) mod alone;
pub(crate) mod asked;
mod body;
mod compress;
mod dedupe;
mod direct;
mod exchange;
mod fetch;
mod flight;
pub(crate) mod intake;
mod job;
mod mishap;
mod part;
mod post;
mod request_id;
mod tunnel;
mod warm;
mod write;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;

use self::alone::Alone;
use self::asked::Asked;
pub use self::body::Body;
use self::exchange::Exchange;
pub use self::job::{keep_jobs, restore_jobs};
pub use self::warm::Warmed;
use crate::boxed;
use crate::cache::{CACHE_STATUS, CacheStatus, Completion, Forward, Forwarded, Lookup, Selected, StaleUse};
use crate::http::fields::Present;
use crate::metrics::CacheResult;
use crate::policy::{Policy, State};
use crate::refusal::{ALLOWED_METHODS, Refusal};
use crate::server::{Answering, Bounds, Handler, Peer, Tls};

/// The proxy: what survives reloads, and the policy in force.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// What survives reloads.
    pub state: Arc<State>,
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
}

impl Handler for Proxy {
    type Body = Body;

    fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: &Arc<Peer>) -> Answering<Body> {
        let panics = &self.state.listener.panics;
        let present = Present::of(request.headers());
        let mut exchange = boxed::in_place(|| Exchange::begin(&self.state, &request, present, peer));
        let (parts, body) = request.into_parts();
        let parts = Box::new(parts);
        let is_awaited = !body.is_end_stream() && present.has_expect();
        let step = mishap::caught(|| self.at_once(parts, present, Some(&body), &mut exchange), panics);
        let (refusal, recycled) = match step {
            Ok(Step::Answered(mut response)) => {
                exchange.answered(&mut response);
                return Answering::now(response);
            }
            Ok(Step::Onward(asked, missed)) => {
                let proxy = Arc::clone(self);
                return Answering::later(|| proxy.onward(asked, missed, (body, is_awaited), exchange));
            }
            Ok(Step::Refused(refusal, headers)) => (refusal, headers),
            Err(refusal) => (refusal, HeaderMap::new()),
        };
        if body.is_end_stream() {
            return Answering::now(exchange.refused(&refusal, recycled));
        }
        Answering::later(|| intake::settled(body, is_awaited, exchange, refusal))
    }

    fn bounds(&self) -> Bounds {
        self.policy.load().listener.bounds
    }

    fn tls(&self) -> Option<Tls> {
        self.policy.load().tls.clone()
    }

    fn seats(&self, address: IpAddr) -> Option<usize> {
        let policy = self.policy.load();
        let most = policy.listener.max_connections_per_ip.of(address)?;
        (!policy.trusted_proxies.is_trusted(address)).then_some(most)
    }
}

/// What the stages that never wait have come to.
enum Step {
    Answered(Response<Body>),
    /// By a limit, and the request's map for the answer: refusals by the thousand need no map of their own.
    Refused(Refusal, HeaderMap),
    /// On to the upstream; what was missed in the store, unless the request has no business there.
    Onward(Box<Asked>, Option<Box<Missed>>),
}

/// A request that no stored response answers, and why.
#[derive(Debug)]
struct Missed {
    reason: Forward,
    /// What is stored, to be validated or to serve in place of an error.
    stale: Option<(Selected, StaleUse)>,
    /// What is stored of the whole, to be completed.
    part: Option<Box<Completion>>,
}

impl Missed {
    /// Whether the request's own conditions go to the upstream.
    fn leaves_conditions_to_origin(&self, asked: &Asked) -> bool {
        self.stale.is_none() && self.part.is_none() && asked.has_conditions_for_origin()
    }
}

impl Proxy {
    /// The stages that never wait: receive, route, identify, rate limits, cache lookup.
    fn at_once(
        &self,
        parts: Box<Parts>,
        present: Present,
        body: Option<&Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Step, Refusal> {
        let asked = intake::receive(parts, present, body, &self.policy.load(), &self.state, exchange)?;
        let Some(mut asked) = asked else { return Ok(Step::Answered(about_the_server())) };
        if asked.may_be_repeated() {
            // Charged when it is known that no equal one is under way.
            return Ok(Step::Onward(asked, None));
        }
        if !exchange.is_own
            && let Err(refusal) = exchange.charge(&asked, &asked.route().rate_limits)
        {
            return Ok(Step::Refused(refusal, std::mem::take(&mut asked.parts.headers)));
        }
        let is_part = match asked.alone() {
            None => false,
            Some(Alone::Range) => true,
            Some(_) => return Ok(Step::Onward(asked, None)),
        };
        let query = asked.query(exchange.began);
        let found = self.state.cache.lookup(query);
        if is_part
            && matches!(found, Lookup::Forward(_) | Lookup::OnlyIfCached)
            && let Some(answer) = self.answer_from_part(query, exchange)
        {
            return Ok(Step::Answered(answer));
        }
        let missed = match found {
            Lookup::Fresh(selected) => {
                exchange.count_cache(CacheResult::Hit);
                return Ok(Step::Answered(answer(&selected, asked, is_part)));
            }
            Lookup::Stale(selected, usable) if usable.while_revalidate => {
                self.refresh(&asked, &selected, usable, exchange);
                exchange.count_cache(CacheResult::Stale);
                return Ok(Step::Answered(answer(&selected, asked, is_part)));
            }
            Lookup::Stale(selected, usable) => {
                Missed { reason: usable.reason, stale: Some((selected, usable)), part: None }
            }
            Lookup::Forward(reason) => self.missed(query, reason, is_part),
            Lookup::OnlyIfCached => return Err(Refusal::OnlyIfCached),
        };
        Ok(Step::Onward(asked, Some(Box::new(missed))))
    }

    /// The stages that wait, and then the answer.
    async fn onward(
        self: Arc<Self>,
        asked: Box<Asked>,
        missed: Option<Box<Missed>>,
        (body, is_awaited): (Incoming, bool),
        mut exchange: Box<Exchange>,
    ) -> Response<Body> {
        let mut body = Some(body);
        let answer = {
            let answer = pin!(self.in_time(asked, missed, &mut body, &mut exchange));
            mishap::caught_in_time(answer, &self.state.listener.panics).await
        };
        match answer {
            Ok(mut response) => {
                exchange.answered(&mut response);
                response
            }
            Err(refusal) => match body.take_if(|body| !body.is_end_stream()) {
                Some(body) => Box::pin(intake::settled(body, is_awaited, exchange, refusal)).await,
                None => exchange.refused(&refusal, HeaderMap::new()),
            },
        }
    }

    /// The stages that wait: collapse, upstream-charged limits, permit or queue, upstream. The body is taken by the one
    /// that sends it.
    async fn in_time(
        &self,
        asked: Box<Asked>,
        missed: Option<Box<Missed>>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        match asked.route().timeout {
            None => self.in_any_time(asked, missed, body, exchange).await,
            Some(limit) => Box::pin(self.within(limit, asked, missed, body, exchange)).await,
        }
    }

    /// The same within the route's timeout.
    async fn within(
        &self,
        limit: Duration,
        asked: Box<Asked>,
        missed: Option<Box<Missed>>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let (began, route) = (exchange.began, Arc::clone(asked.route()));
        let deadline = began + limit;
        let answer = self.in_any_time(asked, missed, body, exchange);
        let answer = tokio::time::timeout_at(deadline, answer).await;
        if let (Err(_), Some(queued)) = (&answer, exchange.queued)
            && let Some(handed_over) = exchange.handed_over(began + queued)
        {
            route.report(handed_over, deadline, None);
        }
        answer
            .unwrap_or(Err(Refusal::ExchangeTimeout))
            .map(|response| response.map(|body| body.until(deadline)))
    }

    /// The ways to the upstream. The plain one runs here, the others in boxes of their own: it must not carry the memory
    /// that they need.
    async fn in_any_time(
        &self,
        asked: Box<Asked>,
        missed: Option<Box<Missed>>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        match missed {
            // What is stored is validated as a whole, and then cut.
            Some(missed) if missed.stale.is_some() || asked.may_share() => {
                Box::pin(self.fly(asked, *missed, exchange)).await
            }
            Some(missed) => Box::pin(self.fetch_part(asked, missed.reason, exchange)).await,
            None if asked.may_be_repeated() => Box::pin(self.once(asked, body, exchange)).await,
            None => {
                let reason = if asked.parts.method.is_safe() { Forward::Bypass } else { Forward::Method };
                // As in `forward`, which would be one future more on the usual way. Nothing has waited since the head was read:
                // that moment is now.
                let admitted = self.let_through(&asked, exchange, exchange.began).await?;
                self.send_on(asked, body, reason, exchange, admitted).await
            }
        }
    }
}

/// An answer to a hit. The request's own map becomes the response's, so that a hit needs no map of its own.
fn answer(selected: &Selected, mut asked: Box<Asked>, is_part: bool) -> Response<Body> {
    let headers = std::mem::take(&mut asked.parts.headers);
    let from = if is_part { part::answer_from } else { answer_from };
    from(selected, &asked.parts.method, headers, None)
}

/// An answer from a stored response, in the map of a request with this method; `forwarded` where the upstream was asked
/// about it.
fn answer_from(
    selected: &Selected,
    method: &Method,
    headers: HeaderMap,
    forwarded: Option<Forwarded>,
) -> Response<Body> {
    let precondition = selected.evaluate(&headers);
    let (status, headers, body) = selected.answer(method, precondition, forwarded, headers);
    let mut response = Response::new(body.map_or_else(Body::empty, Body::stored));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The answer to `OPTIONS *`, which asks about forebay itself (RFC 9110 section 9.3.7).
fn about_the_server() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, ALLOWED_METHODS);
    response
}

/// The `Cache-Status` of an answer that came from the upstream; what caches before us said stays in front of it.
fn tell_cache_status(response: &mut Response<Body>, forwarded: Forwarded) {
    response.headers_mut().append(CACHE_STATUS, CacheStatus::Forwarded(forwarded).value());
}

#[cfg(test)]
mod tests;
