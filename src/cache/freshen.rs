//! News of a stored response: the 304 to its validation, or the answer to a HEAD (RFC 9111 4.3.4, 4.3.5).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, ETAG, HeaderName, LAST_MODIFIED};
use http::{Method, StatusCode, response};
use tokio::time::Instant;

use super::facts::Permission;
use super::fetch::{Exchange, Fetch, Freshened, NotStored};
use super::policy::CachePolicy;
use super::selected::Selected;
use super::storable::{Plan, StaleRules};
use super::stored::{Draft, StoredResponse};
use super::{Cache, validation};
use crate::metrics::Gauge;

impl Cache {
    /// Brings a stored response up to date by the 304 that its validation got, or by the 200 that a HEAD got.
    ///
    /// `None`: the answer is about some other response. After a 304 ask again without conditions; after a HEAD what
    /// was stored is dropped. A `Set-Cookie` beside a 304 is for its client alone, and the caller's to hand on.
    pub fn freshen(
        &self,
        fetch: &Fetch,
        policy: &CachePolicy,
        selected: &Selected,
        exchange: &Exchange<'_>,
        news: &response::Parts,
    ) -> Option<Freshened> {
        let old = selected.response();
        if !is_news(old, news) {
            if news.status != StatusCode::NOT_MODIFIED {
                self.store.discard(fetch.key, old);
            }
            return None;
        }
        let mut response = http::Response::new(()).into_parts().0;
        response.status = old.status();
        response.headers = validation::updated_fields(old, &news.headers);
        let judgement = self.terms(policy, exchange, &Method::GET).judge(&response);
        let request = &exchange.request.headers;
        let make = |plan: &Plan, gauge: &Arc<Gauge>| {
            let draft = Draft {
                plan,
                provenance: fetch.provenance.clone(),
                status: old.status(),
                headers: &response.headers,
                body: Arc::clone(old.chunks()),
                part: None,
                request,
            };
            Arc::new(StoredResponse::new(draft, gauge))
        };
        let stored = judgement.verdict.map_err(NotStored::Unstorable).and_then(|plan| {
            let decided = plan.decided(&response.headers, old.chunks().in_one());
            let plan = decided.map_err(NotStored::Unstorable)?;
            self.put(fetch, &plan, request, 0, |gauge| make(&plan, gauge))
        });
        let (response, stored) = match stored {
            Ok(response) => (response, Ok(())),
            Err(reason) => {
                self.store.discard(fetch.key, old);
                let once = Plan::for_one_answer(exchange.received, self.clock.wall(exchange.received));
                let response = make(&once, &Arc::default());
                response.leave();
                (response, Err(reason))
            }
        };
        let selected = Selected::new(response, exchange.received);
        Some(Freshened { selected, facts: judgement.facts, stored })
    }
}

/// Whether an answer is about the stored response. To a HEAD nobody has compared anything: status and length must agree, too,
/// and what validators it has must be stored, but it needs none (RFC 9111 4.3.5).
fn is_news(old: &StoredResponse, news: &response::Parts) -> bool {
    let same_length = || {
        let mut lengths = news.headers.get_all(CONTENT_LENGTH).iter();
        lengths.all(|length| old.field(&CONTENT_LENGTH).any(|stored| stored == length))
    };
    let has_stored_validators_only = || {
        let stored = |name: &HeaderName| old.field(name).next().is_some();
        [ETAG, LAST_MODIFIED].iter().all(|name| !news.headers.contains_key(name) || stored(name))
    };
    let is_about = validation::is_about(old, &news.headers);
    match news.status {
        StatusCode::NOT_MODIFIED => is_about,
        StatusCode::OK => {
            is_about && old.status() == StatusCode::OK && same_length() && has_stored_validators_only()
        }
        _ => false,
    }
}

impl Plan {
    /// Terms for a response that answers one request and is never stored.
    fn for_one_answer(received: Instant, received_wall: SystemTime) -> Self {
        Self {
            lifetime: Duration::ZERO,
            by_body: None,
            initial_age: Duration::ZERO,
            received,
            received_wall,
            stale: StaleRules::default(),
            permission: Permission::Anonymous,
            forced: false,
            selecting: Vec::new(),
            without: Vec::new(),
            keeps_coded: false,
            head_only: false,
            max_object: 0,
            figures: Arc::default(),
        }
    }
}
