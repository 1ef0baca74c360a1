//! The record of one request: what it is called, what it was charged, how it ends; counted and logged when it is over.
//!
//! It rides in the response's body: a request is over when the last byte is through, or the client has gone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::asked::Asked;
use super::compress::Wish;
use super::{Body, request_id};
use crate::clock::Clock;
use crate::http::body::UploadOutcome;
use crate::http::fields::Present;
use crate::logging::{AccessLog, Entry};
use crate::metrics::{CacheResult, DedupeResult, RouteMetrics};
use crate::policy::{Route, State};
use crate::rate_limit::{self, Charges, RateLimit};
use crate::refusal::Refusal;
use crate::server::{InUse, Peer};
use crate::upstream::REQUEST_ID;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// One request from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    clock: Clock,
    /// When its head was read.
    pub(super) began: Instant,
    /// Its `X-Request-Id`.
    pub(super) id: HeaderValue,
    method: Method,
    status: StatusCode,
    bytes: u64,
    figures: Arc<RouteMetrics>,
    is_in_progress: bool,
    /// Forebay's own request: there is no client to be limited.
    pub(super) is_own: bool,
    charges: Charges,
    /// How long it waited for a permit, and for the upstream's head.
    pub(super) queued: Option<Duration>,
    pub(super) upstream: Option<Duration>,
    /// How its body fares on the way to the upstream.
    pub(super) upload: Option<UploadOutcome>,
    has_server_timing: bool,
    /// On a route that compresses.
    wish: Option<Wish>,
    line: Option<Box<Line>>,
    /// Whose request it is.
    pub(super) peer: InUse,
}

/// What only the access log wants to know.
#[derive(Debug)]
struct Line {
    log: Arc<AccessLog>,
    client: IpAddr,
    host: String,
    path: String,
    route: Arc<str>,
    cache: Option<CacheResult>,
    limit: Option<String>,
}

impl Exchange {
    /// A request has come.
    pub(super) fn begin<B>(state: &State, request: &Request<B>, present: Present, peer: &Arc<Peer>) -> Self {
        let log = state.access_log.load();
        let line = log.is_on().then(|| Box::new(Line::begin(&log, request, peer)));
        let figures = Arc::clone(&state.unrouted);
        Self {
            clock: state.clock,
            began: state.clock.now(),
            id: request_id::of(request.headers(), present),
            method: request.method().clone(),
            status: client_left(),
            bytes: 0,
            figures,
            is_in_progress: false,
            is_own: false,
            charges: Charges::default(),
            queued: None,
            upstream: None,
            upload: None,
            has_server_timing: false,
            wish: None,
            line,
            peer: peer.begin_exchange(),
        }
    }

    /// It belongs to a route.
    pub(super) fn routed(&mut self, route: &Route, parts: &Parts) {
        self.figures = Arc::clone(&route.figures);
        // Counted from here on only: a request that moved from one count to another would be seen in both by a scrape.
        self.figures.in_progress.inc();
        self.is_in_progress = true;
        self.has_server_timing = route.server_timing;
        self.wish = route.compress.then(|| Wish::of(&parts.headers));
        if let Some(line) = &mut self.line {
            line.route = Arc::clone(&route.name);
            line.path = parts.uri.path().to_owned();
            line.host = text(parts.headers.get(header::HOST));
        }
    }

    /// It is from this client.
    pub(super) fn asked_by(&mut self, client: IpAddr) {
        if let Some(line) = &mut self.line {
            line.client = client;
        }
    }

    /// Charges rate limits: all of them or none.
    pub(super) fn charge(&mut self, asked: &Asked, limits: &[Arc<RateLimit>]) -> Result<(), Refusal> {
        if limits.is_empty() {
            return Ok(());
        }
        let keyed = limits.iter().map(|limit| (limit, asked.partition(&limit.spec().key)));
        self.charges.join(rate_limit::check_all(keyed, self.clock.now())?);
        Ok(())
    }

    /// What the cache made of it.
    pub(super) fn count_cache(&mut self, result: CacheResult) {
        self.figures.count_cache(result);
        match result {
            CacheResult::Hit | CacheResult::Stale => self.figures.count_saved(&self.figures.saved_by_cache),
            CacheResult::Collapsed => self.figures.count_saved(&self.figures.saved_by_collapse),
            CacheResult::Revalidated | CacheResult::Miss | CacheResult::Bypass => {}
        }
        if let Some(line) = &mut self.line {
            line.cache = Some(result);
        }
    }

    /// What `dedupe` made of it.
    pub(super) fn count_dedupe(&mut self, result: DedupeResult) {
        self.figures.count_dedupe(result);
        if result == DedupeResult::Shared {
            self.figures.count_saved(&self.figures.saved_by_dedupe);
        }
    }

