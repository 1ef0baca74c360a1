//! Answers to requests for a part of a resource (RFC 9110 14).
//!
//! A stored response answers them. Where it is stale it is validated as a whole, together with whoever else asks, and if
//! another whole comes instead, its part is cut from the stream. What is not stored is fetched alone, as the client asked
//! for it, and kept as the part that it is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Response, StatusCode, response};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::asked::Asked;
use super::exchange::Exchange;
use super::{Body, Missed, Proxy};
use crate::cache::{self, CACHE_STATUS, Forward, Forwarded, Precondition, Query, Selected, Wanted, range};
use crate::collapse::{Broken, Reader};
use crate::metrics::CacheResult;
use crate::policy::Sharing;
use crate::refusal::Refusal;

/// An answer from a stored response: what the client wants of it. The conditions go first (RFC 9110 13.2.2).
pub(super) fn answer_from(
    selected: &Selected,
    method: &Method,
    headers: HeaderMap,
    forwarded: Option<Forwarded>,
) -> Response<Body> {
    let wanted = match selected.evaluate(&headers) {
        Precondition::Full if *method == Method::GET => selected.wanted(&headers),
        Precondition::Full | Precondition::NotModified => Wanted::Whole,
    };
    if wanted == Wanted::Whole {
        return super::answer_from(selected, method, headers, forwarded);
    }
    let (status, headers, cut) = selected.answer_part(&wanted, forwarded, headers);
    let mut response = Response::new(Body::cut(cut));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Proxy {
    /// An answer from a part that is stored, if it has what is asked for.
    pub(super) fn answer_from_part(
        &self,
        query: Query<'_>,
        exchange: &mut Exchange,
    ) -> Option<Response<Body>> {
        let (part, span) = self.state.cache.lookup_part(query)?;
        let (status, headers, body) = part.answer_from_part(span, HeaderMap::new())?;
        exchange.count_cache(CacheResult::Hit);
        let mut response = Response::new(Body::stored(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Some(response)
    }

    /// What is known of a resource that is not stored: a part of it may be.
    pub(super) fn missed(&self, query: Query<'_>, reason: Forward, is_part: bool) -> Missed {
        let part = if is_part { None } else { self.state.cache.lookup_completion(query) };
        Missed { reason: if part.is_some() { Forward::Partial } else { reason }, stale: None, part }
    }

    /// Fetches a part, alone, and stores what comes as what it is, if it may be stored.
    pub(super) async fn fetch_part(
        &self,
        asked: Box<Asked>,
        reason: Forward,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Refusal> {
        let again = asked.clone();
        let (cache, policy) = (&self.state.cache, &again.route().cache);
        let tags = policy.tags(|name| again.capture(name));
        let fetch = cache.begin(policy, again.storage_key(), &again.route().url(&again.parts), &tags);
        let requested = self.state.clock.now();
        let response = Box::pin(self.forward(asked, &mut None, reason, exchange)).await?;
        // Who asks for a part may get the whole (RFC 9110 14.2); a status of a job is stored by its flight alone.
        let is_storable = match response.status() {
            StatusCode::PARTIAL_CONTENT => true,
            StatusCode::OK => !again.route().tells_of_jobs(),
            _ => false,
        };
        if !is_storable {
            return Ok(response);
        }
        let asked = cache::Exchange {
            request: &again.parts,
            credentialed: again.is_credentialed(),
            requested,
            received: self.state.clock.now(),
        };
        let (head, body) = response.into_parts();
        let mut stored = super::fetch::copy(&head);
        forget_own_status(&mut stored.headers);
        let collection = cache.collect(policy, fetch, &asked, &stored);
        Ok(Response::from_parts(head, body.collected(collection)))
    }
}

/// The last `Cache-Status` is ours, and about this answer alone.
fn forget_own_status(headers: &mut HeaderMap) {
    let mut told: Vec<_> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
    told.pop();
    headers.remove(CACHE_STATUS);
    for line in told {
        headers.append(CACHE_STATUS, line);
    }
}

/// A whole response that streams to several, cut to the one part that this client wants.
pub(super) fn of_live(mut head: response::Parts, reader: Reader<Sharing>, asked: &Parts) -> Response<Body> {
    // The conditions go first here, too.
    let is_asked = asked.method == Method::GET
        && asked.headers.contains_key(header::RANGE)
        && cache::evaluate(&asked.headers, &head.headers) == Precondition::Full;
    let span =
        is_asked.then(|| range::cut_live(&asked.headers, &mut head.status, &mut head.headers)).flatten();
    let body = match span {
        Some(span) => Body::window(Box::new(Window { reader, skip: span.first, left: span.length() })),
        None => Body::flight(reader),
    };
    Response::from_parts(head, body)
}

/// Some bytes of a body that passes by.
#[derive(Debug)]
pub(super) struct Window {
    reader: Reader<Sharing>,
    skip: u64,
    left: u64,
}

impl Window {
    fn trim(&mut self, data: &mut Bytes) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(data.len());
        data.advance(skipped);
        self.skip -= skipped as u64;
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= data.len() as u64;
    }
}

impl HttpBody for Window {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        while self.left > 0 {
            let Some(frame) = ready!(Pin::new(&mut self.reader).poll_frame(cx)?) else { break };
            let Ok(mut data) = frame.into_data() else { continue };
            self.trim(&mut data);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
