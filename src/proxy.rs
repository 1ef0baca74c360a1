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

mod body;
mod detach;
mod direct;
mod exchange;
mod flight;
mod intake;
mod mishap;
mod request_id;
mod tunnel;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response, header};
use hyper::body::Incoming;

pub use self::body::Body;
use self::exchange::Exchange;
use self::intake::Asked;
use crate::cache::{CacheStatus, Forward, Forwarded, Lookup, Selected};
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
    pub policy: ArcSwap<Policy>,
}

impl Handler for Proxy {
    type Body = Body;

    async fn handle(&self, request: Request<Incoming>, peer: &Arc<Peer>) -> Response<Body> {
        let mut exchange = Exchange::begin(&self.state, &request, peer);
        let answer = mishap::caught(self.answer(request, peer, &mut exchange), &self.state.listener.panics).await;
        match answer {
            Ok(response) => exchange.answered(response),
            Err(refusal) => exchange.refused(&refusal),
        }
    }

    fn bounds(&self) -> Bounds {
        self.policy.load().listener.bounds
    }
}

/// A stored response that could not be used as it is, and why the request goes on.
#[derive(Debug)]
struct Missed {
    reason: Forward,
    stale: Option<Selected>,
}

impl Proxy {
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Arc<Peer>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let (asked, body) = intake::receive(request, peer, &self.policy, &self.state, exchange).await?;
        exchange.charge(&asked, &asked.route.rate_limits)?;
        let missed = match self.look_up(&asked) {
            Lookup::Fresh(selected) => return Ok(answer_from_store(&selected, asked, CacheResult::Hit, exchange)),
            Lookup::Stale(selected, usable) if usable.while_revalidate => {
                self.refresh(&asked, selected.clone());
                return Ok(answer_from_store(&selected, asked, CacheResult::Stale, exchange));
            }
            Lookup::Stale(selected, _) => Missed { reason: Forward::Stale, stale: Some(selected) },
            Lookup::Forward(reason) => Missed { reason, stale: None },
            Lookup::OnlyIfCached => return Err(Refusal::OnlyIfCached),
        };
        let limit = asked.route.timeout;
        let answer = async {
            if asked.may_share() {
                self.fly(asked, missed, exchange).await
            } else {
                self.forward(asked, body, missed.reason, exchange).await
            }
        };
        match limit {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or(Err(Refusal::ExchangeTimeout)),
        }
    }

    fn look_up(&self, asked: &Asked) -> Lookup {
        if !asked.may_share() {
            return Lookup::Forward(if asked.parts.method.is_safe() { Forward::Bypass } else { Forward::Method });
        }
        let now = self.state.clock.now();
        self.state.cache.lookup(&asked.route.cache, asked.storage_key(), &asked.parts, asked.is_credentialed(), now)
    }
}

/// The end for a request that a stored response serves: nothing is asked, nothing is held.
fn answer_from_store(
    selected: &Selected,
    asked: Asked,
    result: CacheResult,
    exchange: &mut Exchange,
) -> Response<Body> {
    exchange.count_cache(result);
    let (status, headers, body) = selected.answer(asked.parts);
    let mut response = Response::new(body.map_or(Body::empty(), Body::stored));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The `Cache-Status` of an answer that came from the upstream.
fn tell_cache_status(response: &mut Response<Body>, forwarded: Forwarded) {
    let status = CacheStatus::Forwarded(forwarded).value();
    response.headers_mut().append(header::HeaderName::from_static("cache-status"), status);
}
