//! How each kind of refusal is told: its status, its name, and what `Proxy-Status` says.

use http::StatusCode;

use super::Refusal;
use crate::admission::ShedReason;
use crate::http::body::UploadFault;
use crate::upstream;

/// How a kind of refusal is told.
pub(super) struct Kind {
    pub(super) status: StatusCode,
    /// The last part of the problem's `type`.
    pub(super) slug: &'static str,
    pub(super) title: &'static str,
    /// The `Proxy-Status` with an error type of RFC 9209 section 2.3.
    pub(super) proxy_status: &'static str,
}

const fn kind(
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    proxy_status: &'static str,
) -> Kind {
    Kind { status, slug, title, proxy_status }
}

impl Refusal {
    /// How it is told.
    pub(super) fn kind(&self) -> Kind {
        use upstream::Error as Up;
        match self {
            Self::BadTarget(_) | Self::BadFraming(_) => BAD_REQUEST,
            Self::MethodNotAllowed => METHOD,
            Self::TargetTooLong => TARGET_TOO_LONG,
            Self::UnknownExpectation => EXPECTATION,
            Self::UnknownCoding => CODING,
            Self::Upload(UploadFault::TooLarge) => BODY_TOO_LARGE,
            Self::Upload(UploadFault::Broken) => BAD_REQUEST,
            Self::Upload(UploadFault::Stalled) => BODY_STALLED,
            Self::NoRoute => NO_ROUTE,
            Self::Limited(_) => RATE_LIMITED,
            Self::Shed(shed) => Kind {
                status: shed.status,
                ..if shed.reason == ShedReason::Timeout { QUEUE_TIMEOUT } else { IN_FLIGHT }
            },
            Self::Upstream(Up::NoServer { .. }) => NO_SERVER,
            Self::Upstream(Up::AcquireTimeout) => NO_CONNECTION,
            Self::Upstream(Up::NoDescriptors) => NO_DESCRIPTORS,
            Self::Upstream(Up::ConnectionRefused) => UNREACHABLE,
            Self::Upstream(Up::Dns) => UNKNOWN_NAME,
            Self::Upstream(Up::TlsCertificate) => BAD_CERTIFICATE,
            Self::Upstream(Up::TlsAlert) => TLS_ALERT,
            Self::Upstream(Up::TlsProtocol) => TLS_FAILED,
            Self::Upstream(Up::NoUpgrade) => NO_UPGRADE,
            Self::Upstream(Up::ConnectionTerminated) => CLOSED,
            Self::Upstream(Up::Incomplete) => INCOMPLETE,
            Self::Upstream(Up::HeadTooLarge) => HEAD_TOO_LARGE,
            Self::Upstream(Up::InvalidResponse) => INVALID_RESPONSE,
            Self::UnaskedUpgrade => UNASKED_UPGRADE,
            Self::Upstream(Up::ConnectTimeout) => CONNECT_TIMEOUT,
            Self::Upstream(Up::ResponseTimeout) | Self::ExchangeTimeout => UPSTREAM_TIMEOUT,
            Self::TooManyFollowers => TOO_MANY_WAITING,
            Self::OnlyIfCached => NOT_STORED,
            Self::KeyReused => KEY_REUSED,
            Self::NotRepeatable => NOT_REPEATABLE,
            Self::Internal => INTERNAL,
        }
    }
}

const BAD_REQUEST: Kind =
    kind(StatusCode::BAD_REQUEST, "bad-request", "Bad request", "forebay; error=http_request_error");
const METHOD: Kind = kind(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "Method not allowed",
    "forebay; error=http_request_denied",
);
const TARGET_TOO_LONG: Kind = kind(
    StatusCode::URI_TOO_LONG,
    "target-too-long",
    "Request target too long",
    "forebay; error=http_request_error",
);
const EXPECTATION: Kind = kind(
    StatusCode::EXPECTATION_FAILED,
    "unknown-expectation",
    "Unknown expectation",
    "forebay; error=http_request_error",
);
const CODING: Kind = kind(
    StatusCode::NOT_IMPLEMENTED,
    "unknown-coding",
    "Unknown transfer coding",
    "forebay; error=http_request_error",
);
const BODY_TOO_LARGE: Kind = kind(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body-too-large",
    "Request body too large",
    "forebay; error=http_request_denied",
);
const BODY_STALLED: Kind = kind(
    StatusCode::REQUEST_TIMEOUT,
    "body-stalled",
    "Request body stalled",
    "forebay; error=http_request_error",
);
const NO_ROUTE: Kind =
    kind(StatusCode::NOT_FOUND, "no-route", "No route", "forebay; error=destination_not_found");
