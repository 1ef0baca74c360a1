//! How long a response is good by what its JSON body says: `cache.when`.
//!
//! Asked when the body is whole; the body has streamed to its clients meanwhile. What cannot be read decides nothing, is
//! counted, and leaves the lifetime that the head gave.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderMap};

use super::storable::{Plan, Unstorable, is_useful};
use crate::http::json::{Pointer, Scalar};
use crate::http::tap::MAX_TAPPED;
use crate::metrics::{RouteMetrics, UnreadBody};

/// The rules of one route, in their order, with its figures.
#[derive(Debug)]
pub struct BodyRules {
    /// The first that matches decides; at least one.
    pub rules: Vec<BodyRule>,
    /// Where bodies that could not be read are counted.
    pub figures: Arc<RouteMetrics>,
}

/// One of them: which value decides, and what it decides.
#[derive(Debug, Clone)]
pub struct BodyRule {
    /// Where the value is.
    pub pointer: Pointer,
    /// The values that match, as text: `completed`, `100`, `true`.
    pub values: Vec<String>,
    /// The freshness lifetime then, from the response's arrival; zero: it is not stored.
    pub ttl: Duration,
}

impl BodyRules {
    /// The lifetime by the first rule that matches.
    fn decide(&self, body: &[u8]) -> Result<Option<Duration>, UnreadBody> {
        // Rules about one value usually stand together: it is looked up once for all of them.
        let mut last: Option<(&Pointer, Option<Scalar>)> = None;
        for rule in &self.rules {
            let found = match last.take() {
                Some((pointer, found)) if *pointer == rule.pointer => found,
                _ => rule.pointer.find(body).map_err(|_| UnreadBody::NotJson)?,
            };
            if found.as_ref().is_some_and(|found| rule.values.iter().any(|value| value == found.text())) {
                return Ok(Some(rule.ttl));
            }
            last = Some((&rule.pointer, found));
        }
        Ok(None)
    }
}

impl Plan {
    /// Whether the body has a say in the lifetime.
    pub fn is_by_body(&self) -> bool {
        self.by_body.is_some()
    }

    /// Whether nothing that the body may say keeps it from being stored. `headers` are the response's.
    pub fn is_certain(&self, headers: &HeaderMap) -> bool {
        self.by_body.as_ref().is_none_or(|rules| {
            is_useful(self, headers) && !rules.rules.iter().any(|rule| rule.ttl.is_zero())
        })
    }

    /// The terms once the body is there; `body` is `None` where it is longer than 64 KiB.
    ///
    /// # Errors
    /// It is of no use by what the body says.
    pub(super) fn decided(
        &self,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<Cow<'_, Self>, Unstorable> {
        let Some(rules) = &self.by_body else { return Ok(Cow::Borrowed(self)) };
        let read = match body {
            Some(_) if headers.contains_key(CONTENT_ENCODING) => Err(UnreadBody::Encoded),
            Some(body) if body.len() <= MAX_TAPPED => rules.decide(body),
            Some(_) | None => Err(UnreadBody::TooLong),
        };
        let ttl = read.unwrap_or_else(|why| {
            rules.figures.count_unread(why);
            None
        });
        let decided = match ttl {
            Some(ttl) => Self { lifetime: ttl.saturating_add(self.initial_age), ..self.clone() },
            None => self.clone(),
        };
        if is_useful(&decided, headers) { Ok(Cow::Owned(decided)) } else { Err(Unstorable::NoFreshness) }
    }
}
