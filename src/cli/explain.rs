//! `forebay explain`: what would happen to one request, and why.
//!
//! It takes the way that the proxy takes, with the proxy's own functions, up to where a socket would be needed: nothing
//! is bound, sent or counted. Secrets are never shown; a short digest stands for them, which is the same in every run
//! with one configuration, so that two requests can be compared.

mod jobs;
mod keys;
mod limits;
mod report;
mod routing;
mod sharing;
mod text;

use std::io;
use std::process::ExitCode;

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};

use self::report::Report;
use super::{ExplainArgs, USAGE, complain, is_colourful, load, print, refuse};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::digest::Digester;
use crate::policy::State;
use crate::policy::compile::{attach, plan};
use crate::upstream::Network;

/// Explains one request; status 2 when the configuration or the request cannot be read.
pub fn explain(args: &ExplainArgs) -> ExitCode {
    let head = match head(args) {
        Ok(head) => head,
        Err(message) => {
            complain(&message);
            return ExitCode::from(USAGE);
        }
    };
    let report = load(args.config.config.as_deref()).and_then(|loaded| report(&loaded, head, args));
    match report {
        Ok(report) if args.json => print(&report.json()),
        Ok(report) => print(&text::render(&report, is_colourful(&io::stdout()))),
        Err(status) => status,
    }
}

fn report(loaded: &Loaded, head: Parts, args: &ExplainArgs) -> Result<Report, ExitCode> {
    let plan = plan(loaded).map_err(|problems| refuse(&problems))?;
    let upstreams = plan.upstreams.clone();
    let mut state = State::new(Network::of_the_system(), Clock::start());
    state.digester = Digester::keyed_by(loaded.source.text());
    let policy = attach(plan, &state);
    Ok(Report::of(head, args.from, &policy, &state, &upstreams))
}

/// The head that a client would send.
///
/// # Errors
/// One line that says what cannot be read.
fn head(args: &ExplainArgs) -> Result<Parts, String> {
    let method = Method::from_bytes(args.method.as_bytes())
        .map_err(|_| format!("`{}` is not a method", args.method))?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = target(&args.url)?;
    parts.method = method;
    for line in &args.headers {
        let (name, value) = field(line)?;
        parts.headers.append(name, value);
    }
    if parts.uri.authority().is_none() && !parts.headers.contains_key(header::HOST) {
        parts.headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    Ok(parts)
}

fn target(text: &str) -> Result<Uri, String> {
    let refused =
        |why: &str| format!("`{text}` is not the URL of a request: {why}; write http://HOST/PATH or /PATH");
    let uri: Uri = text.parse().map_err(|error| refused(&format!("{error}")))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        None if text.starts_with('/') || text == "*" => Ok(uri),
        None => Err(refused("it has neither scheme nor leading slash")),
        Some(scheme) => Err(refused(&format!("forebay does not serve {scheme}:"))),
    }
}

/// The value stays out of the message: it may be a secret.
fn field(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err("a header is written 'Name: value', and one has no colon".to_owned());
    };
    let name = name.trim();
    let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    let value = HeaderValue::from_str(value.trim())
        .map_err(|_| format!("the value of the header `{name}` has characters that none may have"))?;
    Ok((parsed, value))
}

#[cfg(test)]
mod tests;
