//! Requests that forebay makes itself, so that a response is stored before anybody asks for it.
//!
//! Such a request goes the way of every other, with its route, its pool and its place in a flight, as one from a client
//! without credentials. It is counted and logged, but limits that count clients do not know it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;

use super::asked::Asked;
use super::exchange::Exchange;
use super::{Body, Proxy, Step, intake};
use crate::cache::{self, Lookup};
use crate::http::fields::Present;
use crate::http::scheme::Scheme;
use crate::server::Peer;

/// What has become of one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmed {
    /// The status of the answer.
    pub status: StatusCode,
    /// For how many seconds more the stored response is fresh, or why there is none.
    pub stored: Result<i64, String>,
    /// From the request to the last byte.
    pub took: Duration,
}

impl Proxy {
    /// Has a URL stored, `http://HOST/PATH?QUERY` or the same with https, unless a fresh response is there already.
    pub async fn warm(&self, url: &Uri) -> Warmed {
        let began = self.state.clock.now();
        let peer = Arc::new(Peer::own(Scheme::of(url)));
        let request = request(url);
        let present = Present::of(request.headers());
        let mut exchange = Box::new(Exchange::begin(&self.state, &request, present, &peer));
        exchange.is_own = true;
        let (parts, ()) = request.into_parts();
        let again = parts.clone();
        let step = self.at_once(Box::new(parts), present, None, &mut exchange);
        let answer = match step {
            Ok(Step::Answered(response)) => Ok(response),
            Ok(Step::Onward(asked, missed)) => {
                Box::pin(self.in_time(asked, missed, &mut None, &mut exchange)).await
            }
            Ok(Step::Refused(refusal, _)) | Err(refusal) => Err(refusal),
        };
        let (response, refused) = match answer {
            Ok(mut response) => {
                exchange.answered(&mut response);
                (response, None)
            }
            Err(refusal) => {
                (exchange.refused(&refusal, HeaderMap::new()), Some(refusal.detail().into_owned()))
            }
        };
        let (head, body) = response.into_parts();
        let is_whole = read(body).await;
        let stored = match refused {
            Some(detail) => Err(detail),
            None if !is_whole => Err("the response broke off".to_owned()),
            None => self.is_stored(again, &peer, &head),
        };
        Warmed { status: head.status, stored, took: self.state.clock.now().saturating_duration_since(began) }
    }

    /// Whether a request like this one would be a hit now, or why not by the answer that was just given.
    fn is_stored(
        &self,
        mut parts: http::request::Parts,
        peer: &Peer,
        head: &http::response::Parts,
    ) -> Result<i64, String> {
        let policy = self.policy.load();
        let present = Present::of(&parts.headers);
        let found = intake::look(&mut parts, present, peer.scheme, &policy);
        let found = found.ok().flatten().ok_or("no route matches")?;
        let client = peer.resolve(&policy.trusted_proxies, &parts.headers);
        let asked =
            Asked::new((Box::new(parts), present), found, client, peer.scheme, false, self.state.digester);
        if let Some(alone) = asked.alone() {
            return Err(alone.to_string());
        }
        let now = self.state.clock.now();
        if let Lookup::Fresh(selected) = self.state.cache.lookup(asked.query(now)) {
            return Ok(selected.ttl());
        }
        let exchange =
            cache::Exchange { request: &asked.parts, credentialed: false, requested: now, received: now };
        match self.state.cache.judge(&asked.route().cache, &exchange, head).verdict {
            Err(why) => Err(why.as_str().to_owned()),
            Ok(_) => Err("it is not fresh, or there was no room for it".to_owned()),
        }
    }
}

fn request(url: &Uri) -> Request<()> {
    let mut request = Request::new(());
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().unwrap_or_default();
    if let Some(host) = url.authority().and_then(|authority| authority.as_str().parse().ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Whether the body came to its end; only then is it stored.
async fn read(mut body: Body) -> bool {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return false;
        }
    }
    true
}
