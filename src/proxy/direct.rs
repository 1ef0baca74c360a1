//! The way to the upstream for everything that is this request's own: writes, uploads, ranges, streams, upgrades.
//!
//! Promises: what is still queued is dropped when its client leaves; a safe request ends with its client; a write that was
//! sent does not, see [`write`](super::write).

use std::sync::Arc;

use http::header::{HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::asked::Asked;
use super::exchange::Exchange;
use super::job::{Birth, StartBody, Starting, Watch};
use super::post::ForGet;
use super::write::{Writing, write};
use super::{Body, Proxy, tell_cache_status, tunnel};
use crate::admission::Permit;
use crate::boxed;
use crate::cache::{Forward, Forwarded};
use crate::http::body::{RequestBody, UploadBounds, UploadOutcome};
use crate::metrics::CacheResult;
use crate::policy::Route;
use crate::refusal::Refusal;
use crate::upstream::{self, ResponseBody};

/// That a request was let through, with what it holds for that.
pub(super) struct Admitted {
    /// Where the route has a pool.
    pub(super) permit: Option<Permit>,
    /// When.
    pub(super) at: Instant,
}

/// A response with what must live as long as its body.
pub(super) struct Obtained {
    pub(super) response: Response<ResponseBody>,
    pub(super) permit: Option<Permit>,
    /// The job that the body is to name, and that the permit is for.
    pub(super) birth: Option<Box<Birth>>,
    /// Under what it may be stored for later GETs.
    pub(super) for_get: Option<Box<ForGet>>,
}

impl Proxy {
    /// Sends a request on, alone. The body is taken when the request is let through.
    pub(super) async fn forward(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        reason: Forward,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let admitted = self.let_through(&asked, exchange, self.state.clock.now()).await?;
        self.send_on(asked, body, reason, exchange, admitted).await
    }

    /// The permit, where the route has a pool, and what the upstream's limits charge. It is let through `now`
    /// where it need not wait.
    pub(super) async fn let_through(
        &self,
        asked: &Asked,
        exchange: &mut Exchange,
        now: Instant,
    ) -> Result<Admitted, Refusal> {
        exchange.charge(asked, &asked.route().upstream_rate_limits)?;
        if asked.route().in_flight.is_none() {
            return Ok(Admitted { permit: None, at: now });
        }
        asked.route().upstream.expect_a_server(now)?;
        // In a box of its own: the usual way stays small.
        let permit = Box::pin(asked.admit()).await?;
        Ok(Admitted { permit, at: self.state.clock.now() })
    }

    /// Sends on a request that was let through.
    pub(super) async fn send_on(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        reason: Forward,
        exchange: &mut Exchange,
        Admitted { permit, at: admitted }: Admitted,
    ) -> Result<Response<Body>, Refusal> {
        exchange.queued = permit.as_ref().map(Permit::waited);
        let route = Arc::clone(asked.route());
        let watch = Watch::of(&asked);
        let mut starting = Starting::of(&self.state, &asked);
        if let Some(starting) = &mut starting {
            Box::pin(starting.written_down()).await;
        }
        let writing = Writing::begin(&self.state, &self.policy, &asked);
        let has_upgrade = asked.present.has_upgrade();
        let (mut request, upload) = self.outgoing(asked, body, exchange);
        exchange.upload.clone_from(&upload);
        let protocol = has_upgrade.then(|| request.headers().get(UPGRADE).cloned()).flatten();
        let upgrade = protocol.map(|protocol| (hyper::upgrade::on(&mut *request), protocol));
        let obtained = if let Some(writing) = writing {
            let tasks = self.state.afterlife.tasks.clone();
            Box::pin(write(Arc::clone(&route), request, upload.clone(), permit, writing, starting, tasks))
                .await
        } else {
            route.upstream.send(request, None, admitted).await.map(|response| Obtained {
                response,
                permit,
                birth: None,
                for_get: None,
            })
        };
        let received = obtained.as_ref().ok().map(|obtained| obtained.response.body().received());
        let answered = received.unwrap_or_else(|| self.state.clock.now());
        if let Some(handed_over) = exchange.handed_over(admitted) {
            let status = obtained.as_ref().ok().map(|obtained| obtained.response.status());
            route.report(handed_over, answered, status);
        }
        let mut obtained = obtained.map_err(|error| blame(error, upload.as_ref()))?;
        exchange.upstream = Some(answered.saturating_duration_since(admitted));
        exchange.count_cache(CacheResult::Bypass);
        if let Some(watch) = watch
            && obtained.response.status() != StatusCode::SWITCHING_PROTOCOLS
        {
            obtained.response = Box::pin(watch.read_and_tell(admitted, obtained.response)).await;
        }
        self.answer_with(obtained, upgrade, &route, (admitted, answered), reason)
    }

    /// The answer that was obtained, as it goes to the client.
    fn answer_with(
        &self,
        obtained: Obtained,
        upgrade: Option<(OnUpgrade, HeaderValue)>,
        route: &Route,
        (admitted, answered): (Instant, Instant),
        reason: Forward,
    ) -> Result<Response<Body>, Refusal> {
        let Obtained { response, permit, birth, for_get } = obtained;
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (client, protocol) = upgrade.ok_or(Refusal::UnaskedUpgrade)?;
            tunnel::prepare_answer(&mut parts, &protocol)?;
            tunnel::open(&self.state.afterlife, client, body, permit, route.idle_timeout);
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let body = match birth {
            Some(birth) => Body::start(StartBody::new(body, birth)),
            None => {
                let collection =
                    for_get.and_then(|for_get| for_get.collect(&self.state, admitted, answered, &parts));
                let end = &self.state.afterlife.end;
                Body::upstream(&parts.headers, body, permit, end).collected(collection)
            }
        };
        let mut response = Response::from_parts(parts, body);
        tell_cache_status(&mut response, Forwarded::because(reason));
        Ok(response)
    }

    /// The request as it is sent, and how its upload fares.
    fn outgoing(
        &self,
        mut asked: Box<Asked>,
        body: &mut Option<Incoming>,
        exchange: &Exchange,
    ) -> (Box<Request<RequestBody>>, Option<UploadOutcome>) {
        let (has_body, read) = (asked.has_body, asked.upload.take());
        let whole = |asked: Box<Asked>, body| {
            boxed::in_place(|| Request::from_parts(asked.into_outgoing(exchange), body))
        };
        if let Some((read, _room)) = read {
            return (whole(asked, RequestBody::Whole(Box::new(read))), None);
        }
        let Some(incoming) = body.take().filter(|_| has_body) else {
            return (whole(asked, RequestBody::Empty), None);
        };
        let route = Arc::clone(asked.route());
        let mut parts = asked.into_outgoing(exchange);
        let listener = self.policy.load().listener;
        let (most, min_rate) = (listener.max_body_bytes, listener.min_body_rate);
        let patience = route.upstream.patience().body;
        let is_http2 = exchange.peer.watch.is_http2();
        let bounds = UploadBounds { most, patience, min_rate, is_http2 };
        let (body, outcome) = RequestBody::upload(incoming, bounds, self.state.clock);
        if body.size_hint().exact().is_none() {
            // The library drops a body of unknown length from GET, HEAD and CONNECT unless told that it is chunked.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        (Box::new(Request::from_parts(parts, body)), Some(outcome))
    }
}

/// The client's own fault where there was one: a broken upload is not the upstream's failure.
fn blame(error: upstream::Error, upload: Option<&UploadOutcome>) -> Refusal {
    upload.and_then(UploadOutcome::fault).map_or_else(|| error.into(), Refusal::Upload)
}
