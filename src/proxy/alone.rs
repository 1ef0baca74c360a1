//! Requests that are nobody else's business: they neither share a fetch nor meet the store.

use std::fmt;

use http::header::{self, HeaderMap};
use http::{Method, request};

use crate::cache::Mode;
use crate::http::fields;
use crate::policy::{Collapse, Route};

/// Why a request goes to the upstream by itself, past the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    /// Only GET and HEAD are for sharing.
    Method,
    /// What comes back may depend on the body.
    Body,
    /// The route neither stores nor collapses.
    Route,
    /// It asks for a part: a stored response may answer it, a fetch for it is nobody else's.
    Range,
    /// It wants to change the protocol.
    Upgrade,
    /// It has a condition that only the origin can evaluate.
    Condition,
    /// It asks for another method in a field, and nobody knows whether the upstream obeys.
    Override,
    /// It wants a stream that does not end.
    EventStream,
}

impl Alone {
    /// The first reason there is; none for a request that others may share or a stored response answer.
    pub(super) fn reason(parts: &request::Parts, has_body: bool, route: &Route) -> Option<Self> {
        match () {
            () if !matches!(parts.method, Method::GET | Method::HEAD) => Some(Self::Method),
            () if has_body => Some(Self::Body),
            () if route.collapse == Collapse::Off && route.cache.mode == Mode::Off => Some(Self::Route),
            () => Self::special_wish(&parts.method, &parts.headers),
        }
    }

    /// A range comes last, since a stored response may still answer it.
    fn special_wish(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let mut has_range = false;
        let other = headers.keys().find_map(|name| match *name {
            header::RANGE => {
                has_range = true;
                None
            }
            header::UPGRADE => Some(Self::Upgrade),
            header::IF_MATCH | header::IF_UNMODIFIED_SINCE => Some(Self::Condition),
            header::ACCEPT => {
                fields::has_token(headers, name, "text/event-stream").then_some(Self::EventStream)
            }
            _ => fields::overrides_method(name).then_some(Self::Override),
        });
        // RFC 9110 14.2: only GET has ranges.
        other.or((has_range && *method == Method::GET).then_some(Self::Range))
    }
}

/// For people.
impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "it is neither GET nor HEAD",
            Self::Body => "it has a body",
            Self::Route => "the route says so",
            Self::Range => "it asks for a part, which only what is stored already may answer",
            Self::Upgrade => "it asks for another protocol",
            Self::Condition => "only the backend can evaluate its condition",
            Self::Override => "it has a field that asks for another method",
            Self::EventStream => "it asks for an event stream",
        })
    }
}
