//! One line a request.
//!
//! The query of a request is left out: it is where applications put tokens and names. When the log is off, a request
//! pays one branch for it.

use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use serde::Serialize;

use super::timestamp::Timestamp;
use super::{Format, Lines};

/// Where the access log goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// Nowhere.
    Off,
    /// To stdout.
    #[default]
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

impl From<&str> for Access {
    /// `off`, `stdout`, or else a path.
    fn from(text: &str) -> Self {
        match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }
}

/// A request and what became of it.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When it began.
    pub at: SystemTime,
    /// `X-Request-Id`, kept or made.
    pub request_id: &'a str,
    /// Who asked, seen through trusted proxies.
    pub client: IpAddr,
    /// Its method.
    pub method: &'a Method,
    /// The host it was for, in canonical form.
    pub host: &'a str,
    /// Its path in canonical form, without the query.
    pub path: &'a str,
    /// The route that matched; empty when none did.
    pub route: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// Bytes of the answer's body that were sent.
    pub bytes: u64,
    /// From its head to the last byte of the answer.
    pub duration: Duration,
    /// From the upstream request's first byte to the head of its response, when there was one.
    pub upstream: Option<Duration>,
    /// Waiting for an in-flight permit, when it waited.
    pub queue: Option<Duration>,
    /// What the cache made of it (`hit`, `collapsed`, ...).
    pub cache: Option<&'a str>,
    /// The rate limit or in-flight pool that refused it.
    pub limit: Option<&'a str>,
}

/// The access log.
#[derive(Debug, Default)]
pub struct AccessLog(Option<Open>);

#[derive(Debug)]
struct Open {
    lines: Lines,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Text { colour: bool },
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Opens what was asked for.
    ///
    /// # Errors
    /// When the file cannot be opened or the writer's thread cannot be started.
    pub fn open(access: &Access, format: Format) -> io::Result<Self> {
        let (lines, is_terminal) = match access {
            Access::Off => return Ok(Self(None)),
            Access::Stdout => {
                let stdout = io::stdout();
                (Lines::to_file(stdout.as_fd().try_clone_to_owned()?.into())?, stdout.is_terminal())
            }
            Access::File(path) => (Lines::to_path(path)?, false),
        };
        let form = if format.is_json(is_terminal) { Form::Json } else { Form::Text { colour: is_terminal } };
        Ok(Self(Some(Open { lines, form })))
    }

    /// Whether anything is written; asked before an [`Entry`] is put together.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over. Never waits.
    pub fn record(&self, entry: &Entry<'_>) {
        let Some(open) = &self.0 else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            let written = match open.form {
                Form::Json => serde_json::to_writer(&mut *line, &Json::from(entry)).map_err(io::Error::from),
                Form::Text { colour } => text(line, entry, colour),
            };
            // Writing to memory does not fail; a line that could not be formatted would be cut, so none is sent.
            if written.is_ok() {
                line.push(b'\n');
                open.lines.push(line);
            }
        });
    }

    /// Opens the file again, after it was rotated.
    pub fn reopen(&self) {
        if let Some(open) = &self.0 {
            open.lines.reopen();
        }
    }

    /// Waits until everything recorded so far is written, for a second at most.
    pub fn flush(&self) {
        if let Some(open) = &self.0 {
            open.lines.flush();
        }
    }

    /// Lines that were not written.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |open| open.lines.dropped())
    }
}

/// The fields of a JSON line; their names are fixed.
#[derive(Serialize)]
struct Json<'a> {
    time: Timestamp,
    request_id: &'a str,
    client: IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    route: &'a str,
    status: u16,
    bytes: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
}

impl<'a> From<&'a Entry<'a>> for Json<'a> {
    fn from(entry: &'a Entry<'a>) -> Self {
        Self {
            time: Timestamp(entry.at),
            request_id: entry.request_id,
            client: entry.client,
            method: entry.method.as_str(),
            host: entry.host,
            path: entry.path,
            route: entry.route,
            status: entry.status.as_u16(),
            bytes: entry.bytes,
            duration_seconds: seconds(entry.duration),
            upstream_seconds: entry.upstream.map(seconds),
            queue_seconds: entry.queue.map(seconds),
            cache: entry.cache,
            limit: entry.limit,
        }
    }
}

