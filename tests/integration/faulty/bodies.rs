//! Bodies that stall, break off, or are framed in a way that cannot be.

use super::{Broken, Case, Whole, assert_outcomes};
use crate::harness::client::send_raw;
use crate::harness::{Origin, Proxy, Script, seconds};

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunked(rest: &str) -> Script {
    Script::raw(format!("{CHUNKED}{rest}"))
}

#[tokio::test]
async fn a_body_that_breaks_off_looks_broken() {
    let half = || Script::raw(format!("{LENGTH}half")).pause(seconds(0.05));
    let chunk = |rest: &str| chunked(rest).pause(seconds(0.05));
    let mut cases: Vec<Case> = vec![
        ("length", half(), Broken),
        ("length-by-reset", half().reset(), Broken),
        ("length-without-a-byte", Script::raw(LENGTH), Broken),
        ("length-in-one-go", Script::raw(format!("{LENGTH}half")), Broken),
        (
            "until-close-by-reset",
            Script::raw("HTTP/1.1 200 OK\r\n\r\nhalf").pause(seconds(0.1)).reset(),
            Broken,
        ),
    ];
    for (name, by_reset, rest) in [
        ("no-chunk", "no-chunk-by-reset", ""),
        ("in-a-size", "in-a-size-by-reset", "4\r\nhalf\r\n1"),
        ("in-a-size-line", "in-a-size-line-by-reset", "4\r\nhalf\r\n4\r"),
        ("in-an-extension", "in-an-extension-by-reset", "4\r\nhalf\r\n4;a=b"),
        ("before-the-data", "before-the-data-by-reset", "4\r\nhalf\r\n4\r\n"),
        ("in-the-data", "in-the-data-by-reset", "4\r\nhalf\r\n4\r\nha"),
        ("before-the-datas-end", "before-the-datas-end-by-reset", "4\r\nhalf"),
        ("in-the-datas-end", "in-the-datas-end-by-reset", "4\r\nhalf\r"),
        ("before-the-last-chunk", "before-the-last-chunk-by-reset", "4\r\nhalf\r\n"),
        ("in-the-last-chunk", "in-the-last-chunk-by-reset", "4\r\nhalf\r\n0"),
        ("after-the-last-chunks-cr", "after-the-last-chunks-cr-by-reset", "4\r\nhalf\r\n0\r"),
        ("after-the-last-chunk", "after-the-last-chunk-by-reset", "4\r\nhalf\r\n0\r\n"),
        ("in-the-end", "in-the-end-by-reset", "4\r\nhalf\r\n0\r\n\r"),
        ("in-a-trailer", "in-a-trailer-by-reset", "4\r\nhalf\r\n0\r\nX-Sum: 1"),
        ("after-a-trailer", "after-a-trailer-by-reset", "4\r\nhalf\r\n0\r\nX-Sum: 1\r\n"),
    ] {
        cases.push((name, chunk(rest), Broken));
        cases.push((by_reset, chunk(rest).reset(), Broken));
    }
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn a_body_that_stalls_looks_broken() {
    let cases: Vec<Case> = vec![
        ("length", Script::raw(format!("{LENGTH}half")).hang(), Broken),
        ("length-without-a-byte", Script::raw(LENGTH).hang(), Broken),
        ("until-close", Script::raw("HTTP/1.1 200 OK\r\n\r\nhalf").hang(), Broken),
        ("no-chunk", chunked("").hang(), Broken),
        ("in-a-size", chunked("4\r\nhalf\r\n1").hang(), Broken),
        ("in-an-extension", chunked("4\r\nhalf\r\n4;a").hang(), Broken),
        ("in-the-data", chunked("4\r\nhalf\r\n4\r\nha").hang(), Broken),
        ("before-the-last-chunk", chunked("4\r\nhalf\r\n").hang(), Broken),
        ("after-the-last-chunk", chunked("4\r\nhalf\r\n0\r\n").hang(), Broken),
        ("in-a-trailer", chunked("4\r\nhalf\r\n0\r\nX-Sum").hang(), Broken),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn chunks_that_cannot_be_read_look_broken() {
    let endless = |start: &str, piece: &'static str| {
        chunked(start).repeat(piece, 100_000).body("\r\nabcd\r\n0\r\n\r\n")
    };
    let cases: Vec<Case> = vec![
        ("no-number", chunked("4\r\nhalf\r\nzz\r\n"), Broken),
        ("empty-size", chunked("4\r\nhalf\r\n\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("minus", chunked("4\r\nhalf\r\n-4\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("plus", chunked("4\r\nhalf\r\n+4\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("prefixed", chunked("4\r\nhalf\r\n0x4\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("leading-blank", chunked("4\r\nhalf\r\n 4\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("underscore", chunked("4\r\nhalf\r\n4_\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("overflow", chunked("4\r\nhalf\r\nfffffffffffffffff\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("huge", chunked("4\r\nhalf\r\nffffffffffffffff\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("huge-but-signed", chunked("4\r\nhalf\r\n7fffffffffffffff\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("too-much-data", chunked("4\r\nhalf and more\r\n0\r\n\r\n"), Broken),
        ("too-little-data", chunked("9\r\nhalf\r\n0\r\n\r\n"), Broken),
        ("lf-after-size", chunked("4\r\nhalf\r\n4\nabcd\r\n0\r\n\r\n"), Broken),
        ("lf-after-data", chunked("4\r\nhalf\n4\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("cr-in-extension", chunked("4\r\nhalf\r\n4;a\rb\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("lf-in-extension", chunked("4\r\nhalf\r\n4;a\nb\r\nabcd\r\n0\r\n\r\n"), Broken),
        ("endless-extension", endless("4\r\nhalf\r\n4;", "a=bcdefg;"), Broken),
        ("endless-size", endless("4\r\nhalf\r\n", "0000000000"), Broken),
        (
            "endless-trailers",
            chunked("4\r\nhalf\r\n0\r\n").repeat("X-Sum: 0123456789\r\n", 100_000).body("\r\n"),
            Broken,
        ),
        (
            "endless-trailer",
            chunked("4\r\nhalf\r\n0\r\nX-Sum: ").repeat("0123456789", 100_000).body("\r\n\r\n"),
            Broken,
        ),
        ("trailer-without-colon", chunked("4\r\nhalf\r\n0\r\nX-Sum\r\n\r\n"), Broken),
        ("trailer-with-nul", chunked("4\r\nhalf\r\n0\r\nX-Sum: a\0\r\n\r\n"), Broken),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn chunks_that_are_merely_odd_are_understood() {
    let fine = Whole(200, "half");
    let crumbs = "4\r\nhalf\r\n0\r\n\r\n".bytes();
    let cases: Vec<Case> = vec![
        ("leading-zeros", chunked("0004\r\nhalf\r\n000\r\n\r\n"), fine),
        ("extensions", chunked("4;a=b;c=\"d\";e\r\nhalf\r\n0;f\r\n\r\n"), fine),
        ("blanks-after-size", chunked("4  \r\nhalf\r\n0 \r\n\r\n"), fine),
        (
            "upper-case",
            Script::raw(CHUNKED.to_uppercase().replace("OK", "ok") + "4\r\nhalf\r\n0\r\n\r\n"),
            fine,
        ),
        (
            "crumbs",
            crumbs.fold(chunked(""), |script, byte| script.body(vec![byte]).pause(seconds(0.005))),
            fine,
        ),
        ("one-byte-chunks", chunked("1\r\nh\r\n1\r\na\r\n1\r\nl\r\n1\r\nf\r\n0\r\n\r\n"), fine),
        ("until-close", Script::raw("HTTP/1.1 200 OK\r\n\r\nhalf"), fine),
        ("empty", chunked("0\r\n\r\n"), Whole(200, "")),
        ("no-length", Script::raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Whole(200, "")),
    ];
    assert_outcomes(cases).await;
}

#[tokio::test]
async fn what_must_not_come_after_a_body_is_dropped() {
    let trailers = [
        "Set-Cookie: a=b",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Host: evil",
        "Authorization: x",
        "Cache-Control: max-age=60",
        "Content-Type: text/html",
        "Content-Encoding: gzip",
        "Content-Range: bytes 0-3/9",
        "Location: /evil",
        "Retry-After: 1",
        "WWW-Authenticate: Basic",
        "Proxy-Authenticate: Basic",
        "Vary: *",
        "Age: 1",
        "Expires: 0",
        "Date: x",
        "Connection: close",
        "Trailer: x",
        "Cookie: a=b",
        "X-Forwarded-For: 1.2.3.4",
        "Te: trailers",
        "Upgrade: h2c",
        "Keep-Alive: timeout=5",
        "Strict-Transport-Security: max-age=1",
        "Cache-Status: forebay; hit",
        "Access-Control-Allow-Origin: *",
        "Content-Security-Policy: x",
        "Warning: 1",
        "Pragma: x",
        "CDN-Cache-Control: max-age=1",
        "Clear-Site-Data: *",
        "X-Request-Id: evil",
        "X-Accel-Redirect: /x",
    ];
    let cases = trailers.map(|trailer| {
        let name = &*trailer.split(':').next().unwrap().to_owned().leak();
        (name, chunked(&format!("4\r\nhalf\r\n0\r\n{trailer}\r\n\r\n")), Whole(200, "half"))
    });
    assert_outcomes(cases.into()).await;
}

#[tokio::test]
async fn truncation_is_visible_to_who_knows_no_chunks() {
    let origin = Origin::start();
    origin.on("/chunks", Script::chunked().body("half").pause(seconds(0.1)).cut());
    origin.on("/close", Script::raw("HTTP/1.1 200 OK\r\n\r\nhalf").pause(seconds(0.1)).reset());
    origin.on("/at-once", Script::chunked().body("half").cut());
    let proxy = Proxy::start(&origin, super::WAYS.split("routes").next().unwrap()).await;
    for path in ["/chunks", "/close", "/at-once"] {
        let response = send_raw(proxy.address, format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n")).await;
        assert!(response.cut_short.is_some(), "{path} looks whole: {response:?}");
    }
}
