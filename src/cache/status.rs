//! `Cache-Status` (RFC 9211): what the cache did for a request, in one field.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, StatusCode};

/// The field's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Why a request went on to the upstream (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache is told not to handle this request.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing is stored under the request's URI.
    UriMiss,
    /// Something is stored under the URI, but no variant for this request.
    VaryMiss,
    /// The stored response is fresh, but the request's own directives want more.
    Request,
    /// The stored response is stale.
    Stale,
    /// The stored response has only a part of what is asked for.
    Partial,
}

impl Forward {
    /// The token of the `fwd` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// What the cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Answered from the store, for as many seconds still fresh; stale where negative.
    Hit {
        /// Remaining freshness in seconds.
        ttl: i64,
    },
    /// Sent on to the upstream.
    Forwarded(Forwarded),
}

/// What is worth telling about a request that was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// Why.
    pub reason: Forward,
    /// What the upstream said where that is not the status of the answer, such as 304.
    pub status: Option<StatusCode>,
    /// Whether the answer is now stored.
    pub stored: bool,
    /// Its remaining freshness in seconds.
    pub ttl: Option<i64>,
    /// Whether the request shared somebody else's flight.
    pub collapsed: bool,
    /// More, for a human: a token (RFC 9651 3.3.4).
    pub detail: Option<&'static str>,
}

impl Forwarded {
    /// Sent on for that reason, and no more to say.
    pub const fn because(reason: Forward) -> Self {
        Self { reason, status: None, stored: false, ttl: None, collapsed: false, detail: None }
    }
}

impl CacheStatus {
    /// The field's value; the usual ones without an allocation.
    pub fn value(&self) -> HeaderValue {
        if let Self::Forwarded(forwarded) = *self {
            if forwarded == Forwarded::because(forwarded.reason) {
                return plain(forwarded.reason);
            }
            let collapsed = Forwarded { collapsed: true, ..Forwarded::because(Forward::UriMiss) };
            if forwarded == collapsed {
                return HeaderValue::from_static("forebay; fwd=uri-miss; collapsed");
            }
        }
        let written = HeaderValue::try_from(self.text());
        written.unwrap_or_else(|_| HeaderValue::from_static("forebay"))
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(64);
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Hit { ttl } => write!(text, "forebay; hit; ttl={ttl}"),
            Self::Forwarded(forwarded) => forwarded.write(&mut text),
        };
        text
    }
}

impl Forwarded {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        write!(text, "forebay; fwd={}", self.reason.as_str())?;
        if let Some(status) = self.status {
            write!(text, "; fwd-status={}", status.as_u16())?;
        }
        if self.stored {
            text.push_str("; stored");
        }
        if let Some(ttl) = self.ttl {
            write!(text, "; ttl={ttl}")?;
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            write!(text, "; detail={detail}")?;
        }
        Ok(())
    }
}

/// Made by the compiler: at run time each byte of a value is looked at.
fn plain(reason: Forward) -> HeaderValue {
    match reason {
        Forward::Bypass => const { HeaderValue::from_static("forebay; fwd=bypass") },
        Forward::Method => const { HeaderValue::from_static("forebay; fwd=method") },
        Forward::UriMiss => const { HeaderValue::from_static("forebay; fwd=uri-miss") },
        Forward::VaryMiss => const { HeaderValue::from_static("forebay; fwd=vary-miss") },
        Forward::Request => const { HeaderValue::from_static("forebay; fwd=request") },
        Forward::Stale => const { HeaderValue::from_static("forebay; fwd=stale") },
        Forward::Partial => const { HeaderValue::from_static("forebay; fwd=partial") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_says_what_happened() {
        let miss = Forwarded::because(Forward::UriMiss);
        let stale = Forwarded::because(Forward::Stale);
        for (status, expected) in [
            (CacheStatus::Hit { ttl: 3 }, "forebay; hit; ttl=3"),
            (CacheStatus::Hit { ttl: -5 }, "forebay; hit; ttl=-5"),
            (CacheStatus::Forwarded(miss), "forebay; fwd=uri-miss"),
            (
                CacheStatus::Forwarded(Forwarded { stored: true, ttl: Some(2), ..miss }),
                "forebay; fwd=uri-miss; stored; ttl=2",
            ),
            (
                CacheStatus::Forwarded(Forwarded { collapsed: true, ..miss }),
                "forebay; fwd=uri-miss; collapsed",
            ),
            (
                CacheStatus::Forwarded(Forwarded {
                    status: Some(StatusCode::SERVICE_UNAVAILABLE),
                    ttl: Some(-9),
                    detail: Some("stale-if-error"),
                    ..stale
                }),
                "forebay; fwd=stale; fwd-status=503; ttl=-9; detail=stale-if-error",
            ),
        ] {
            assert_eq!(status.value(), expected);
        }
    }

    #[test]
    fn the_plain_reasons_read_like_the_written_ones() {
        for reason in [
            Forward::Bypass,
            Forward::Method,
            Forward::UriMiss,
            Forward::VaryMiss,
            Forward::Request,
            Forward::Stale,
            Forward::Partial,
        ] {
            let status = CacheStatus::Forwarded(Forwarded::because(reason));
            assert_eq!(status.value(), status.text());
        }
    }
}
