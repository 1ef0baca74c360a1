//! Whether a response may be stored, and on what terms (RFC 9111 3).
//!
//! [`Terms::judge`] is asked once, at the response's head; all that a hit will need is decided here and kept as
//! numbers.

mod plan;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, EXPIRES, HeaderMap, TRANSFER_ENCODING};
use http::{Method, StatusCode, request, response};
use tokio::time::Instant;

pub(super) use self::plan::is_useful;
pub use self::plan::{Plan, StaleRules};
use super::control::{MAX_SECONDS, RequestControl, ResponseControl};
use super::facts::{Permission, ResponseFacts};
use super::freshness;
use super::policy::{CachePolicy, Mode};
use super::vary::Vary;
use crate::http::{coding, fields};

/// What was found out about a response.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// What it says.
    pub facts: ResponseFacts,
    /// How it is to be stored, or why not.
    pub verdict: Result<Plan, Unstorable>,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unstorable {
    /// The route's cache is off.
    Off,
    /// Answers to this method are not stored, or not such as this one.
    Method,
    /// The request had a body, on which the response may depend.
    RequestBody,
    /// An interim, partial or not-modified answer, or one that is not understood.
    Status,
    /// The response says `no-store`.
    NoStore,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response is for one client.
    Private,
    /// The response sets a cookie.
    SetCookie,
    /// Nobody knows whom it suits.
    VaryAnything,
    /// The request has credentials and the response does not say that they do not matter.
    Credentials,
    /// It could not be used even once: stale at once, and nothing to validate it by.
    NoFreshness,
    /// Larger than the largest object that is stored.
    TooLarge,
}

impl Unstorable {
    /// A token for logs and `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Method => "method",
            Self::RequestBody => "request-body",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::SetCookie => "set-cookie",
            Self::VaryAnything => "vary",
            Self::Credentials => "credentials",
            Self::NoFreshness => "no-freshness",
            Self::TooLarge => "too-large",
        }
    }
}

/// What a judgement depends on besides the response.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The route's policy.
    pub policy: &'a CachePolicy,
    /// Whose response is judged: GET also where a HEAD brings news of a stored one; POST where its answer says that it is
    /// what a GET of its target would bring.
    pub method: &'a Method,
    /// The request with the client's own fields.
    pub request: &'a request::Parts,
    /// Whether it carries credentials.
    pub credentialed: bool,
    /// When it was sent.
    pub requested: Instant,
    /// When the response's head arrived.
    pub received: Instant,
    /// The same by the wall clock.
    pub received_wall: SystemTime,
    /// The cache's own largest object, in bytes.
    pub max_object: u64,
}

