//! The way to the upstream for everything that is this request's own: writes, uploads, ranges, streams, upgrades.
//!
//! Promises: what is still queued is dropped when its client leaves; a write that was sent is not: it finishes with its
//! permit, whether its client waits or not. A safe request ends with its client.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use super::detach::detached;
use super::exchange::Exchange;
use super::intake::{Asked, host};
use super::{Body, Proxy, tell_cache_status, tunnel};
use crate::admission::Permit;
use crate::cache::{Fence, Forward, Forwarded};
use crate::http::body::{RequestBody, UploadOutcome};
use crate::metrics::CacheResult;
use crate::policy::Route;
use crate::refusal::Refusal;
use crate::server::Peer;
use crate::upstream::{self, Commitment, Patience, ResponseBody};

/// What of an answer that nobody waits for is read, so that the server is not cut off.
const READ_ALONE: usize = 64 * 1024;

/// A response with what must live as long as its body.
struct Obtained {
    response: Response<ResponseBody>,
    permit: Option<Permit>,
}

impl Proxy {
    /// Sends a request on, alone. The body is taken when the request is let through.
    pub(super) async fn forward(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        reason: Forward,
        peer: &Peer,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route().upstream_rate_limits)?;
        // In a box of its own, and only where there is a pool: the usual way stays small.
        let permit = if asked.route().in_flight.is_some() { Box::pin(asked.admit()).await? } else { None };
        exchange.queued = permit.as_ref().map(Permit::waited);
        let admitted = self.state.clock.now();
        let route = Arc::clone(asked.route());
        let writing = self.writing(&asked);
        let (mut request, upload) = self.outgoing(asked, body, peer, exchange);
        let upgrade = upstream::wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        let obtained = if let Some(writing) = writing {
            let tasks = self.state.afterlife.tasks.clone();
            Box::pin(write(Arc::clone(&route), request, upload.clone(), permit, writing, tasks)).await
        } else {
            route.upstream.send(request, None).await.map(|response| Obtained { response, permit })
        };
        let Obtained { response, permit } = obtained.map_err(|error| blame(error, upload.as_ref()))?;
        exchange.upstream = Some(self.state.clock.now().saturating_duration_since(admitted));
        exchange.count_cache(CacheResult::Bypass);
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let client = upgrade.ok_or(Refusal::UnaskedUpgrade)?;
            tunnel::prepare_answer(&mut parts);
            tunnel::open(&self.state.afterlife, client, body, permit, route.idle_timeout);
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        upstream::prepare_response(&mut parts);
        let mut response = Response::from_parts(parts, Body::upstream(body, permit));
        tell_cache_status(&mut response, Forwarded::because(reason));
        Ok(response)
    }

    /// The request as it is sent, and how its upload fares.
    fn outgoing(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        peer: &Peer,
        exchange: &Exchange,
    ) -> (Request<RequestBody>, Option<UploadOutcome>) {
        let patience = asked.route().upstream.patience().body;
        let has_body = asked.has_body;
        let parts = asked.into_outgoing(peer, &exchange.id);
        let Some(incoming) = body.take().filter(|_| has_body) else {
            return (Request::from_parts(parts, RequestBody::Empty), None);
        };
        let limit = self.policy.load().listener.max_body_bytes;
        let (body, outcome) = RequestBody::upload(incoming, limit, patience, self.state.clock);
        (Request::from_parts(parts, body), Some(outcome))
    }

    /// A write begins: what is being fetched now is neither stored nor joined any more.
    fn writing(&self, asked: &Asked) -> Option<Writing> {
        if asked.parts.method.is_safe() {
            return None;
        }
        let tags: Vec<String> = asked
            .route()
            .invalidates
            .iter()
            .filter_map(|tag| tag.render(|name| asked.capture(name)))
            .collect();
        let fence = self.state.cache.fence(&asked.route().url(&asked.parts), &tags);
        Some(Writing { fence, host: host(&asked.parts.headers).to_owned() })
    }
}

/// Sends a write. Once it is sent it is let finish, with its permit: a client that leaves or is told 504 ends nothing.
async fn write(
    route: Arc<Route>,
    request: Request<RequestBody>,
    upload: Option<UploadOutcome>,
    permit: Option<Permit>,
    writing: Writing,
    tasks: TaskTracker,
) -> Result<Obtained, upstream::Error> {
    let patience = route.upstream.patience();
    let commitment = Commitment::default();
    let made = commitment.clone();
    let work = async move {
        let response = route.upstream.send(request, Some(&commitment)).await?;
        writing.ended(&response);
        Ok(Obtained { response, permit })
    };
    let overdue = overdue(upload, made.clone(), patience);
    let work = detached(work, move || made.is_made(), read_alone, tasks);
    tokio::select! {
        biased;
        outcome = work => outcome,
        () = overdue => Err(upstream::Error::ResponseTimeout),
    }
}

/// Waits until the upstream has had its time, counted from the last chunk of the upload that it took.
async fn overdue(upload: Option<UploadOutcome>, commitment: Commitment, patience: Patience) {
    commitment.made().await;
    let progress = || upload.as_ref().and_then(UploadOutcome::progress);
    loop {
        let seen = progress();
        tokio::time::sleep(patience.after(seen)).await;
        if progress() == seen {
            return;
        }
    }
}

/// An answer that nobody waits for: read so far that the server is not cut off in the middle of a usual one.
async fn read_alone(outcome: Result<Obtained, upstream::Error>) {
    let Ok(Obtained { response, permit }) = outcome else { return };
    let mut body = response.into_body();
    let mut left = READ_ALONE;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
            Some(less) => left = less,
            None => break,
        }
    }
    drop(permit);
}

/// The client's own fault where there was one: a broken upload is not the upstream's failure.
fn blame(error: upstream::Error, upload: Option<&UploadOutcome>) -> Refusal {
    upload.and_then(UploadOutcome::fault).map_or_else(|| error.into(), Refusal::Upload)
}

/// A write under way.
struct Writing {
    fence: Fence,
    host: String,
}

impl Writing {
    /// It was answered: what it has changed is dropped from the store, where it succeeded (RFC 9111 section 4.4).
    fn ended(self, response: &Response<ResponseBody>) {
        if !(response.status().is_success() || response.status().is_redirection()) {
            return;
        }
        let named = [header::LOCATION, header::CONTENT_LOCATION];
        let urls: Vec<String> =
            named.iter().filter_map(|name| self.same_origin(response.headers().get(name)?)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        self.fence.succeeded(&urls);
    }

    /// A reference as `host/path?query`, where it is to the same host.
    fn same_origin(&self, reference: &HeaderValue) -> Option<String> {
        let uri: Uri = reference.to_str().ok()?.parse().ok()?;
        let is_here =
            uri.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(&self.host));
        let target = uri.path_and_query().filter(|target| is_here && target.as_str().starts_with('/'))?;
        Some(format!("{}{target}", self.host))
    }
}
