//! Every reason for which forebay answers instead of the origin, and what such an answer looks like.
//!
//! Stages say the cause; here it becomes a status, a `Retry-After`, a problem document (RFC 9457) and a `Proxy-Status`
//! (RFC 9209). A refusal is never stored and never forwarded.

mod kind;

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use self::kind::Kind;
use crate::admission::Shed;
use crate::http::body::UploadFault;
use crate::http::target::BadTarget;
use crate::rate_limit::{Limited, RATELIMIT, RATELIMIT_POLICY};
use crate::upstream;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// `Allow`: what forebay forwards; a route may take fewer.
pub const ALLOWED_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// What a client is told to wait for where nothing better is known.
const A_MOMENT: Duration = Duration::from_secs(1);

/// An answer of forebay's own.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The target or `Host` is unusable.
    BadTarget(BadTarget),
    /// The head breaks the protocol in a way that could smuggle a request.
    BadFraming(&'static str),
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// The target is longer than half a head may be.
    TargetTooLong,
    /// The request expects something other than `100-continue` (RFC 9110 section 10.1.1).
    UnknownExpectation,
    /// The transfer coding is not one that forebay undoes.
    UnknownCoding,
    /// The body is too large, ended early or stalled.
    Upload(UploadFault),
    /// No route matches.
    NoRoute,
    /// A rate limit.
    Limited(Arc<Limited>),
    /// An in-flight pool.
    Shed(Shed),
    /// The upstream.
    Upstream(upstream::Error),
    /// The upstream switched to a protocol that nobody had asked for.
    UnaskedUpgrade,
    /// The whole exchange took longer than the route allows.
    ExchangeTimeout,
    /// Too many wait for the same answer already.
    TooManyFollowers,
    /// `only-if-cached`, and nothing usable is stored (RFC 9111 section 5.2.1.7).
    OnlyIfCached,
    /// The key of a start was used for another request.
    KeyReused,
    /// The start was made under this key, and its answer could not be kept.
    NotRepeatable,
    /// The request's own processing failed; the fault is forebay's.
    Internal,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.kind().status
    }

    /// Whether the request was turned away before the upstream was asked, so that what rate limits charged for it is
    /// given back.
    pub fn is_before_upstream(&self) -> bool {
        use upstream::Error::{AcquireTimeout, NoDescriptors, NoServer};
        matches!(
            self,
            Self::Shed(_)
                | Self::Limited(_)
                | Self::TooManyFollowers
                | Self::Upstream(AcquireTimeout | NoDescriptors | NoServer { .. })
        )
    }

    /// Whether the fault is the upstream's or the way's to it, so that a stale response may serve instead.
    pub fn is_upstream_failure(&self) -> bool {
        matches!(self, Self::Upstream(_) | Self::UnaskedUpgrade | Self::ExchangeTimeout)
    }

    /// Whether no connection to the upstream came about, so that it knows nothing of the request.
    pub fn is_connect_failure(&self) -> bool {
        use upstream::Error::{
            ConnectTimeout, ConnectionRefused, Dns, TlsAlert, TlsCertificate, TlsProtocol,
        };
        matches!(
            self,
            Self::Upstream(
                ConnectionRefused | ConnectTimeout | Dns | TlsAlert | TlsCertificate | TlsProtocol
            )
        )
    }

    /// Whether the message itself is broken, so that nothing more can be read from its connection.
    pub fn is_about_framing(&self) -> bool {
        matches!(self, Self::BadFraming(_) | Self::UnknownCoding)
    }

    /// The name of the rule that refused.
    pub fn limit(&self) -> Option<&str> {
        match self {
            Self::Limited(limited) => Some(limited.limit()),
            Self::Shed(shed) => Some(&shed.pool),
            _ => None,
        }
    }

    /// One sentence for a person.
    pub(crate) fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::BadTarget(reason) => format!("{reason}.").into(),
            Self::BadFraming(reason) => format!("{reason}.").into(),
            Self::MethodNotAllowed => "CONNECT and TRACE are not forwarded.".into(),
            Self::TargetTooLong => {
                "The request's target is longer than half of listener.max_header_bytes.".into()
            }
            Self::UnknownExpectation => "Only `Expect: 100-continue` is understood.".into(),
            Self::UnknownCoding => "Only `Transfer-Encoding: chunked` is understood.".into(),
            Self::Upload(fault) => format!("{fault}.").into(),
            Self::NoRoute => "No route of the configuration matches this request.".into(),
            Self::Limited(limited) => limited.in_words().into(),
            Self::Shed(shed) => {
                format!("The in-flight limit \"{}\" is reached: {}.", shed.pool, shed.reason).into()
            }
            Self::Upstream(error) => format!("{error}.").into(),
            Self::UnaskedUpgrade => {
                "The upstream switched to a protocol that the request did not ask for.".into()
            }
            Self::ExchangeTimeout => "The exchange took longer than the route allows.".into(),
            Self::TooManyFollowers => "More requests than allowed wait for this answer already.".into(),
            Self::OnlyIfCached => "The request said only-if-cached, and nothing usable is stored.".into(),
            Self::KeyReused => "The key was used for a request with another body.".into(),
            Self::NotRepeatable => {
                "The request with this key was made, and its answer cannot be repeated.".into()
            }
            Self::Internal => "forebay failed on this request.".into(),
        }
    }

    /// After how many whole seconds a try makes sense; on every 429 and 503.
    fn retry_after(&self, spread: f64) -> Option<u64> {
        let (wait, is_shared) = match self {
            // Every client has its own window: they do not come back together, so the time is told as it is.
            Self::Limited(limited) => (limited.retry_after(), limited.is_shared()),
            Self::Shed(shed) => (shed.retry_after, true),
            Self::Upstream(upstream::Error::NoServer { retry_after }) => (*retry_after, true),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => (A_MOMENT, true),
            _ => return None,
        };
        let wait = if is_shared { wait.mul_f64(1.0 + spread * 0.1) } else { wait };
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).map(|seconds| seconds.max(1))
    }

    /// The answer. `spread` in 0..1 spreads the returns of those who are turned away together; `headers`, without what was in
    /// them, become the answer's own.
    pub fn response(&self, request_id: &HeaderValue, spread: f64, mut headers: HeaderMap) -> Response<Bytes> {
        let Kind { status, slug, title, proxy_status } = self.kind();
        let retry_after = self.retry_after(spread);
        let body = self.document(status, slug, title, retry_after, request_id);
        headers.clear();
        headers.reserve(10);
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PROXY_STATUS, HeaderValue::from_static(proxy_status));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::Limited(limited) => {
                headers.insert(RATELIMIT_POLICY, limited.policy_field().clone());
                headers.insert(RATELIMIT, limited.field());
            }
            // What follows a CONNECT may be meant for the tunnel.
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, ALLOWED_METHODS);
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            // What follows on the connection cannot be told from the broken message (RFC 9112 section 6.3); who sends two
            // hosts, or a path in disguise, is not trusted with another try on it either.
            Self::BadTarget(_)
            | Self::BadFraming(_)
            | Self::TargetTooLong
            | Self::UnknownExpectation
            | Self::UnknownCoding
            | Self::Upload(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The problem document. Every part is ours or has been checked, but the id, which is visible ASCII.
    fn document(
        &self,
        status: StatusCode,
        slug: &str,
        title: &str,
        retry_after: Option<u64>,
        id: &HeaderValue,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(352);
        let head = [
            r#"{"type":"urn:forebay:problem:"#,
            slug,
            r#"","title":""#,
            title,
            r#"","status":"#,
            status.as_str(),
            r#","detail":"#,
        ];
        head.into_iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        push_json(&mut out, &self.detail());
        out.extend_from_slice(br#","instance":"#);
        push_json(&mut out, id.to_str().unwrap_or_default());
        if let Some(limit) = self.limit() {
            out.extend_from_slice(br#","limit":"#);
            push_json(&mut out, limit);
        }
        if let Some(seconds) = retry_after {
            let _ = write!(out, r#","retry_after":{seconds}"#);
        }
        out.push(b'}');
        out
    }
}

/// A JSON string; names from the config may hold anything. In pieces of one size that are looked at without an early end, so
/// that all bytes of one are looked at together.
fn push_json(out: &mut Vec<u8>, text: &str) {
    let (pieces, rest) = text.as_bytes().as_chunks::<16>();
    out.push(b'"');
    for piece in pieces {
        if piece.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
            push_escaped(out, piece);
        } else {
            out.extend_from_slice(piece);
        }
    }
    push_escaped(out, rest);
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| needs_escape(*byte)) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        match rest.first() {
            Some(control @ ..b' ') => {
                let _ = write!(out, "\\u{control:04x}");
            }
            other => out.extend([Some(&b'\\'), other].into_iter().flatten()),
        }
        text = rest.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

const fn needs_escape(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

impl From<BadTarget> for Refusal {
    fn from(reason: BadTarget) -> Self {
        Self::BadTarget(reason)
    }
}

impl From<Limited> for Refusal {
    fn from(limited: Limited) -> Self {
        Self::Limited(Arc::new(limited))
    }
}

impl From<Shed> for Refusal {
    fn from(shed: Shed) -> Self {
        Self::Shed(shed)
    }
}

impl From<upstream::Error> for Refusal {
    fn from(error: upstream::Error) -> Self {
        Self::Upstream(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_json_string() {
        for text in [
            "",
            "plain",
            "a \"name\"",
            "\"",
            "back\\slash",
            "line\nend\u{0}\u{1f}",
            "gr\u{fc}n\t\u{1f600}\"",
            "longer than sixteen bytes, with \"one\" in the middle of a piece, and \u{1f600} across two of them",
        ] {
            let mut out = Vec::new();
            push_json(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text, "{text:?}");
        }
    }
}
