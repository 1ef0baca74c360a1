//! A faulty upstream: each fault on every way through forebay, told as what it is, never as something whole.

mod bodies;
mod desync;
mod heads;
mod herd;
mod interim;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::harness::{Origin, Proxy, Response, Script, request};

/// The ways to the upstream: alone, for many at once, and with a store.
const WAYS: &str = "
    upstreams.origin = { first_byte_timeout = '2s', body_timeout = '2s', retry_budget = 1.0 }
    routes = [
        { name = 'direct', match = '/direct/{*rest}', collapse = 'off', cache = { mode = 'off' } },
        { name = 'flight', match = '/flight/{*rest}', cache = { mode = 'off' } },
        { name = 'solo', match = '/solo/{*rest}', collapse = 'off', cache = { ttl = '1h' } },
        { name = 'standard', match = '/standard/{*rest}', cache = { ttl = '1h' } },
        { name = 'force', match = '/force/{*rest}', cache = { mode = 'force', ttl = '1h', negative_ttl = '1h' } },
        { name = 'tapped', match = '/tapped/{*rest}', compress = true, cache = { mode = 'force', ttl = '1h', when = [{ pointer = '/a', in = [1], ttl = '2h' }] } },
    ]";

/// What a client gets.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// A refusal with this status and this error type of RFC 9209.
    Refused(u16, &'static str),
    /// A message that is visibly broken off, or none.
    Broken,
    /// A whole message with this status and body.
    Whole(u16, &'static str),
}
use Outcome::{Broken, Refused, Whole};

impl Outcome {
    fn is(self, answer: &std::io::Result<Response>) -> bool {
        let Ok(response) = answer else { return matches!(self, Broken) };
        match self {
            Refused(status, error) => {
                let error = format!("forebay; error={error}");
                let is_problem = response.field("content-type") == Some("application/problem+json");
                let tells = response.field("proxy-status") == Some(error.as_str());
                response.status() == status && response.cut_short.is_none() && is_problem && tells
            }
            Broken => response.status() == 200 && response.cut_short.is_some(),
            Whole(status, body) => {
                response.status() == status
                    && response.cut_short.is_none()
                    && response.body == body.as_bytes()
                    && response.trailers.is_empty()
            }
        }
    }
}

/// What is told of an upstream that does not answer in time.
const LATE: Outcome = Refused(504, "http_response_timeout");

/// A fault by its name, and what becomes of it.
type Case = (&'static str, Script, Outcome);

/// Plays each fault on every way to three clients at once and then to a fourth, each time followed by a good answer.
async fn assert_outcomes(cases: Vec<Case>) {
    assert_outcomes_of("GET", cases).await;
}

async fn assert_outcomes_of(method: &'static str, cases: Vec<Case>) {
    let origin = Arc::new(Origin::start());
    let proxy = Arc::new(Proxy::start(&origin, WAYS).await);
    let mut checks = JoinSet::new();
    for way in ["direct", "flight", "solo", "standard", "force", "tapped"] {
        for (name, script, outcome) in &cases {
            let path = format!("/{way}/{name}");
            origin.on(&path, script.clone());
            origin.on(&format!("{path}/good"), Script::ok(path.clone()).field("Cache-Control", "no-store"));
            checks.spawn(check(Arc::clone(&origin), Arc::clone(&proxy), method, path, *outcome));
        }
    }
    let faults: Vec<String> = checks.join_all().await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(proxy.metric("forebay_panics_total", &[]).await, 0.0);
    proxy.wait_for_metric("forebay_upstream_connections", &["state=\"active\""], 0.0).await;
}

async fn check(
    origin: Arc<Origin>,
    proxy: Arc<Proxy>,
    method: &str,
    path: String,
    outcome: Outcome,
) -> Vec<String> {
    let mut faults = Vec::new();
    let ask = async || request(&format!("{method} {path}")).try_send(proxy.address).await;
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    let asked = origin.count(&path);
    for answer in [one, two, three, ask().await] {
        if !outcome.is(&answer) {
            faults.push(format!("{method} {path} is not {outcome:?} but {}", told(&answer)));
        }
    }
    if !matches!(outcome, Whole(..)) && origin.count(&path) == asked {
        faults.push(format!("{method} {path} is stored"));
    }
    let good = request(&format!("GET {path}/good")).try_send(proxy.address).await;
    if !good.as_ref().is_ok_and(|good| good.cut_short.is_none() && good.body == path.as_bytes()) {
        faults.push(format!("after {path} a good answer is {}", told(&good)));
    }
    faults
}

fn told(answer: &std::io::Result<Response>) -> String {
    match answer {
        Err(error) => format!("no head: {error}"),
        Ok(response) => {
            let body = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]).into_owned();
            let (head, end) = (&response.head, &response.cut_short);
            format!(
                "{} {:?} with {body:?}, end {end:?}, trailers {:?}",
                head.start, head.fields, response.trailers
            )
        }
    }
}