const RATE_LIMITED: Kind = kind(
    StatusCode::TOO_MANY_REQUESTS,
    "rate-limited",
    "Too many requests",
    "forebay; error=http_request_denied",
);
const IN_FLIGHT: Kind = kind(
    StatusCode::TOO_MANY_REQUESTS,
    "in-flight-limit",
    "Too many requests in flight",
    "forebay; error=http_request_denied",
);
const QUEUE_TIMEOUT: Kind = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "queue-timeout",
    "Waited too long in the queue",
    "forebay; error=connection_limit_reached",
);
const NO_CONNECTION: Kind = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "no-connection",
    "No connection to the upstream was free",
    "forebay; error=connection_limit_reached",
);
const NO_DESCRIPTORS: Kind = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "no-descriptors",
    "No file descriptor was left",
    "forebay; error=connection_limit_reached",
);
const NO_SERVER: Kind = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "no-server",
    "No server of the upstream is in order",
    "forebay; error=destination_unavailable",
);
const UNREACHABLE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-unreachable",
    "The upstream refused the connection",
    "forebay; error=connection_refused",
);
const UNKNOWN_NAME: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-unknown",
    "The upstream's name did not resolve",
    "forebay; error=dns_error",
);
const BAD_CERTIFICATE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-certificate",
    "The upstream's certificate was not accepted",
    "forebay; error=tls_certificate_error",
);
const TLS_ALERT: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-tls",
    "The upstream refused the TLS handshake",
    "forebay; error=tls_alert_received",
);
const TLS_FAILED: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-tls",
    "The TLS handshake with the upstream failed",
    "forebay; error=tls_protocol_error",
);
const NO_UPGRADE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-no-upgrade",
    "The upstream cannot switch protocols",
    "forebay; error=http_upgrade_failed",
);
const CLOSED: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-closed",
    "The upstream closed the connection",
    "forebay; error=connection_terminated",
);
const INCOMPLETE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-incomplete",
    "The upstream broke off its response",
    "forebay; error=http_response_incomplete",
);
const HEAD_TOO_LARGE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-head-too-large",
    "The head of the upstream's response was too large",
    "forebay; error=http_response_header_section_size",
);
const INVALID_RESPONSE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-invalid",
    "The upstream's response was not valid",
    "forebay; error=http_protocol_error",
);
const UNASKED_UPGRADE: Kind = kind(
    StatusCode::BAD_GATEWAY,
    "upstream-invalid",
    "The upstream switched protocols unasked",
    "forebay; error=http_upgrade_failed",
);
const CONNECT_TIMEOUT: Kind = kind(
    StatusCode::GATEWAY_TIMEOUT,
    "upstream-connect-timeout",
    "The upstream could not be reached in time",
    "forebay; error=connection_timeout",
);
const UPSTREAM_TIMEOUT: Kind = kind(
    StatusCode::GATEWAY_TIMEOUT,
    "upstream-timeout",
    "The upstream did not answer in time",
    "forebay; error=http_response_timeout",
);
const TOO_MANY_WAITING: Kind = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "too-many-waiting",
    "Too many requests wait for the same answer",
    "forebay; error=connection_limit_reached",
);
const NOT_STORED: Kind = kind(
    StatusCode::GATEWAY_TIMEOUT,
    "not-stored",
    "Nothing usable is stored",
    "forebay; error=http_request_denied",
);
const KEY_REUSED: Kind = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "key-reused",
    "The key was used for another request",
    "forebay; error=http_request_denied",
);
const NOT_REPEATABLE: Kind = kind(
    StatusCode::CONFLICT,
    "not-repeatable",
    "The answer cannot be repeated",
    "forebay; error=http_request_denied",
);
const INTERNAL: Kind = kind(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "Internal error",
    "forebay; error=proxy_internal_error",
);
