//! Starts that are the same: one is made, and all who asked for it get its answer, once it is whole.
//!
//! After the identity and before the limits: who gets somebody else's answer is charged nothing and needs no permit. The
//! start itself runs in a task of its own, so that no client that leaves ends it for the others; while it is queued and
//! the last has left, it is given up. One that is not answered in time is not made again as long as it runs: equal ones
//! are told the same. Answers never cross identities: the identity is part of what makes two starts the
//! same, and clients without one are told apart by address. As several may share an address, what is personal in an
//! answer (`Set-Cookie`, `Cache-Control: private`) goes to nobody else there, unless the client has chosen the key.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{HeaderName, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::asked::Asked;
use super::exchange::Exchange;
use super::write::read_rest;
use super::{Body, Proxy};
use crate::cache::Forward;
use crate::client::Identity;
use crate::dedupe::{Answer, By, Entered, Outcome, Ticket, Waiting};
use crate::digest::{Digest, Digester};
use crate::http::body::{RequestBody, UploadFault};
use crate::http::fields;
use crate::http::target::host;
use crate::metrics::{CacheResult, DedupeResult};
use crate::policy::Dedupe;
use crate::refusal::Refusal;
use crate::upstream;

/// The largest request body that is compared, and the largest answer that is kept.
const MOST_UPLOADED: u64 = 1 << 20;
const MOST_ANSWERED: usize = 1 << 20;
/// The longest value of a key field.
const LONGEST_KEY: usize = 256;

/// What a start is the same as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    key: u128,
    /// The same for all requests that the key stands for.
    fingerprint: u128,
}

impl Proxy {
    /// Makes a start, unless it is under way or was just answered.
    pub(super) async fn once(
        &self,
        mut asked: Box<Asked>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let route = Arc::clone(asked.route());
        let Some(dedupe) = &route.dedupe else { return self.charged(asked, body, exchange).await };
        let Some(start) = self.start(&mut asked, dedupe, body).await? else {
            exchange.count_dedupe(DedupeResult::Skipped);
            return self.charged(asked, body, exchange).await;
        };
        loop {
            let waiting = match dedupe.starts.enter(start.key, start.fingerprint, self.state.clock.now()) {
                Entered::First(ticket, waiting) if !dedupe.observe => {
                    exchange.count_dedupe(DedupeResult::First);
                    return self.make(asked, dedupe, ticket, waiting, exchange).await;
                }
                Entered::First(ticket, _) => {
                    exchange.count_dedupe(DedupeResult::First);
                    ticket.keep(Outcome::Alone, self.state.clock.now() + dedupe.window);
                    return self.charged(asked, body, exchange).await;
                }
                Entered::Same(waiting) if !dedupe.observe => waiting,
                Entered::Other if !dedupe.observe => {
                    exchange.count_dedupe(DedupeResult::Refused);
                    return Err(Refusal::KeyReused);
                }
                entered => {
                    exchange.count_dedupe(match entered {
                        Entered::Same(_) => DedupeResult::WouldShare,
                        Entered::Other => DedupeResult::WouldRefuse,
                        Entered::First(..) | Entered::Full => DedupeResult::Skipped,
                    });
                    return self.charged(asked, body, exchange).await;
                }
            };
            match waiting.outcome().await {
                Some(Outcome::Answered(answer)) => {
                    exchange.count_dedupe(DedupeResult::Shared);
                    return Ok(repeat(&answer));
                }
                Some(Outcome::Failed(refusal)) => return Err(refusal),
                Some(Outcome::Alone) if dedupe.by != By::Body => {
                    exchange.count_dedupe(DedupeResult::Refused);
                    return Err(Refusal::NotRepeatable);
                }
                Some(Outcome::Alone) => {
                    exchange.count_dedupe(DedupeResult::Skipped);
                    return self.charged(asked, body, exchange).await;
                }
                None => {}
            }
        }
    }

