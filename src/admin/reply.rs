//! How answers are put together.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An answer; short enough to be whole.
pub(super) type Reply = Response<Full<Bytes>>;

/// 200 with JSON.
pub(super) fn json(value: &impl Serialize) -> Reply {
    json_with(StatusCode::OK, value)
}

/// Any status with JSON.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            typed(status, "application/json", body)
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written"),
    }
}

/// Any status with a body of that type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A refusal as RFC 9457 wants it.
pub(super) fn problem(status: StatusCode, detail: &str) -> Reply {
    problem_with(status, detail, None)
}

/// A refusal that says what there is instead.
pub(super) fn problem_with(status: StatusCode, detail: &str, endpoints: Option<Vec<String>>) -> Reply {
    #[derive(Serialize)]
    struct Problem<'a> {
        r#type: &'static str,
        title: &'static str,
        status: u16,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoints: Option<Vec<String>>,
    }
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail, endpoints };
    let mut body = serde_json::to_vec(&problem).unwrap_or_default();
    body.push(b'\n');
    typed(status, "application/problem+json", body)
}

/// 401 with the challenge that RFC 9110 (11.6.1) asks for.
pub(super) fn unauthorized() -> Reply {
    let mut reply = problem(
        StatusCode::UNAUTHORIZED,
        "the admin token is missing or wrong: send `Authorization: Bearer TOKEN`",
    );
    reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"forebay admin\""));
    reply
}

/// 405 with the methods that RFC 9110 (15.5.6) asks for.
pub(super) fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("this endpoint takes {allow}"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// Seconds to the microsecond, so that they print short.
#[expect(clippy::cast_precision_loss, reason = "microseconds of an uptime are far below 2^53")]
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// `part` of `whole` to four digits; nothing when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1e4).round() / 1e4)
}