/// Seconds to the microsecond, so that they print short.
#[expect(clippy::cast_precision_loss, reason = "microseconds of one request are far below 2^53")]
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// A line for a person. What a client chose is escaped, so that it cannot move the terminal's cursor.
fn text(line: &mut Vec<u8>, entry: &Entry<'_>, colour: bool) -> io::Result<()> {
    let paint = match entry.status.as_u16() / 100 {
        _ if !colour => "",
        5 => "\x1b[31m",
        4 => "\x1b[33m",
        3 => "\x1b[36m",
        _ => "\x1b[32m",
    };
    let unpaint = if colour { "\x1b[0m" } else { "" };
    let status = entry.status.as_u16();
    let millis = entry.duration.as_secs_f64() * 1e3;
    write!(line, "{} {paint}{status}{unpaint} {millis:>8.1} ms ", Timestamp(entry.at))?;
    write!(line, "{} {}{}", entry.method, entry.host.escape_debug(), entry.path.escape_debug())?;
    write!(line, " {} {} B", entry.client, entry.bytes)?;
    for (name, value) in [("route", Some(entry.route)), ("cache", entry.cache), ("limit", entry.limit)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            write!(line, " {name}={value}")?;
        }
    }
    if let Some(queue) = entry.queue {
        write!(line, " queue={:.1}ms", queue.as_secs_f64() * 1e3)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            request_id: "0190f5c2",
            client: IpAddr::from([203, 0, 113, 9]),
            method: &Method::GET,
            host: "example.com",
            path: "/api/scan/status/\u{1b}[2J7",
            route: "scan-status",
            status: StatusCode::OK,
            bytes: 512,
            duration: Duration::from_nanos(1_234_567),
            upstream: None,
            queue: None,
            cache: Some("hit"),
            limit: None,
        }
    }

    #[test]
    fn json_has_stable_fields_and_leaves_out_what_did_not_happen() {
        let line = serde_json::to_string(&Json::from(&entry())).unwrap();
        insta::assert_snapshot!(line, @r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"0190f5c2","client":"203.0.113.9","method":"GET","host":"example.com","path":"/api/scan/status/\u001b[2J7","route":"scan-status","status":200,"bytes":512,"duration_seconds":0.001234,"cache":"hit"}"#);
    }

    #[test]
    fn text_cannot_carry_control_characters() {
        let mut line = Vec::new();
        text(&mut line, &entry(), false).unwrap();
        insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"2023-11-14T22:13:20.123Z 200      1.2 ms GET example.com/api/scan/status/\u{1b}[2J7 203.0.113.9 512 B route=scan-status cache=hit"#);
    }

    #[test]
    fn a_request_with_everything_says_everything() {
        let refused = Entry {
            status: StatusCode::TOO_MANY_REQUESTS,
            upstream: Some(Duration::from_millis(200)),
            queue: Some(Duration::from_millis(1500)),
            limit: Some("scan-start"),
            ..entry()
        };
        let line = serde_json::to_string(&Json::from(&refused)).unwrap();
        insta::assert_snapshot!(line, @r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"0190f5c2","client":"203.0.113.9","method":"GET","host":"example.com","path":"/api/scan/status/\u001b[2J7","route":"scan-status","status":429,"bytes":512,"duration_seconds":0.001234,"upstream_seconds":0.2,"queue_seconds":1.5,"cache":"hit","limit":"scan-start"}"#);
    }

    #[test]
    fn off_writes_nothing_and_drops_nothing() {
        let log = AccessLog::open(&Access::Off, Format::Auto).unwrap();
        log.record(&entry());
        assert!(!log.is_on() && log.dropped() == 0);
    }

    #[test]
    fn words_and_paths_are_told_apart() {
        assert_eq!(Access::from("off"), Access::Off);
        assert_eq!(Access::from("stdout"), Access::Stdout);
        assert_eq!(Access::from("/var/log/access.log"), Access::File("/var/log/access.log".into()));
    }
}