impl Terms<'_> {
    /// Judges a response by its head.
    pub fn judge(&self, response: &response::Parts) -> Judgement {
        let facts = ResponseFacts::of(&response.headers);
        let verdict =
            self.refuse(&facts, response).and_then(|()| match self.forced_lifetime(response.status) {
                Some(lifetime) => Ok(self.forced(&facts, response, lifetime)),
                None => self.standard(&facts, response),
            });
        Judgement { facts, verdict }
    }

    /// What holds in every mode.
    fn refuse(&self, facts: &ResponseFacts, response: &response::Parts) -> Result<(), Unstorable> {
        let length = fields::content_length(&response.headers);
        match () {
            () if self.policy.mode == Mode::Off => Err(Unstorable::Off),
            () if !self.is_method_storable(facts, response) => Err(Unstorable::Method),
            () if *self.method != Method::POST && has_body(&self.request.headers) => {
                Err(Unstorable::RequestBody)
            }
            () if !is_whole_and_final(response.status) => Err(Unstorable::Status),
            () if facts.sets_cookie => Err(Unstorable::SetCookie),
            () if facts.control.private.is_whole() => Err(Unstorable::Private),
            () if facts.vary == Vary::Anything => Err(Unstorable::VaryAnything),
            () if length.is_some_and(|length| length > self.max_object()) => Err(Unstorable::TooLarge),
            () => Ok(()),
        }
    }

    /// RFC 9110 9.3.1 to 9.3.3: the answer to a HEAD is for later ones, that to a POST for GET if it says for how long. What
    /// an operator forces on GET is said of no other method.
    fn is_method_storable(&self, facts: &ResponseFacts, response: &response::Parts) -> bool {
        let is_standard = self.policy.mode == Mode::Standard;
        match *self.method {
            Method::GET => true,
            Method::HEAD => is_standard,
            Method::POST => is_standard && self.explicit_lifetime(facts, response).is_some(),
            _ => false,
        }
    }

    fn explicit_lifetime(&self, facts: &ResponseFacts, response: &response::Parts) -> Option<Duration> {
        freshness::explicit_lifetime(&facts.control, &response.headers, self.received_wall)
    }

    /// The lifetime that the operator forces on a status, if any.
    fn forced_lifetime(&self, status: StatusCode) -> Option<Duration> {
        let policy = self.policy;
        match status.as_u16() {
            _ if policy.mode != Mode::Force => None,
            404 | 410 | 500..=599 => policy.negative_ttl,
            _ if freshness::is_heuristically_cacheable(status) && status.as_u16() < 400 => policy.ttl,
            _ => None,
        }
    }

    fn forced(&self, facts: &ResponseFacts, response: &response::Parts, lifetime: Duration) -> Plan {
        let if_error = self.policy.stale_if_error.unwrap_or_default();
        let stale = StaleRules {
            while_revalidate: self.policy.stale_while_revalidate.unwrap_or_default(),
            if_error,
            unavailable: if_error,
            disconnected: if_error,
            on_request: false,
        };
        let plan = self.plan(facts, response, stale);
        // The operator's time runs from the arrival, however old the origin says the response is.
        let by_body = self.policy.when.clone().filter(|_| response.status.as_u16() < 400);
        Plan { lifetime: lifetime.saturating_add(plan.initial_age), by_body, forced: true, ..plan }
    }

    fn standard(&self, facts: &ResponseFacts, response: &response::Parts) -> Result<Plan, Unstorable> {
        let control = &facts.control;
        let understood = control.must_understand && is_understood(response.status);
        let permission = Permission::of(control);
        if control.must_understand && !understood {
            return Err(Unstorable::Status);
        }
        // RFC 9111 5.2.2.3: who understands the status ignores the no-store beside must-understand.
        if control.no_store && !understood {
            return Err(Unstorable::NoStore);
        }
        if !is_offered(control, response) {
            return Err(Unstorable::NoFreshness);
        }
        // What `force` leaves to the rules it does not leave to the client's directives.
        if self.policy.mode == Mode::Standard && RequestControl::of(&self.request.headers).no_store {
            return Err(Unstorable::RequestNoStore);
        }
        // Under `force` every identity has a place of its own.
        let own_key = self.policy.mode == Mode::Force;
        if self.credentialed && !own_key && permission == Permission::Anonymous {
            return Err(Unstorable::Credentials);
        }
        let plan = self.plan(facts, response, self.stale_rules(control));
        let lifetime = self.standard_lifetime(facts, response, plan.initial_age);
        let by_body = self.policy.when.clone().filter(|_| self.leaves_lifetime_open(facts, response));
        let plan = Plan { lifetime: lifetime.unwrap_or_default(), by_body, forced: own_key, ..plan };
        if plan.by_body.is_some() || is_useful(&plan, &response.headers) {
            Ok(plan)
        } else {
            Err(Unstorable::NoFreshness)
        }
    }

    fn plan(&self, facts: &ResponseFacts, response: &response::Parts, stale: StaleRules) -> Plan {
        let delay = self.received.saturating_duration_since(self.requested);
        let head_only = *self.method == Method::HEAD;
        let without = [facts.control.private.fields(), facts.control.no_cache.fields()];
        Plan {
            lifetime: Duration::ZERO,
            by_body: None,
            initial_age: freshness::corrected_initial_age(&response.headers, self.received_wall, delay),
            received: self.received,
            received_wall: self.received_wall,
            stale,
            permission: Permission::of(&facts.control),
            forced: false,
            selecting: facts.vary.names().to_vec(),
            without: without.concat(),
            keeps_coded: self.policy.keeps_coded && !head_only && coding::is_codable(&response.headers),
            head_only,
            max_object: self.max_object(),
            figures: Arc::clone(&self.policy.figures),
        }
    }

    /// Explicit, else the route's, else a guess (RFC 9111 4.2.1, 4.2.2). None for an unqualified `no-cache`.
    fn standard_lifetime(
        &self,
        facts: &ResponseFacts,
        response: &response::Parts,
        initial_age: Duration,
    ) -> Option<Duration> {
        let (status, headers, control) = (response.status, &response.headers, &facts.control);
        if control.no_cache.is_whole() {
            return None;
        }
        let route = self.policy.ttl.filter(|_| self.has_defaults(status));
        self.explicit_lifetime(facts, response)
            // The operator's time runs from the arrival: a slow upstream must not use it up.
            .or(route.map(|ttl| ttl.saturating_add(initial_age)))
            .or_else(|| freshness::heuristic_lifetime(status, control, headers, self.received_wall))
    }

    /// Whether `ttl` and `when` have a say about responses of this status in `standard` mode.
    fn has_defaults(&self, status: StatusCode) -> bool {
        let is_standard = self.policy.mode == Mode::Standard;
        is_standard && status.as_u16() < 400 && freshness::is_heuristically_cacheable(status)
    }

    /// Whether the response itself says nothing about its lifetime.
    fn leaves_lifetime_open(&self, facts: &ResponseFacts, response: &response::Parts) -> bool {
        self.has_defaults(response.status)
            && !facts.control.no_cache.is_whole()
            && self.explicit_lifetime(facts, response).is_none()
    }

    /// The response's windows go before the route's; `s-maxage` keeps the route's out (RFC 9111 5.2.2.10).
    fn stale_rules(&self, control: &ResponseControl) -> StaleRules {
        if control.forbids_stale() {
            return StaleRules::default();
        }
        let on_request = control.s_maxage.is_none();
        let window = |said: Option<Duration>, ours: Option<Duration>| {
            said.or(ours.filter(|_| on_request)).unwrap_or_default()
        };
        let if_error = window(control.stale_if_error, self.policy.stale_if_error);
        let disconnected = if on_request { Duration::from_secs(MAX_SECONDS) } else { if_error };
        // Where somebody has given a window for errors, it is the window.
        let is_bounded = control.stale_if_error.or(self.policy.stale_if_error).is_some();
        StaleRules {
            while_revalidate: window(control.stale_while_revalidate, self.policy.stale_while_revalidate),
            if_error,
            unavailable: if is_bounded { if_error } else { disconnected },
            disconnected,
            on_request,
        }
    }

    fn max_object(&self) -> u64 {
        self.policy.max_object.unwrap_or(self.max_object).min(self.max_object)
    }
}

/// Whether a request says that it has a body (RFC 9112 6.3).
pub(super) fn has_body(request: &HeaderMap) -> bool {
    request.contains_key(TRANSFER_ENCODING)
        || request.get_all(CONTENT_LENGTH).iter().any(|length| length != "0")
}

/// RFC 9111 3 allows every final status; partial ones are not stored, and 304 is only news about something stored.
fn is_whole_and_final(status: StatusCode) -> bool {
    status.as_u16() >= 200 && status != StatusCode::PARTIAL_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// RFC 9111 3, last item: a response that does not say how long it is good is stored only if its status, or `public`, says
/// that it may be.
fn is_offered(control: &ResponseControl, response: &response::Parts) -> bool {
    let has_expires = !control.is_targeted && response.headers.contains_key(EXPIRES);
    control.public
        || control.max_age.or(control.s_maxage).is_some()
        || has_expires
        || freshness::is_heuristically_cacheable(response.status)
}

/// The statuses whose caching behaviour is known here (RFC 9111 5.2.2.3): those of RFC 9110 that can be cached at all.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 307 | 308 | 400..=410 | 413..=415 | 421 | 422 | 429 | 451 | 500..=505
    )
}

#[cfg(test)]
mod tests;