    /// The usual way of a request, from the limits on.
    async fn charged(
        &self,
        asked: Box<Asked>,
        body: &mut Option<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route().rate_limits)?;
        Box::pin(self.forward(asked, body, Forward::Method, exchange)).await
    }

    /// Makes the first of equal starts, in a task of its own.
    async fn make(
        &self,
        mut asked: Box<Asked>,
        dedupe: &Dedupe,
        ticket: Ticket<Refusal>,
        waiting: Waiting<Refusal>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        exchange.charge(&asked, &asked.route().rate_limits)?;
        // Those who share the answer need not take the same codings.
        asked.parts.headers.remove(header::ACCEPT_ENCODING);
        let (own, is_own) = oneshot::channel();
        asked.ticket = Some(ticket.clone());
        let making = Making {
            proxy: self.clone(),
            dedupe: dedupe.clone(),
            exchange: exchange.on_behalf_of_several(),
            ticket,
            own,
        };
        let began = self.state.clock.now();
        self.state.afterlife.tasks.spawn(making.run(asked));
        let outcome = waiting.outcome().await;
        exchange.observe_upstream(self.state.clock.now().saturating_duration_since(began));
        exchange.count_cache(CacheResult::Bypass);
        match outcome {
            Some(Outcome::Answered(answer)) => Ok(repeat(&answer)),
            Some(Outcome::Failed(refusal)) => Err(refusal),
            Some(Outcome::Alone) => is_own.await.map_err(|_| Refusal::Internal),
            None => Err(Refusal::Internal),
        }
    }

    /// What makes the request the same as another. Its body is read for that; none where it is not comparable.
    async fn start(
        &self,
        asked: &mut Asked,
        dedupe: &Dedupe,
        body: &mut Option<Incoming>,
    ) -> Result<Option<Start>, Refusal> {
        let chosen = match &dedupe.by {
            By::Body => None,
            By::Header(name) => match only(&asked.parts.headers, name) {
                Some(value) => Some(value.to_vec()),
                None => return Ok(None),
            },
        };
        let size = body.as_ref().map_or(Some(0), |body| body.size_hint().exact());
        let size = size.filter(|size| *size <= MOST_UPLOADED);
        let Some(room) = size.and_then(|size| dedupe.starts.room(size)) else { return Ok(None) };
        let upload = match body.take() {
            Some(incoming) => self.read(incoming, asked).await?,
            None => Bytes::new(),
        };
        let digester = &self.state.digester;
        let content = content(digester, &asked.parts, &upload);
        let (what, fingerprint) = match chosen {
            Some(value) => (value, content),
            None => (content.to_be_bytes().to_vec(), 0),
        };
        let who = (asked.identity(), asked.client.ip);
        let key = key(digester, &asked.route().name, &asked.parts, who, &what);
        asked.upload = Some((upload, room));
        Ok(Some(Start { key, fingerprint }))
    }

    async fn read(&self, incoming: Incoming, asked: &Asked) -> Result<Bytes, Refusal> {
        let patience = asked.route().upstream.patience().body;
        let (upload, outcome) = RequestBody::upload(incoming, MOST_UPLOADED, patience, self.state.clock);
        let read = upload.collect().await;
        let fault = || outcome.fault().unwrap_or(UploadFault::Broken);
        read.map(http_body_util::Collected::to_bytes).map_err(|_| Refusal::Upload(fault()))
    }
}

/// A start that is being made.
struct Making {
    proxy: Proxy,
    dedupe: Dedupe,
    exchange: Box<Exchange>,
    ticket: Ticket<Refusal>,
    /// For an answer that only the one who began may have.
    own: oneshot::Sender<Response<Body>>,
}

impl Making {
    async fn run(mut self, asked: Box<Asked>) {
        let route = Arc::clone(asked.route());
        let is_known = asked.is_credentialed();
        if let Err(refusal) = self.exchange.charge(&asked, &route.upstream_rate_limits) {
            return self.ticket.tell(Outcome::Failed(refusal));
        }
        let permit = tokio::select! {
            biased;
            permit = asked.admit() => permit,
            () = self.ticket.abandoned() => return self.exchange.refund(),
        };
        let answer = match permit {
            Ok(permit) => {
                self.ticket.begun(Refusal::Internal);
                let Self { proxy, exchange, .. } = &mut self;
                Box::pin(proxy.send_on(asked, &mut None, Forward::Method, exchange, permit)).await
            }
            Err(shed) => Err(shed.into()),
        };
        match answer {
            Ok(response) => self.conclude(response, is_known).await,
            Err(refusal) => {
                if refusal.is_before_upstream() {
                    self.exchange.refund();
                }
                self.ticket.tell(Outcome::Failed(refusal));
            }
        }
    }

    /// Tells everybody, where the answer is for everybody, and whole.
    async fn conclude(self, response: Response<Body>, is_known: bool) {
        let (parts, mut body) = response.into_parts();
        let is_for_all = is_known || self.dedupe.by != By::Body || !is_personal(&parts.headers);
        let is_too_large =
            fields::content_length(&parts.headers).is_some_and(|size| size > MOST_ANSWERED as u64);
        if !is_for_all || is_too_large || is_endless(&parts.headers) {
            return self.hand_over(Response::from_parts(parts, body)).await;
        }
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                let broken = upstream::Error::ConnectionTerminated;
                return self.ticket.tell(Outcome::Failed(broken.into()));
            };
            read.extend(frame.into_data());
            if read.iter().map(Bytes::len).sum::<usize>() > MOST_ANSWERED {
                let body = Body::resumed(read, body);
                return self.hand_over(Response::from_parts(parts, body)).await;
            }
        }
        // With it goes its permit, before anybody comes back for more.
        drop(body);
        let is_final = !(parts.status.is_client_error() || parts.status.is_server_error());
        let (status, headers, body) = (parts.status, parts.headers, read.concat().into());
        let outcome = Outcome::Answered(Arc::new(Answer { status, headers, body }));
        if is_final {
            self.ticket.keep(outcome, self.proxy.state.clock.now() + self.dedupe.window);
        } else {
            self.ticket.tell(outcome);
        }
    }

    /// The answer is for the one who began. A chosen key stays in use: the start was made.
    async fn hand_over(self, response: Response<Body>) {
        match self.dedupe.by {
            By::Body => self.ticket.tell(Outcome::Alone),
            By::Header(_) => {
                self.ticket.keep(Outcome::Alone, self.proxy.state.clock.now() + self.dedupe.window);
            }
        }
        if let Err(unread) = self.own.send(response) {
            read_rest(unread.into_body()).await;
        }
    }
}

