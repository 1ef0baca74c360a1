//! A stored response.
//!
//! Everything that a hit needs is in the shape in which it is needed: fields as a plain list, the times as numbers, the
//! values of `Age` and `Cache-Status` written once a second. A hit copies references, compares integers and allocates
//! nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::StatusCode;
use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES,
    HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use tokio::time::Instant;

use super::body::{Chunks, Held, StoredBody};
use super::facts::Permission;
use super::freshness;
use super::part::Extent;
use super::status::CacheStatus;
use super::storable::{Plan, StaleRules};
use super::tags::{Membership, Provenance, Sequence};
use super::vary::{SelectingFields, unpinned};
use crate::metrics::{Gauge, RouteMetrics};

/// What a stored response costs besides its fields and its body, about.
const OVERHEAD: usize = 512;

/// A response as it is kept. The body is shared with whoever still reads it.
#[derive(Debug)]
pub struct StoredResponse {
    status: StatusCode,
    fields: Box<[Field]>,
    body: Arc<Chunks>,
    /// Which part of the representation the body is, where it is not all of it.
    pub(super) part: Option<Extent>,
    pub(super) selecting: SelectingFields,
    pub(super) lifetime: Duration,
    initial_age: Duration,
    received: Instant,
    /// By its `Date`, else when it came.
    pub(super) made: SystemTime,
    pub(super) stale: StaleRules,
    pub(super) permission: Permission,
    pub(super) forced: bool,
    pub(super) validators: Validators,
    membership: Membership,
    figures: Arc<RouteMetrics>,
    stamp: ArcSwap<Stamp>,
    /// When it was last selected, in milliseconds after its arrival.
    used: AtomicU64,
    weight: u64,
    _held: Held,
}

/// One field line.
#[derive(Debug)]
struct Field {
    name: HeaderName,
    value: HeaderValue,
    /// Whether a 304 carries it too.
    of_validation: bool,
}

/// By what a response is recognised as the same (RFC 9110 8.8).
#[derive(Debug, Default)]
pub(super) struct Validators {
    pub(super) etag: Option<HeaderValue>,
    pub(super) last_modified: Option<HeaderValue>,
    /// `Last-Modified`, else `Date`, else the arrival (RFC 9111 4.3.2).
    pub(super) changed: Option<SystemTime>,
}

/// The values that change with the age, as they are in one second of it.
#[derive(Debug)]
pub(super) struct Stamp {
    second: u64,
    pub(super) age: HeaderValue,
    pub(super) cache_status: HeaderValue,
}

/// What a response is made of, before it has a place in the store.
pub(super) struct Draft<'a> {
    pub(super) plan: &'a Plan,
    pub(super) provenance: Provenance,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Arc<Chunks>,
    /// Which part that is, where it is not all.
    pub(super) part: Option<Extent>,
    /// The request's fields, from which the selecting ones are taken.
    pub(super) request: &'a HeaderMap,
}

impl StoredResponse {
    pub(super) fn new(draft: Draft<'_>, gauge: &Arc<Gauge>) -> Self {
        let Draft { plan, provenance, status, headers, body, part, request } = draft;
        let fields = stored_fields(status, headers, plan, body.len());
        let selecting = SelectingFields::of(&plan.selecting, request);
        let head =
            fields.iter().map(|field| field.name.as_str().len() + field.value.len() + 72).sum::<usize>();
        let head = (head + selecting.weight() + provenance.weight() + OVERHEAD) as u64;
        let made = freshness::made_at(headers, plan.received_wall);
        let validators = Validators {
            etag: headers.get(ETAG).map(unpinned),
            last_modified: headers.get(LAST_MODIFIED).map(unpinned),
            changed: freshness::http_date(headers, &LAST_MODIFIED).or(Some(made)),
        };
        let stamp = Stamp::new(plan.initial_age.as_secs(), plan.lifetime);
        Self {
            status,
            fields,
            part,
            selecting,
            lifetime: plan.lifetime,
            initial_age: plan.initial_age,
            received: plan.received,
            made,
            stale: plan.stale,
            permission: plan.permission,
            forced: plan.forced,
            validators,
            membership: Membership::new(provenance, head + body.len()),
            figures: Arc::clone(&plan.figures),
            stamp: ArcSwap::from_pointee(stamp),
            used: AtomicU64::new(0),
            weight: head + body.weight(),
            _held: Held::new(head, gauge),
            body,
        }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields under a name, line by line.
    pub fn field<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
        self.fields.iter().filter(move |field| field.name == *name).map(|field| &field.value)
    }

    /// Adds its fields to a head: all of them, or those that a 304 carries.
    pub(super) fn write_fields(&self, is_not_modified: bool, headers: &mut HeaderMap) {
        for field in self.fields.iter().filter(|field| !is_not_modified || field.of_validation) {
            headers.append(field.name.clone(), field.value.clone());
        }
    }

    /// All its fields.
    pub fn headers(&self) -> HeaderMap {
        self.fields.iter().map(|field| (field.name.clone(), field.value.clone())).collect()
    }

    /// Its body.
    pub fn body(&self) -> StoredBody {
        StoredBody::new(&self.body)
    }

    /// How old it is (RFC 9111 4.2.3).
    pub fn current_age(&self, now: Instant) -> Duration {
        self.initial_age.saturating_add(now.saturating_duration_since(self.received))
    }

