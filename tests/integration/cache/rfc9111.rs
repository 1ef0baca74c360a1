//! RFC 9111 and its companions as client and origin see them: tables of cases, each a short conversation about one URL.
//!
//! A case never waits: what must be old says so with `Age`. All cases of a table run at the same time against one proxy.

mod conditions;
mod freshness;
mod methods;
mod requests;
mod status;
mod storing;
mod targeted;
mod variants;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::harness::{Origin, Proxy, Response, Script, request, wait_until};

/// One exchange: what the client asks, what the origin answers if it is asked, and what must come of it. Parts stand
/// between bars; all may be empty. `@-60` for a value is the date of a minute ago, `@path` the path of the URL.
///
/// * asks: a method other than GET, fields.
/// * answers: a status other than 200, `close` for none at all, fields.
/// * comes: `hit` (the origin is not asked), `asked` (it is, and the answer is this row's), `kept` (it is, and the answer is
///   an earlier row's), `refreshed` (the same behind the client's back), `failed` (it is, and gives none); then a status,
///   fields of the answer, `!Field` for one that it has not, and after `>` the same of what the origin saw.
type Row = (&'static str, &'static str, &'static str);

/// A title and its rows.
type Case = (&'static str, Vec<Row>);

/// Cases of two equal requests: the first response, and what comes of the second.
fn twice(clause: &'static str, rows: &[(&'static str, &'static str)]) -> Vec<Case> {
    rows.iter().map(|(answer, comes)| (clause, vec![("", *answer, "asked"), ("", "", *comes)])).collect()
}

/// Cases of a stored response and one more request: what is asked, and what comes of it.
fn after(
    clause: &'static str,
    stored: &'static str,
    rows: &[(&'static str, &'static str, &'static str)],
) -> Vec<Case> {
    rows.iter().map(|row| (clause, vec![("", stored, "asked"), *row])).collect()
}

/// Runs all cases; panics with every one that goes wrong.
async fn run(cases: Vec<Case>) {
    let origin = Arc::new(Origin::start());
    let proxy = Arc::new(Proxy::start(&origin, "").await);
    let mut running = tokio::task::JoinSet::new();
    for (number, case) in cases.into_iter().enumerate() {
        running.spawn(converse(number, case, Arc::clone(&origin), Arc::clone(&proxy)));
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} go wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// One case; what went wrong with it.
async fn converse(number: usize, case: Case, origin: Arc<Origin>, proxy: Arc<Proxy>) -> Option<String> {
    let (title, rows) = case;
    let path = format!("/{number}");
    let turn = Arc::new(AtomicUsize::new(0));
    let answers: Vec<_> = rows.iter().map(|row| row.1.replace("@path", &path)).collect();
    let now = Arc::clone(&turn);
    origin.on_each(&path, move |_| {
        let turn = now.load(Ordering::SeqCst);
        answer(&answers[turn], turn)
    });
    for (index, (asks, _, comes)) in rows.iter().enumerate() {
        turn.store(index, Ordering::SeqCst);
        let before = origin.count(&path);
        let response = ask(&proxy, &path, asks).await;
        if comes.starts_with("refreshed") {
            wait_until(title, || async { origin.count(&path) == before + 1 }).await;
        }
        let seen = origin.seen(&path).split_off(before);
        let seen: Vec<_> = seen.into_iter().map(|seen| seen.head.fields).collect();
        if let Err(what) = check(comes, index, &response, &seen) {
            return Some(format!("{title}: row {index} of {rows:?}: {what}\n    {response:?}\n    {seen:?}"));
        }
    }
    None
}

async fn ask(proxy: &Proxy, path: &str, asks: &str) -> Response {
    let mut fields = parts(asks).peekable();
    let method = fields.next_if(|part| !part.contains(':')).unwrap_or("GET");
    let request = request(&format!("{method} {path}"));
    let request =
        fields.map(field).fold(request, |request, (name, value)| request.field(name, &dated(value)));
    proxy.send(&request).await
}

/// Chunked, so that a client that has read it to its end knows that the proxy has done so before.
fn answer(text: &str, turn: usize) -> Script {
    let mut parts = parts(text).peekable();
    if parts.next_if_eq(&"close").is_some() {
        return Script::nothing();
    }
    let status = parts.next_if(|part| !part.contains(':')).map_or(200, |status| status.parse().unwrap());
    let script = Script { status, ..Script::chunked() };
    let script = if matches!(status, 204 | 304) { Script::status(status) } else { script };
    let script = parts.map(field).fold(script, |script, (name, value)| script.field(name, &dated(value)));
    script.body(format!("row {turn}"))
}

/// `@` and a number of seconds as the date so far from now; any other value as it is.
fn dated(value: &str) -> String {
    let Some(offset) = value.strip_prefix('@') else { return value.to_owned() };
    let offset: i64 = offset.parse().expect("seconds");
    let apart = Duration::from_secs(offset.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if offset < 0 { now - apart } else { now + apart })
}

fn check(comes: &str, index: usize, response: &Response, seen: &[Fields]) -> Result<(), String> {
    let mut expected = parts(comes);
    let outcome = expected.next().expect("an outcome");
    let is_own = response.body == format!("row {index}").as_bytes();
    let is_earlier = response.body.starts_with(b"row") && !is_own;
    let is_asked = !seen.is_empty();
    let is_right = match outcome {
        "hit" => !is_asked,
        "asked" => is_asked && (is_own || response.body.is_empty()),
        "kept" | "refreshed" => is_asked && is_earlier,
        "failed" => is_asked && !is_own && !is_earlier,
        other => panic!("{other} is no outcome"),
    };
    if !is_right {
        return Err(format!("not {outcome}"));
    }
    for part in expected {
        let holds = match part.strip_prefix("> ") {
            Some(part) => seen.iter().all(|seen| has(seen, part)),
            None if part.len() == 3 && part.parse::<u16>().is_ok() => response.status().to_string() == part,
            None => has(&response.head.fields, part),
        };
        if !holds {
            return Err(format!("not {part}"));
        }
    }
    Ok(())
}

type Fields = Vec<(String, String)>;

/// `Name: value` for exactly these lines, joined; `!Name` for none.
fn has(fields: &Fields, part: &str) -> bool {
    let lines = |wanted: &str| -> Vec<&str> {
        let same = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        same.map(|(_, value)| value.as_str()).collect()
    };
    match part.strip_prefix('!') {
        Some(name) => lines(name).is_empty(),
        None => {
            let (name, value) = field(part);
            lines(name).join(", ") == value
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(" | ").filter(|part| !part.is_empty())
}

fn field(part: &str) -> (&str, &str) {
    let (name, value) = part.split_once(':').unwrap_or_else(|| panic!("{part} is no field"));
    (name, value.strip_prefix(' ').unwrap_or(value))
}