fn repeat(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::whole(answer.body.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}

/// What an equal start has in common: its kind, where it goes, whose it is, and `what` tells it from others.
fn key(digester: &Digester, route: &str, parts: &Parts, who: (Identity, IpAddr), what: &[u8]) -> u128 {
    let mut digest = digester.begin();
    [b"start".as_slice(), route.as_bytes(), parts.method.as_str().as_bytes()]
        .into_iter()
        .for_each(|part| digest.add(part));
    digest.add(host(&parts.headers).as_bytes());
    digest.add(parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes());
    match who {
        (Identity::Known(identity), _) => add(&mut digest, b"known", &identity.to_be_bytes()),
        (Identity::Anonymous, IpAddr::V4(address)) => add(&mut digest, b"v4", &address.octets()),
        (Identity::Anonymous, IpAddr::V6(address)) => add(&mut digest, b"v6", &address.octets()),
    }
    digest.add(what);
    digest.finish()
}

/// What a request brings, and how it is to be read.
fn content(digester: &Digester, parts: &Parts, upload: &[u8]) -> u128 {
    let mut digest = digester.begin();
    digest.add(b"content");
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        add(&mut digest, b"", parts.headers.get(name).map_or(b"", |value| value.as_bytes()));
    }
    digest.add(upload);
    digest.finish()
}

fn add(digest: &mut Digest, kind: &[u8], value: &[u8]) {
    digest.add(kind);
    digest.add(value);
}

/// The value of a field that is there once, and usable as a key.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.as_bytes();
    (values.next().is_none() && (1..=LONGEST_KEY).contains(&value.len())).then_some(value)
}

fn is_personal(headers: &HeaderMap) -> bool {
    headers.contains_key(header::SET_COOKIE) || fields::has_token(headers, &header::CACHE_CONTROL, "private")
}

fn is_endless(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn who() -> impl Strategy<Value = (Identity, IpAddr)> {
        let identity = prop_oneof![Just(Identity::Anonymous), (0..3_u128).prop_map(Identity::Known)];
        let address = prop_oneof![
            (0..3_u32).prop_map(|bits| IpAddr::V4(bits.into())),
            (0..3_u128).prop_map(|bits| IpAddr::V6(bits.into())),
        ];
        (identity, address)
    }

    fn parts(path: &str, kind: &str) -> Parts {
        let request = http::Request::post(path).header("host", "a").header("content-type", kind);
        request.body(()).unwrap().into_parts().0
    }

    proptest! {
        #[test]
        fn no_two_identities_share_a_start(one in who(), other in who(), body in 0..3_u8, others_body in 0..3_u8) {
            let digester = Digester::keyed_by("test");
            let of = |who, body: u8| {
                let parts = parts("/scan", "text/plain");
                let content = content(&digester, &parts, &[body]);
                key(&digester, "scans", &parts, who, &content.to_be_bytes())
            };
            let is_one_identity = match (one.0, other.0) {
                (Identity::Anonymous, Identity::Anonymous) => one.1 == other.1,
                (one, other) => one == other,
            };
            prop_assert_eq!(of(one, body) == of(other, others_body), is_one_identity && body == others_body);
        }
    }

    #[test]
    fn another_target_or_kind_of_body_is_another_start() {
        let digester = Digester::keyed_by("test");
        let anonymous = (Identity::Anonymous, IpAddr::from([127, 0, 0, 1]));
        let key_of = |route, path| key(&digester, route, &parts(path, "a/b"), anonymous, b"k");
        let keys = [key_of("r", "/a"), key_of("r", "/a?b"), key_of("s", "/a")];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        let of_kind = |kind| content(&digester, &parts("/a", kind), b"{}");
        assert_ne!(of_kind("text/plain"), of_kind("application/json"));
    }

    #[test]
    fn a_key_is_one_short_value() {
        let name = HeaderName::from_static("idempotency-key");
        for (values, expected) in [
            (vec!["a"], true),
            (vec![], false),
            (vec![""], false),
            (vec!["a", "a"], false),
            (vec![&*"x".repeat(257)], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(&name, value.parse().unwrap());
            }
            assert_eq!(only(&headers, &name).is_some(), expected, "{values:?}");
        }
    }
}