    /// What is left of its lifetime, in seconds; negative once it is stale.
    pub fn ttl(&self, now: Instant) -> i64 {
        ttl(self.lifetime, self.current_age(now).as_secs())
    }

    /// Whether it can be asked about upstream.
    pub fn has_validator(&self) -> bool {
        self.validators.etag.is_some() || self.validators.last_modified.is_some()
    }

    /// Whether it is the variant for a request with these fields (RFC 9111 4.1).
    pub fn suits(&self, request: &HeaderMap) -> bool {
        self.selecting.matches(request)
    }

    /// Body, fields and overhead, in bytes.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn chunks(&self) -> &Arc<Chunks> {
        &self.body
    }

    /// It can no longer be found, though somebody may still read it.
    pub(super) fn leave(&self) {
        self.membership.leave();
    }

    /// The same, before anything took its place.
    pub(super) fn be_evicted(&self) {
        self.figures.evictions.inc();
        self.leave();
    }

    pub(super) fn is_valid(&self, sequence: &Sequence) -> bool {
        self.membership.is_valid(sequence)
    }

    /// Until when it is worth keeping: as long as it may be served, and somewhat longer to be validated.
    pub(super) fn keep_until(&self) -> Instant {
        const TO_BE_VALIDATED: Duration = Duration::from_secs(600);
        const AT_LEAST: Duration = Duration::from_secs(60);
        let stale = self.stale.while_revalidate.max(self.stale.if_error);
        let more = if self.has_validator() { TO_BE_VALIDATED } else { AT_LEAST };
        let fresh = self.lifetime.saturating_sub(self.initial_age);
        // The lifetime is capped at 68 years, the windows too: no clock overflows.
        self.received + fresh + stale.max(more)
    }

    pub(super) fn last_used(&self) -> Instant {
        self.received + Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn touch(&self, now: Instant) {
        let since = now.saturating_duration_since(self.received).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        // A store that changes nothing would still take the cache line from the other cores.
        if since.saturating_sub(self.used.load(Ordering::Relaxed)) > 250 {
            self.used.store(since, Ordering::Relaxed);
        }
    }

    /// The values that change with its age, as they are now.
    pub(super) fn stamp(&self, now: Instant) -> arc_swap::Guard<Arc<Stamp>> {
        let second = self.current_age(now).as_secs();
        let stamp = self.stamp.load();
        if stamp.second == second {
            return stamp;
        }
        self.stamp.store(Arc::new(Stamp::new(second, self.lifetime)));
        let fresh = self.stamp.load();
        // Another thread may be a second ahead by now; its value is as good.
        fresh
    }
}

impl Stamp {
    fn new(second: u64, lifetime: Duration) -> Self {
        let cache_status = CacheStatus::Hit { ttl: ttl(lifetime, second) }.value();
        Self { second, age: HeaderValue::from(second), cache_status }
    }
}

fn ttl(lifetime: Duration, age: u64) -> i64 {
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    signed(lifetime.as_secs()).saturating_sub(signed(age))
}

/// The fields that are kept (RFC 9111 3.1), with `Date` and `Content-Length` completed. The length of what a HEAD did not
/// bring is what its answer said.
fn stored_fields(status: StatusCode, headers: &HeaderMap, plan: &Plan, length: u64) -> Box<[Field]> {
    let has_etag = headers.contains_key(ETAG);
    let field = |name: &HeaderName, value: HeaderValue| Field {
        name: name.clone(),
        value,
        of_validation: is_of_validation(name, has_etag),
    };
    let kept = headers
        .iter()
        .filter(|(name, _)| is_kept(name) && !plan.without.contains(name))
        .filter(|(name, _)| **name != CONTENT_LENGTH || plan.head_only);
    let mut fields: Vec<_> = kept.map(|(name, value)| field(name, unpinned(value))).collect();
    if !headers.contains_key(DATE) {
        let date = HeaderValue::try_from(httpdate::fmt_http_date(plan.received_wall));
        fields.extend(date.ok().map(|date| field(&DATE, date)));
    }
    // RFC 9110 8.6: a 204 has none.
    if status != StatusCode::NO_CONTENT && !plan.head_only {
        fields.push(field(&CONTENT_LENGTH, HeaderValue::from(length)));
    }
    fields.into()
}

/// RFC 9111 3.1, and what every answer gets anew. The fields that `Connection` names are gone already.
pub(super) fn is_kept(name: &HeaderName) -> bool {
    !matches!(
        *name,
        AGE | CONNECTION
            | CONTENT_RANGE
            | PROXY_AUTHENTICATE
            | PROXY_AUTHORIZATION
            | SET_COOKIE
            | TE
            | TRAILER
            | TRANSFER_ENCODING
            | UPGRADE
    ) && !matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "proxy-authentication-info" | "set-cookie2"
    )
}

/// RFC 9110 15.4.5: a 304 carries what a cache is updated by, and no other metadata of the representation.
fn is_of_validation(name: &HeaderName, has_etag: bool) -> bool {
    match *name {
        CACHE_CONTROL | CONTENT_LOCATION | DATE | ETAG | EXPIRES | VARY => true,
        LAST_MODIFIED => !has_etag,
        _ => !name.as_str().starts_with("content-"),
    }
}
