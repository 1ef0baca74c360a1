//! The first of equal starts, made in a task of its own, so that no client that leaves ends it for the others.

use std::sync::Arc;

use http::Response;
use http::header::{self, HeaderMap};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use crate::cache::Forward;
use crate::dedupe::{Answer, By, Outcome, Ticket};
use crate::http::fields;
use crate::policy::Dedupe;
use crate::proxy::asked::Asked;
use crate::proxy::direct::Admitted;
use crate::proxy::exchange::Exchange;
use crate::proxy::write::read_rest;
use crate::proxy::{Body, Proxy};
use crate::refusal::Refusal;
use crate::upstream;

/// The largest answer that is kept, in bytes.
const MOST_ANSWERED: usize = 1 << 20;

/// A start that is being made.
pub(super) struct Making {
    pub(super) proxy: Proxy,
    pub(super) dedupe: Dedupe,
    pub(super) exchange: Box<Exchange>,
    pub(super) ticket: Ticket<Refusal>,
    /// For an answer that only the one who began may have.
    pub(super) own: oneshot::Sender<Response<Body>>,
}

impl Making {
    /// From the limits at the upstream to the end of the answer.
    pub(super) async fn run(mut self, asked: Box<Asked>) {
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
                let admitted = Admitted { permit, at: proxy.state.clock.now() };
                Box::pin(proxy.send_on(asked, &mut None, Forward::Method, exchange, admitted)).await
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
        if !is_for_all || is_too_large || fields::is_event_stream(&parts.headers) {
            return self.hand_over(Response::from_parts(parts, body)).await;
        }
        let (mut read, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                let broken = upstream::Error::ConnectionTerminated;
                return self.ticket.tell(Outcome::Failed(broken.into()));
            };
            let data = frame.into_data().unwrap_or_default();
            length += data.len();
            read.push(data);
            if length > MOST_ANSWERED {
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

fn is_personal(headers: &HeaderMap) -> bool {
    headers.contains_key(header::SET_COOKIE) || fields::has_token(headers, &header::CACHE_CONTROL, "private")
}
