//! A stored response that was chosen for a request, and the answers that it gives.

use std::sync::Arc;

use http::header::{AGE, DATE, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::body::StoredBody;
use super::range::{self, Cut, Wanted};
use super::status::{CACHE_STATUS, CacheStatus, Forwarded};
use super::stored::StoredResponse;
use super::validation::{self, Precondition};
use crate::http::date;

/// A stored response, chosen for one request at one moment.
#[derive(Debug, Clone)]
pub struct Selected {
    response: Arc<StoredResponse>,
    now: Instant,
}

impl Selected {
    /// Chooses a response.
    pub fn new(response: Arc<StoredResponse>, now: Instant) -> Self {
        Self { response, now }
    }

    /// What was chosen.
    pub fn response(&self) -> &Arc<StoredResponse> {
        &self.response
    }

    /// What is left of its lifetime, in seconds; negative once it is stale.
    pub fn ttl(&self) -> i64 {
        self.response.ttl(self.now)
    }

    /// Asks the upstream whether it is still the same (RFC 9111 4.3.1), in place of the client's own conditions.
    pub fn add_conditions(&self, headers: &mut HeaderMap) {
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        let validators = &self.response.validators;
        if let Some(etag) = &validators.etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(last_modified) = &validators.last_modified {
            headers.insert(IF_MODIFIED_SINCE, last_modified.clone());
        }
    }

    /// Whether the client has this response already (RFC 9111 4.3.2).
    pub fn evaluate(&self, request: &HeaderMap) -> Precondition {
        if self.response.status() != StatusCode::OK {
            return Precondition::Full;
        }
        validation::evaluate(request, &self.response.validators)
    }

    /// What of it the client wants, where the answer would be all of it (RFC 9110 14.2).
    pub fn wanted(&self, request: &HeaderMap) -> Wanted {
        let response = &*self.response;
        if response.status() == StatusCode::OK {
            self.wanted_of(request, response.chunks().len())
        } else {
            Wanted::Whole
        }
    }

    /// What the client wants of a representation of that length, if `If-Range` allows it a part.
    pub(super) fn wanted_of(&self, request: &HeaderMap, length: u64) -> Wanted {
        let response = &*self.response;
        let date = response.field(&DATE).next().and_then(date::parse);
        let is_allowed = range::if_range_holds(request, &response.validators, date);
        if is_allowed { Wanted::of(request, length) } else { Wanted::Whole }
    }

    /// As [`Selected::answer`], cut to what the client wants; the method is GET.
    pub fn answer_part(
        &self,
        wanted: &Wanted,
        forwarded: Option<Forwarded>,
        recycled: HeaderMap,
    ) -> (StatusCode, HeaderMap, Cut) {
        let (mut status, mut headers, body) =
            self.answer(&Method::GET, Precondition::Full, forwarded, recycled);
        let cut = body.map_or(Cut::Empty, |body| range::cut(wanted, &mut status, &mut headers, body));
        (status, headers, cut)
    }

    /// The answer, written into `recycled` (usually the request's own map, whose memory is used again).
    ///
    /// `forwarded` is what `Cache-Status` tells of a response that was validated or is served in place of an error;
    /// `None` for a hit. The body is `None` for HEAD and for a 304.
    pub fn answer(
        &self,
        method: &Method,
        precondition: Precondition,
        forwarded: Option<Forwarded>,
        mut recycled: HeaderMap,
    ) -> (StatusCode, HeaderMap, Option<StoredBody>) {
        let response = &*self.response;
        let not_modified = precondition == Precondition::NotModified;
        recycled.clear();
        response.write_fields(not_modified, &mut recycled);
        let stamp = response.stamp(self.now);
        recycled.insert(AGE, stamp.age.clone());
        let told = forwarded.map(|forwarded| CacheStatus::Forwarded(forwarded).value());
        recycled.append(CACHE_STATUS, told.unwrap_or_else(|| stamp.cache_status.clone()));
        let status = if not_modified { StatusCode::NOT_MODIFIED } else { response.status() };
        let body = (!not_modified && *method != Method::HEAD).then(|| response.body());
        (status, recycled, body)
    }
}
