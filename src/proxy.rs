//! The proxy: one request, from top to bottom.
//!
//! ```text
//! receive -> route -> identify -> rate limits -> cache lookup (a fresh hit ends here)
//!   -> collapse (a follower waits here, holding no permit) -> upstream-charged limits -> in-flight permit, or queue
//!   -> upstream -> store while streaming -> answer
//! ```
//!
//! Every stage is a plain type with one verb, and they meet only here. Two ways lead to the upstream: [`flight`] for what
//! may be shared or stored, [`direct`] for everything else.

pub(crate) mod alone;
mod body;
mod detach;
mod direct;
mod exchange;
mod flight;
pub(crate) mod intake;
mod mishap;
mod request_id;
mod tunnel;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

pub use self::body::Body;
use self::exchange::Exchange;
use self::intake::Asked;
use crate::cache::{CACHE_STATUS, CacheStatus, Forward, Forwarded, Lookup, Selected, StaleUse};
use crate::metrics::CacheResult;
use crate::policy::{Policy, State};
use crate::refusal::Refusal;
use crate::server::{Bounds, Handler, Peer};

/// The proxy: what survives reloads, and the policy in force.
#[derive(Debug)]
pub struct Proxy {
    /// What survives reloads.
    pub state: Arc<State>,
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
}

impl Handler for Proxy {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<Body> {
        let mut exchange = Exchange::begin(&self.state, &request, peer);
        let answer =
            mishap::caught(self.answer(request, peer, &mut exchange), &self.state.listener.panics).await;
        match answer {
            Ok(response) => exchange.answered(response),
            Err(refusal) => exchange.refused(&refusal),
        }
    }

    fn bounds(&self) -> Bounds {
        self.policy.load().listener.bounds
    }
}

/// A request that no stored response answers, and why.
#[derive(Debug)]
struct Missed {
    reason: Forward,
    /// What is stored, to be validated or to serve in place of an error.
    stale: Option<(Selected, StaleUse)>,
}

impl Proxy {
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let policy = self.policy.load_full();
        let (asked, body) = intake::receive(request, peer, &policy, &self.state, exchange).await?;
        let mut body = Some(body);
        let limit = asked.route.timeout;
        let answer = self.pass(asked, &mut body, peer, exchange);
        let answer = match limit {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or(Err(Refusal::ExchangeTimeout)),
        };
        match (answer, body) {
            (Err(refusal), Some(body)) => {
                intake::settle(body, &refusal, peer).await;
                Err(refusal)
            }
            (answer, _) => answer,
        }
    }

    /// The stages, in their order. The body is taken by the stage that sends it.
    async fn pass(
        &self,
        asked: Asked,
        body: &mut Option<Incoming>,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route.rate_limits)?;
        if !asked.may_share() {
            let reason = if asked.parts.method.is_safe() { Forward::Bypass } else { Forward::Method };
            return self.forward(asked, body, reason, peer, exchange).await;
        }
        let missed = match self.look_up(&asked) {
            Lookup::Fresh(selected) => {
                exchange.count_cache(CacheResult::Hit);
                return Ok(answer_from(&selected, asked.parts, None));
            }
            Lookup::Stale(selected, usable) if usable.while_revalidate => {
                self.refresh(&asked, &selected, usable, peer, exchange);
                exchange.count_cache(CacheResult::Stale);
                return Ok(answer_from(&selected, asked.parts, None));
            }
            Lookup::Stale(selected, usable) => {
                Missed { reason: usable.reason, stale: Some((selected, usable)) }
            }
            Lookup::Forward(reason) => Missed { reason, stale: None },
            Lookup::OnlyIfCached => return Err(Refusal::OnlyIfCached),
        };
        self.fly(asked, missed, peer, exchange).await
    }

    fn look_up(&self, asked: &Asked) -> Lookup {
        let (cache, key) = (&asked.route.cache, asked.storage_key());
        self.state.cache.lookup(cache, key, &asked.parts, asked.is_credentialed(), self.state.clock.now())
    }
}

/// An answer from a stored response; `forwarded` where the upstream was asked about it. The request's own map becomes
/// the response's, so that a hit needs no memory of its own.
fn answer_from(selected: &Selected, mut parts: Parts, forwarded: Option<Forwarded>) -> Response<Body> {
    let precondition = selected.evaluate(&parts.headers);
    let recycled = std::mem::take(&mut parts.headers);
    let (status, headers, body) = selected.answer(&parts.method, precondition, forwarded, recycled);
    let mut response = Response::new(body.map_or_else(Body::empty, Body::stored));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The `Cache-Status` of an answer that came from the upstream; what caches before us said stays in front of it.
fn tell_cache_status(response: &mut Response<Body>, forwarded: Forwarded) {
    response.headers_mut().append(CACHE_STATUS, CacheStatus::Forwarded(forwarded).value());
}
