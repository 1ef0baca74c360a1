//! Heads that do not come, come broken, or come without end.

use super::{Case, LATE, Refused, Whole, assert_outcomes, assert_outcomes_of};
use crate::harness::{Script, seconds};

const INVALID: super::Outcome = Refused(502, "http_protocol_error");
const TOO_LARGE: super::Outcome = Refused(502, "http_response_header_section_size");
const INCOMPLETE: super::Outcome = Refused(502, "http_response_incomplete");

/// A 200 with these lines in its head and the body `abc`, which nothing but a refusal keeps from being taken.
fn with(lines: &str) -> Script {
    Script::raw(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nabc"))
}

/// These bytes one by one, at this pace.
fn dripping(text: &str, pace: f64) -> Script {
    text.bytes().fold(Script::raw(""), |script, byte| script.body(vec![byte]).pause(seconds(pace)))
}

#[tokio::test]
async fn a_head_that_does_not_come_is_504() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let cases: Vec<Case> = vec![
        ("silence", Script::raw("").hang(), LATE),
        ("half", Script::raw("HTTP/1.1 200 OK\r\nContent-").hang(), LATE),
        ("all-but-the-end", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n").hang(), LATE),
        ("one-byte", Script::raw("H").hang(), LATE),
        ("trickle", dripping(head, 0.3), LATE),
        ("blank-lines", Script::raw("").repeat("\r\n", 20).hang(), LATE),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_head_that_breaks_off_is_502() {
    let closed = Refused(502, "connection_terminated");
    let cases: Vec<Case> = vec![
        ("nothing", Script::nothing(), closed),
        ("nothing-by-reset", Script::raw("").reset(), closed),
        ("in-the-status-line", Script::raw("HTTP/1.1 20"), INCOMPLETE),
        ("in-the-status-line-by-reset", Script::raw("HTTP/1.1 20").pause(seconds(0.1)).reset(), INCOMPLETE),
        ("in-a-field", Script::raw("HTTP/1.1 200 OK\r\nContent-Le"), INCOMPLETE),
        (
            "in-a-field-by-reset",
            Script::raw("HTTP/1.1 200 OK\r\nX: ").pause(seconds(0.1)).reset(),
            INCOMPLETE,
        ),
        ("before-the-blank-line", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), INCOMPLETE),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_status_line_that_is_none_is_502() {
    let lines = [
        ("ssh", "SSH-2.0-OpenSSH_9.2"),
        ("html", "<html><body>hello</body></html>"),
        ("icy", "ICY 200 OK"),
        ("http-2", "HTTP/2.0 200 OK"),
        ("http-2-preface", "PRI * HTTP/2.0"),
        ("http-0.9", "HTTP/0.9 200 OK"),
        ("http-1.2", "HTTP/1.2 200 OK"),
        ("http-1.10", "HTTP/1.10 200 OK"),
        ("http-1", "HTTP/1 200 OK"),
        ("lower-case", "http/1.1 200 OK"),
        ("a-request", "GET / HTTP/1.1"),
        ("no-status", "HTTP/1.1"),
        ("blank-status", "HTTP/1.1 "),
        ("words", "HTTP/1.1 abc OK"),
        ("one-digit", "HTTP/1.1 2 OK"),
        ("two-digits", "HTTP/1.1 20 OK"),
        ("four-digits", "HTTP/1.1 2000 OK"),
        ("glued", "HTTP/1.1 200OK"),
        ("negative", "HTTP/1.1 -20 OK"),
        ("hexadecimal", "HTTP/1.1 0xC8 OK"),
        ("000", "HTTP/1.1 000 Zero"),
        ("099", "HTTP/1.1 099 Low"),
        ("600", "HTTP/1.1 600 High"),
        ("999", "HTTP/1.1 999 Highest"),
        ("tab", "HTTP/1.1\t200 OK"),
        ("nul-in-reason", "HTTP/1.1 200 O\0K"),
        ("cr-in-reason", "HTTP/1.1 200 O\rK"),
        ("leading-blank", " HTTP/1.1 200 OK"),
    ];
    let cases = lines
        .map(|(name, line)| (name, Script::raw(format!("{line}\r\nContent-Length: 3\r\n\r\nabc")), INVALID));
    assert_outcomes(cases.into()).await;
}

#[tokio::test]
async fn a_status_line_that_is_merely_odd_is_understood() {
    let fine = Whole(200, "abc");
    let lines = [
        ("no-reason", "HTTP/1.1 200 ", fine),
        ("no-reason-nor-blank", "HTTP/1.1 200", fine),
        ("a-long-reason", "HTTP/1.1 200 All of it is as it should be; or not: who knows?", fine),
        ("a-reason-in-latin-1", "HTTP/1.1 200 Gr\u{fc}n", fine),
        ("http-1.0", "HTTP/1.0 200 OK", fine),
        ("299", "HTTP/1.1 299 Odd", Whole(299, "abc")),
        ("418", "HTTP/1.1 418 Teapot", Whole(418, "abc")),
        ("599", "HTTP/1.1 599 Last", Whole(599, "abc")),
    ];
    let cases = lines.map(|(name, line, outcome)| {
        (name, Script::raw(format!("{line}\r\nContent-Length: 3\r\n\r\nabc")), outcome)
    });
    assert_outcomes(cases.into()).await;
}

#[tokio::test]
async fn a_field_that_is_none_is_502() {
    let lines = [
        ("no-colon", "X-Broken"),
        ("no-name", ": value"),
        ("blank-before-colon", "X-Odd : value"),
        ("blank-in-name", "X Odd: value"),
        ("leading-blank", " X-Odd: value"),
        ("folded", "X-Long: one\r\n two"),
        ("folded-by-tab", "X-Long: one\r\n\ttwo"),
        ("folded-length", "X-Long: one\r\n Content-Length: 30"),
        ("nul-in-value", "X-Odd: va\0lue"),
        ("cr-in-value", "X-Odd: va\rlue"),
        ("control-in-value", "X-Odd: va\u{1}lue"),
        ("delete-in-value", "X-Odd: va\u{7f}lue"),
        ("nul-in-name", "X-\0dd: value"),
        ("latin-1-in-name", "X-\u{fc}: value"),
        ("bracket-in-name", "X(Odd): value"),
    ];
    let cases = lines.map(|(name, line)| (name, with(&format!("{line}\r\nContent-Length: 3")), INVALID));
    assert_outcomes(cases.into()).await;
}

#[tokio::test]
async fn a_length_or_coding_in_doubt_is_502() {
    let chunks = |head: &str| Script::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    let mut cases: Vec<Case> = [
        ("equal-lengths", "Content-Length: 3\r\nContent-Length: 3"),
        ("other-lengths", "Content-Length: 3\r\nContent-Length: 2"),
        ("a-list", "Content-Length: 3, 3"),
        ("plus", "Content-Length: +3"),
        ("minus", "Content-Length: -3"),
        ("hexadecimal", "Content-Length: 0x3"),
        ("blank", "Content-Length:"),
        ("words", "Content-Length: three"),
        ("inner-blank", "Content-Length: 3 3"),
        ("beyond-64-bits", "Content-Length: 18446744073709551616"),
        ("fraction", "Content-Length: 3.0"),
    ]
    .map(|(name, lines)| (name, with(lines), INVALID))
    .into();
    cases.extend(
        [
            ("both", "Content-Length: 3\r\nTransfer-Encoding: chunked"),
            ("both-the-other-way", "Transfer-Encoding: chunked\r\nContent-Length: 13"),
            ("coding-twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            ("coding-in-a-list", "Transfer-Encoding: chunked, chunked"),
            ("gzip-and-chunked", "Transfer-Encoding: gzip, chunked"),
            ("chunked-and-identity", "Transfer-Encoding: chunked, identity"),
            ("identity", "Transfer-Encoding: identity"),
            ("gzip", "Transfer-Encoding: gzip"),
            ("no-coding", "Transfer-Encoding:"),
            ("a-coding-like-it", "Transfer-Encoding: xchunked"),
            ("a-quoted-coding", "Transfer-Encoding: \"chunked\""),
            ("a-parameter", "Transfer-Encoding: chunked;q=1"),
            ("a-vertical-tab", "Transfer-Encoding: \u{b}chunked"),
        ]
        .map(|(name, lines)| (name, chunks(lines), Refused(502, "http_protocol_error"))),
    );
    // For the protocol library the length is part of the head, and too large.
    cases.push(("beyond-any-size", with("Content-Length: 18446744073709551615"), TOO_LARGE));
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    cases.push(("coding-on-1.0", Script::raw(old), INVALID));
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_head_beyond_any_measure_is_502() {
    let lines = |line: &str, times| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n";
        Script::raw(head).repeat(line.repeat(1000), times).body("\r\nabc")
    };
    let endless =
        |start: &str| Script::raw(start.to_owned()).repeat("0123456789".repeat(1000), 100).body("\r\n\r\n");
    let cases: Vec<Case> = vec![
        ("ten-thousand-fields", lines("X-F: v\r\n", 10), TOO_LARGE),
        (
            "ten-megabytes",
            lines("X-Some-Field: 0123456789012345678901234567890123456789\r\n", 180),
            TOO_LARGE,
        ),
        ("one-field", endless("HTTP/1.1 200 OK\r\nX-Large: "), TOO_LARGE),
        ("one-name", endless("HTTP/1.1 200 OK\r\nX-"), TOO_LARGE),
        ("one-reason", endless("HTTP/1.1 200 "), TOO_LARGE),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_body_where_there_can_be_none_is_nobodys() {
    let cases: Vec<Case> = vec![
        ("204", Script::raw("HTTP/1.1 204 No Content\r\n\r\nabc").kept(), Whole(204, "")),
        (
            "204-with-a-length",
            Script::raw("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc").kept(),
            Whole(204, ""),
        ),
        (
            "204-in-chunks",
            Script::raw("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").kept(),
            Whole(204, ""),
        ),
        (
            "304-with-a-length",
            Script::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\nabc").kept(),
            Whole(304, ""),
        ),
        (
            "205-with-a-body",
            Script::raw("HTTP/1.1 205 Reset\r\nContent-Length: 3\r\n\r\nabc").kept(),
            Whole(205, "abc"),
        ),
    ];
    assert_outcomes(cases).await;
    let cases: Vec<Case> = vec![
        ("length", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").kept(), Whole(200, "")),
        (
            "chunks",
            Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").kept(),
            Whole(200, ""),
        ),
        ("no-framing", Script::raw("HTTP/1.1 200 OK\r\n\r\nabc"), Whole(200, "")),
    ];
    assert_outcomes_of("HEAD", cases).await;
}

#[tokio::test]
async fn a_connection_field_that_makes_no_sense_does_no_harm() {
    let cases: Vec<Case> = [
        "Connection: close, keep-alive",
        "Connection: keep-alive, close",
        "Connection: content-length",
        "Connection: ,,,",
        "Connection: close\r\nConnection: keep-alive",
        "Keep-Alive: timeout=0",
        "Keep-Alive: timeout=-1",
        "Keep-Alive: timeout=99999999999999999999999",
        "Keep-Alive: max=0",
        "Keep-Alive: timeout",
        "Upgrade: h2c\r\nConnection: upgrade",
        "Proxy-Connection: close",
    ]
    .map(|lines| {
        let name = &*lines.replace([' ', ':', ',', '\r', '\n'], "-").leak();
        (name, with(&format!("{lines}\r\nContent-Length: 3")), Whole(200, "abc"))
    })
    .into();
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn eight_bit_values_pass() {
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Latin: gr".to_vec();
    head.extend_from_slice(b"\xfcn\r\nX-Utf: \xc3\xbc\r\n\r\nabc");
    assert_outcomes(vec![("latin-1", Script::raw(head), Whole(200, "abc"))]).await;
}

#[tokio::test]
async fn line_ends_without_cr_are_nothing_that_is_passed_on() {
    let cases: Vec<Case> = vec![
        ("all", Script::raw("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"), Whole(200, "abc")),
        (
            "one",
            Script::raw("HTTP/1.1 200 OK\r\nX-A: b\nX-C: d\r\nContent-Length: 3\r\n\r\nabc"),
            Whole(200, "abc"),
        ),
        ("cr-alone", Script::raw("HTTP/1.1 200 OK\rContent-Length: 3\r\rabc"), INVALID),
    ];
    assert_outcomes(cases).await;
}
