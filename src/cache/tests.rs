use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE,
    ETAG, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LINK, RANGE, SET_COOKIE,
    VARY, VIA,
};
use http::{Request, Response, StatusCode, request};
use http_body::Body as _;

use super::*;
use crate::digest::Digester;

mod bounds;
mod force;
mod races;
mod revalidation;
mod rules;

const MIB: u64 = 1 << 20;

type Fields<'a> = &'a [(HeaderName, &'a str)];

/// A cache with one resource and an origin that the tests play themselves; all in paused time.
struct Bench {
    cache: Arc<Cache>,
    clock: Clock,
    digester: Digester,
    policy: CachePolicy,
}

impl Bench {
    fn new(policy: CachePolicy) -> Self {
        let clock = Clock::start();
        let cache = Arc::new(Cache::new(clock, Limits { max_bytes: 64 * MIB, max_object: 8 * MIB }));
        Self { cache, clock, digester: Digester::random(), policy }
    }

    fn standard() -> Self {
        Self::new(CachePolicy::standard("route"))
    }

    fn key(&self, request: &request::Parts) -> CacheKey {
        self.policy.key.key(&self.digester, "http", request)
    }

    fn begin(&self, request: &request::Parts) -> Fetch {
        let url = self.policy.key.url("h", request.uri.path(), request.uri.query());
        self.cache.begin(&self.policy, self.key(request), &url, &self.policy.tags(|_| None))
    }

    fn exchange<'a>(&self, request: &'a request::Parts) -> Exchange<'a> {
        let now = self.clock.now();
        Exchange { request, credentialed: credentialed(request), requested: now, received: now }
    }

    fn lookup(&self, request: &request::Parts) -> Lookup {
        let now = self.clock.now();
        let (policy, key) = (&self.policy, self.key(request));
        self.cache.lookup(Query { policy, key, request, credentialed: credentialed(request), now })
    }

    fn store(
        &self,
        request: &request::Parts,
        response: &response::Parts,
        body: &str,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        let fetch = self.begin(request);
        self.finish(&fetch, request, response, body.as_bytes().to_vec().into())
    }

    fn finish(
        &self,
        fetch: &Fetch,
        request: &request::Parts,
        response: &response::Parts,
        body: Bytes,
    ) -> Result<Arc<StoredResponse>, NotStored> {
        let judgement = self.cache.judge(&self.policy, &self.exchange(request), response);
        let plan = judgement.verdict.map_err(NotStored::Unstorable)?;
        self.cache.store(fetch, &plan, &request.headers, response, [body])
    }

    fn gather(&self, request: &request::Parts, response: &response::Parts) -> Gathering {
        let judgement = self.cache.judge(&self.policy, &self.exchange(request), response);
        self.cache.gather(judgement.verdict.unwrap(), None)
    }

    fn fresh(&self, request: &request::Parts) -> Selected {
        match self.lookup(request) {
            Lookup::Fresh(selected) => selected,
            other => panic!("{other:?}"),
        }
    }

    fn stale(&self, request: &request::Parts) -> (Selected, StaleUse) {
        match self.lookup(request) {
            Lookup::Stale(selected, stale) => (selected, stale),
            other => panic!("{other:?}"),
        }
    }

    /// A word for what the lookup comes to.
    fn outcome(&self, request: &request::Parts) -> &'static str {
        match self.lookup(request) {
            Lookup::Fresh(_) => "fresh",
            Lookup::Stale(_, StaleUse { while_revalidate: true, .. }) => "stale-while-revalidate",
            Lookup::Stale(_, StaleUse { if_error: true, .. }) => "stale-if-error",
            Lookup::Stale(_, StaleUse { when_disconnected: true, .. }) => "stale-when-disconnected",
            Lookup::Stale(_, stale) => stale.reason.as_str(),
            Lookup::Forward(reason) => reason.as_str(),
            Lookup::OnlyIfCached => "only-if-cached",
        }
    }
}

fn credentialed(request: &request::Parts) -> bool {
    request.headers.contains_key(AUTHORIZATION) || request.headers.contains_key(COOKIE)
}

fn with_method(method: Method, path: &str, fields: Fields<'_>) -> request::Parts {
    let mut parts = Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0;
    parts.headers.insert("host", "h".parse().unwrap());
    fields.iter().for_each(|(name, value)| {
        parts.headers.append(name.clone(), value.parse().unwrap());
    });
    parts
}

fn get(fields: Fields<'_>) -> request::Parts {
    with_method(Method::GET, "/", fields)
}

fn response(status: u16, fields: Fields<'_>) -> response::Parts {
    let mut parts = Response::builder().status(status).body(()).unwrap().into_parts().0;
    fields.iter().for_each(|(name, value)| {
        parts.headers.append(name.clone(), value.parse().unwrap());
    });
    parts
}

fn for_a_minute() -> response::Parts {
    response(200, &[(CACHE_CONTROL, "max-age=60")])
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

fn answer(selected: &Selected, request: &request::Parts) -> (StatusCode, HeaderMap, Option<StoredBody>) {
    selected.answer(&request.method, selected.evaluate(&request.headers), None, request.headers.clone())
}
