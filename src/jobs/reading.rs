//! What answers say about jobs: pure functions of status and body.

use http::StatusCode;

use super::Spec;
use crate::http::json::Scalar;

/// The longest name of a job, in bytes; what has a longer one is not recognised.
pub const MAX_ID: usize = 256;
/// How much of a state is shown to people, in bytes.
const MAX_STATE: usize = 64;

/// What a status answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The job is at work, in this state.
    Running(Box<str>),
    /// It is over.
    Final,
    /// There is no such job (404, 410).
    Gone,
    /// The upstream answered well, but not what can be read: too long, not JSON, without a state.
    Unreadable,
    /// Nothing about the job: 401, 403, an error, a redirection.
    Nothing,
}

/// What the answer to a start says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartReading {
    /// A job of this name has begun.
    Begun(Box<str>),
    /// It was over at once.
    Final,
    /// No name that can be one.
    Nameless,
}

impl Spec {
    /// Reads a status answer; `body` is all of it, or `None` where that is not known.
    pub fn read_status(&self, status: StatusCode, body: Option<&[u8]>) -> Reading {
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Reading::Gone,
            status if !status.is_success() => Reading::Nothing,
            _ => match body.and_then(|body| self.state.find(body).ok().flatten()) {
                None | Some(Scalar::Null) => Reading::Unreadable,
                Some(state) if self.is_final(state.text()) => Reading::Final,
                Some(state) => Reading::Running(shown(state.text())),
            },
        }
    }

    /// Reads the body of a start's 2xx.
    pub fn read_start(&self, body: Option<&[u8]>) -> StartReading {
        let state = body.and_then(|body| self.state.find(body).ok().flatten());
        if state.is_some_and(|state| self.is_final(state.text())) {
            return StartReading::Final;
        }
        body.and_then(|body| self.named(body)).map_or(StartReading::Nameless, StartReading::Begun)
    }

    /// What an answer calls its job.
    pub fn named(&self, body: &[u8]) -> Option<Box<str>> {
        match self.id.find(body).ok().flatten()? {
            Scalar::String(id) | Scalar::Number(id) if is_name(&id) => Some(id.into()),
            _ => None,
        }
    }

    fn is_final(&self, state: &str) -> bool {
        self.done.iter().any(|done| **done == *state)
    }
}

/// Whether a text can name a job.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID
}

fn shown(state: &str) -> Box<str> {
    state.get(..state.floor_char_boundary(MAX_STATE)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::tests::spec;

    fn running(state: &str) -> Reading {
        Reading::Running(state.into())
    }

    #[test]
    fn a_status_is_read_by_its_code_and_its_state() {
        let long = "s".repeat(1000);
        for (status, body, expected) in [
            (200, Some(r#"{"status":"running"}"#), running("running")),
            (202, Some(r#"{"status":7}"#), running("7")),
            (200, Some(r#"{"status":"completed"}"#), Reading::Final),
            (200, Some(r#"{"status":"Completed"}"#), running("Completed")),
            (200, Some(r#"{"status":null}"#), Reading::Unreadable),
            (200, Some(r#"{"status":{"completed":1}}"#), Reading::Unreadable),
            (200, Some(r#"{"state":"completed"}"#), Reading::Unreadable),
            (200, Some(r#"{"status":"completed""#), Reading::Unreadable),
            (200, Some("\u{1f}\u{8b}gzip"), Reading::Unreadable),
            (200, None, Reading::Unreadable),
            (404, Some(r#"{"status":"completed"}"#), Reading::Gone),
            (410, None, Reading::Gone),
            (401, Some(r#"{"status":"completed"}"#), Reading::Nothing),
            (403, None, Reading::Nothing),
            (304, None, Reading::Nothing),
            (503, Some(r#"{"status":"failed"}"#), Reading::Nothing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(spec().read_status(status, body.map(str::as_bytes)), expected, "{status} {body:?}");
        }
        let body = format!(r#"{{"status":"é{long}"}}"#);
        let Reading::Running(state) = spec().read_status(StatusCode::OK, Some(body.as_bytes())) else {
            panic!()
        };
        assert!(state.len() <= MAX_STATE);
    }

    #[test]
    fn a_start_names_its_job_by_a_short_text_or_a_number() {
        let begun = |id: &str| StartReading::Begun(id.into());
        let long = format!(r#"{{"scan_id":"{}"}}"#, "x".repeat(10 * 1024));
        for (body, expected) in [
            (Some(r#"{"scan_id":"a b","status":"queued"}"#), begun("a b")),
            (Some(r#"{"scan_id":42}"#), begun("42")),
            (Some(r#"{"scan_id":"x","status":"completed"}"#), StartReading::Final),
            (Some(r#"{"scan_id":""}"#), StartReading::Nameless),
            (Some(r#"{"scan_id":true}"#), StartReading::Nameless),
            (Some(r#"{"scan_id":["x"]}"#), StartReading::Nameless),
            (Some(r#"{"id":"x"}"#), StartReading::Nameless),
            (Some("202 Accepted"), StartReading::Nameless),
            (Some(&*long), StartReading::Nameless),
            (None, StartReading::Nameless),
        ] {
            assert_eq!(spec().read_start(body.map(str::as_bytes)), expected, "{body:?}");
        }
    }
}
