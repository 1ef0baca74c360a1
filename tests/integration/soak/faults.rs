//! An origin that does right and wrong: `/ROUTE/KIND/NUMBER` is answered as its kind says.
//!
//! Bodies say whom they were made for, so that whoever gets one can tell whether it is theirs.

use crate::harness::origin::Seen;
use crate::harness::{Origin, Script, seconds};

/// What is asked for at random; what stands here twice is asked for more often.
pub(super) const KINDS: [&str; 30] = [
    "plain",
    "plain",
    "plain",
    "plain",
    "public",
    "public",
    "private",
    "private",
    "cookie",
    "cookie",
    "vary",
    "vary",
    "validated",
    "validated",
    "large",
    "crumbs",
    "crumbs",
    "drip",
    "unread",
    "extra",
    "reset",
    "truncated",
    "bad-chunk",
    "hang",
    "garbage",
    "nothing",
    "two-lengths",
    "huge-head",
    "interims",
    "switch",
];

/// Answers that are not HTTP, or are none: forebay has no status from them.
const BROKEN_HEADS: [&str; 5] = ["garbage", "nothing", "two-lengths", "huge-head", "interims"];

pub(super) fn origin() -> Origin {
    let origin = Origin::start();
    origin.on_each("/*", answer);
    origin
}

/// The second word of a path.
pub(super) fn kind(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or_default()
}

/// The status that forebay can have read in the answer to a request.
pub(super) fn status(seen: &Seen) -> Option<u16> {
    (!BROKEN_HEADS.contains(&kind(seen.path()))).then(|| answer(seen).status)
}

/// Whether it is answered after forebay has lost its patience, or before, where nobody has any.
pub(super) fn is_late(seen: &Seen) -> bool {
    kind(seen.path()) == "hang" && seen.nth.is_multiple_of(2)
}

/// How long a whole body of this kind is beyond its mark; none is ever whole where this is `None`.
pub(super) fn length(kind: &str) -> Option<usize> {
    match kind {
        "large" => Some(40 * 65536),
        "crumbs" => Some(2000),
        "drip" => Some(5),
        "reset" | "truncated" | "hang" | "bad-chunk" => None,
        _ => Some(0),
    }
}

/// What is answered to a request; the same for the same request.
fn answer(seen: &Seen) -> Script {
    let mark = Mark::text(seen);
    let script = |script: Script| script.after(seconds(0.001 * (seen.nth % 50) as f64));
    let kind = kind(seen.path());
    match kind {
        "public" => {
            script(Script::ok(mark).field("cache-control", "public, max-age=1, stale-while-revalidate=1"))
        }
        "fresh" => script(Script::ok(mark).field("cache-control", "public, max-age=1")),
        "private" => script(Script::ok(mark).field("cache-control", "private")),
        "cookie" => script(Script::ok(mark).field("set-cookie", "session=1")),
        "vary" => script(
            Script::ok(mark).field("vary", "accept-language").field("cache-control", "public, max-age=1"),
        ),
        "validated" if seen.field("if-none-match").is_some() => {
            script(Script::status(304).field("etag", "\"1\""))
        }
        "validated" => {
            script(Script::ok(mark).field("etag", "\"1\"").field("cache-control", "public, max-age=0"))
        }
        "large" => script(Script::chunked().body(mark).repeat(&[b'.'; 65536][..], 40)),
        "crumbs" => script(Script::chunked().body(mark).repeat(".", 2000)),
        "events" => events(&mark),
        "echo" => script(Script::echo()),
        "socket" => Script::upgrade(),
        _ => script(fault(kind, mark, is_late(seen))),
    }
}

/// What a backend does that is slow, sick or malicious; anything else is a plain answer.
fn fault(kind: &str, mark: String, is_late: bool) -> Script {
    match kind {
        "drip" => (0..5).fold(Script::chunked().body(mark), |script, _| script.pause(seconds(0.2)).body(".")),
        "unread" => Script::ok(mark).without_reading().closing(),
        "extra" => Script::raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{mark}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            mark.len()
        ))
        .kept(),
        "reset" => Script::chunked().body(mark).repeat(&[b'.'; 9000][..], 3).reset(),
        "truncated" => Script::ok(mark).cut(),
        "bad-chunk" => Script::chunked().body(mark).bad_chunk(),
        "hang" if is_late => Script::ok(mark).after(seconds(4.0)),
        "hang" => Script::chunked().body(mark).hang(),
        "garbage" => Script::raw("\u{16}\u{3}\u{1} this is no HTTP at all\r\n\r\n"),
        "nothing" => Script::nothing(),
        "two-lengths" => Script::ok(mark).field("content-length", "3"),
        "huge-head" => Script::ok(mark).field("x-huge", &"x".repeat(200_000)),
        "interims" => (0..200).fold(Script::ok(mark), |script, _| {
            script.informational("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
        }),
        "switch" => Script::upgrade(),
        _ => Script::ok(mark),
    }
}

/// Four times what was asked, with a pause before each, and the end.
fn events(mark: &str) -> Script {
    let stream = Script::chunked().field("content-type", "text/event-stream");
    (0..4).fold(stream, |script, _| script.body(format!("data: {mark}\n\n")).pause(seconds(0.2)))
}

/// What a body says of the request that it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark<'t> {
    pub(super) path: &'t str,
    pub(super) user: &'t str,
    pub(super) language: &'t str,
}

impl<'t> Mark<'t> {
    fn text(seen: &Seen) -> String {
        let field = |name| seen.field(name).unwrap_or_default();
        let (user, language) = (field("authorization"), field("accept-language"));
        format!("[{} {} {} for={user} lang={language}]", seen.path(), seen.method, seen.nth)
    }

    /// The mark at the start of a body as text, what it says, and what follows.
    pub(super) fn read(body: &'t str) -> Option<(&'t str, Self, &'t str)> {
        let (text, rest) = body.split_once(']')?;
        let words: Vec<_> = text.strip_prefix('[')?.split(' ').collect();
        let [path, _, _, user, language] = words[..] else { return None };
        let mark = Self { path, user: user.strip_prefix("for=")?, language: language.strip_prefix("lang=")? };
        Some((text, mark, rest))
    }
}