    /// Since when the upstream can have had all of it, where it was sent then. None while the client owes some: how long
    /// that takes says nothing about the upstream, and must not lower a cap.
    pub(super) fn handed_over(&self, sent: Instant) -> Option<Instant> {
        self.upload.as_ref().map_or(Some(sent), |upload| upload.handed_over(sent))
    }

    /// The upstream took so long.
    pub(super) fn observe_upstream(&mut self, took: Duration) {
        self.upstream = Some(took);
        self.figures.observe_upstream(took);
    }

    /// The record of what is done for several requests at once, each of which has its own: counted and logged nowhere.
    pub(super) fn on_behalf_of_several(&self) -> Box<Self> {
        Box::new(Self {
            clock: self.clock,
            began: self.began,
            id: self.id.clone(),
            method: self.method.clone(),
            status: self.status,
            bytes: 0,
            figures: Arc::default(),
            is_in_progress: false,
            charges: Charges::default(),
            queued: None,
            upstream: None,
            upload: None,
            has_server_timing: false,
            line: None,
            wish: None,
            is_own: self.is_own,
            peer: self.peer.clone(),
        })
    }

    /// What was charged is given back.
    pub(super) fn refund(&mut self) {
        std::mem::take(&mut self.charges).refund();
    }

    /// The answer goes out.
    pub(super) fn answered(mut self: Box<Self>, response: &mut Response<Body>) {
        self.status = response.status();
        let headers = response.headers_mut();
        self.sign(headers);
        self.charges.tell(headers);
        if self.has_server_timing {
            self.tell_timing(headers);
        }
        if let Some(wish) = self.wish {
            wish.grant(response);
        }
        response.body_mut().belong_to(self);
    }

    /// A refusal goes out, in this map; what was charged for nothing is given back.
    pub(super) fn refused(mut self: Box<Self>, refusal: &Refusal, headers: HeaderMap) -> Response<Body> {
        if refusal.is_before_upstream() {
            self.refund();
        }
        self.status = refusal.status();
        if let Some(line) = &mut self.line {
            line.limit = refusal.limit().map(str::to_owned);
        }
        let mut response = refusal.response(&self.id, request_id::spread(), headers).map(Body::whole);
        self.sign(response.headers_mut());
        response.body_mut().belong_to(self);
        response
    }

    /// What every answer says, the upstream's and ours: what it belongs to, and whether another may follow.
    fn sign(&mut self, headers: &mut HeaderMap) {
        // From now on only the log asks for it.
        let id = match self.line {
            Some(_) => self.id.clone(),
            None => std::mem::replace(&mut self.id, HeaderValue::from_static("")),
        };
        headers.insert(REQUEST_ID, id);
        if self.upload.as_ref().is_some_and(UploadOutcome::is_end_in_doubt) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Bytes of the body went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn tell_timing(&self, headers: &mut HeaderMap) {
        let millis = |duration: Option<Duration>| duration.unwrap_or_default().as_secs_f64() * 1000.0;
        let value =
            format!("queue;dur={:.1}, upstream;dur={:.1}", millis(self.queued), millis(self.upstream));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(SERVER_TIMING, value);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Trailers may come yet, and with them doubt where the next request begins.
        let is_owed = |upload: &UploadOutcome| upload.progress().is_some();
        if self.upload.as_ref().is_some_and(is_owed) && !self.peer.watch.is_http2() {
            self.peer.watch.drain();
        }
        let took = self.clock.now().saturating_duration_since(self.began);
        if self.is_in_progress {
            self.figures.in_progress.dec();
        }
        self.figures.answered(&self.method, self.status, took);
        if let Some(line) = &self.line {
            line.write(self, took);
        }
    }
}

impl Line {
    fn begin<B>(log: &Arc<AccessLog>, request: &Request<B>, peer: &Peer) -> Self {
        Self {
            log: Arc::clone(log),
            client: peer.address,
            host: text(request.headers().get(header::HOST)),
            path: request.uri().path().to_owned(),
            route: Arc::from(""),
            cache: None,
            limit: None,
        }
    }

    fn write(&self, exchange: &Exchange, took: Duration) {
        self.log.record(&Entry {
            at: exchange.clock.wall(exchange.began),
            request_id: exchange.id.to_str().unwrap_or_default(),
            client: self.client,
            method: &exchange.method,
            host: &self.host,
            path: &self.path,
            route: &self.route,
            status: exchange.status,
            bytes: exchange.bytes,
            duration: took,
            upstream: exchange.upstream,
            queue: exchange.queued,
            cache: self.cache.map(CacheResult::as_str),
            limit: self.limit.as_deref(),
        });
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// What a request counts as whose client left before there was an answer; the number is nginx's, and known to dashboards.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
