//! Validation: RFC 9111 section 4.3, RFC 9110 section 13.

use super::{Case, after, run};

const OLD: &str = "Thu, 01 Jan 2015 00:00:00 GMT";

#[tokio::test]
async fn clients_that_have_it_already_get_304_from_the_store() {
    let mut cases = after(
        "4.3.2: If-None-Match with a strong tag stored",
        "Cache-Control: max-age=60 | ETag: \"a\" | X-A: 1 | Content-Type: text/x",
        &[
            (
                "If-None-Match: \"a\"",
                "",
                "hit | 304 | ETag: \"a\" | Cache-Control: max-age=60 | !Content-Type",
            ),
            ("If-None-Match: W/\"a\"", "", "hit | 304"),
            ("If-None-Match: \"x\", \"a\"", "", "hit | 304"),
            ("If-None-Match: \"a\",\"x\"", "", "hit | 304"),
            ("If-None-Match: \"x\" | If-None-Match: \"a\"", "", "hit | 304"),
            ("If-None-Match: \"x,\", W/\"a\" , \"y\"", "", "hit | 304"),
            ("If-None-Match: *", "", "hit | 304"),
            ("HEAD | If-None-Match: \"a\"", "", "hit | 304"),
            ("If-None-Match: \"b\"", "", "hit | 200"),
            ("If-None-Match: \"A\"", "", "hit | 200"),
            ("If-None-Match: a", "", "hit | 200"),
            ("If-None-Match: w/\"a\"", "", "hit | 200"),
            ("If-None-Match: W\"a\"", "", "hit | 200"),
            ("If-None-Match: W\\\"a\"", "", "hit | 200"),
            ("If-None-Match: \"a", "", "hit | 200"),
            ("If-None-Match: ", "", "hit | 200"),
            ("If-None-Match: \"b\" | If-Modified-Since: @+60", "", "hit | 200"),
        ],
    );
    for (stored, asked, comes) in [
        ("W/\"a\"", "\"a\"", "hit | 304"),
        ("W/\"a\"", "W/\"a\"", "hit | 304"),
        ("a", "a", "hit | 304"),
        ("a", "\"a\"", "hit | 200"),
        ("\"\"", "\"\"", "hit | 304"),
        ("\"a, b\"", "\"a, b\"", "hit | 304"),
    ] {
        let first = format!("Cache-Control: max-age=60 | ETag: {stored}").leak();
        let asked = format!("If-None-Match: {asked}").leak();
        cases.extend(after("4.3.2: other tags", first, &[(asked, "", comes)]));
    }
    cases.extend(after(
        "4.3.2: If-Modified-Since",
        "Cache-Control: max-age=60 | Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT",
        &[
            (
                "If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT",
                "",
                "hit | 304 | Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT",
            ),
            ("If-Modified-Since: THU, 01 JAN 2015 00:00:00 GMT", "", "hit | 304"),
            ("If-Modified-Since: Thursday, 01-Jan-15 00:00:00 GMT", "", "hit | 304"),
            ("If-Modified-Since: Thu Jan  1 00:00:00 2015", "", "hit | 304"),
            ("If-Modified-Since: @-5", "", "hit | 304"),
            ("If-Modified-Since: Wed, 31 Dec 2014 23:59:59 GMT", "", "hit | 200"),
            ("If-Modified-Since: nonsense", "", "hit | 200"),
            ("If-Modified-Since: 0", "", "hit | 200"),
            ("If-None-Match: \"a\" | If-Modified-Since: @-5", "", "hit | 200"),
            ("If-None-Match: *", "", "hit | 304"),
        ],
    ));
    cases.extend(after(
        "4.3.2: with Date in place of Last-Modified",
        "Cache-Control: max-age=60 | Date: @-20",
        &[("If-Modified-Since: @-20", "", "hit | 304"), ("If-Modified-Since: @-30", "", "hit | 200")],
    ));
    cases.extend(after(
        "4.3.2: conditions on changing are for the origin",
        "Cache-Control: max-age=60 | ETag: \"a\"",
        &[("If-Match: \"a\"", "", "asked | > If-Match: \"a\""), ("If-Unmodified-Since: @0", "", "asked")],
    ));
    let not_ok = "404 | Cache-Control: max-age=60 | ETag: \"a\"";
    cases.extend(after(
        "RFC 9110 13.2.1: only of a 200",
        not_ok,
        &[("If-None-Match: \"a\"", "", "hit | 404")],
    ));
    run(cases).await;
}

#[tokio::test]
async fn stale_responses_are_validated_by_what_is_stored() {
    let both = format!("Cache-Control: max-age=60 | Age: 70 | ETag: \"a\" | Last-Modified: {OLD}").leak();
    let mut cases = after(
        "4.3.1: by both validators, whatever the client has",
        both,
        &[
            (
                "",
                "304",
                "kept | 200 | > If-None-Match: \"a\" | > If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT",
            ),
            ("If-None-Match: \"b\"", "304", "kept | 200 | > If-None-Match: \"a\""),
            ("If-None-Match: \"a\"", "304", "asked | 304 | > If-None-Match: \"a\""),
            ("If-None-Match: \"b\"", "ETag: \"b\"", "asked | 304 | > If-None-Match: \"a\""),
            ("If-Modified-Since: @-5", "304", "asked | 304 | > If-None-Match: \"a\""),
            ("", "ETag: \"b\"", "asked | 200 | ETag: \"b\""),
        ],
    );
    for tag in ["W/\"a\"", "a", "\"\"", "\"a, b\""] {
        let first = format!("Cache-Control: max-age=60 | Age: 70 | ETag: {tag}").leak();
        let comes = format!("kept | 200 | > If-None-Match: {tag} | > !If-Modified-Since").leak();
        cases.extend(after("4.3.1: by the tag as it came", first, &[("", "304", comes)]));
    }
    let dated = format!("Cache-Control: max-age=60 | Age: 70 | Last-Modified: {OLD}").leak();
    let comes = format!("kept | 200 | > If-Modified-Since: {OLD} | > !If-None-Match").leak();
    cases.extend(after("4.3.1: by the date", dated, &[("", "304", comes)]));
    let bare = "Cache-Control: max-age=60 | Age: 70";
    cases.extend(after(
        "4.3.1: by nothing",
        bare,
        &[("", "", "asked | > !If-None-Match | > !If-Modified-Since")],
    ));
    cases.extend(after(
        "4.3.1: and the client's condition is answered",
        bare,
        &[("If-None-Match: \"b\"", "ETag: \"b\"", "asked | 304")],
    ));
    let no_cache = "Cache-Control: no-cache | ETag: \"a\"";
    let twice = vec![
        ("", no_cache, "asked"),
        ("", "304", "kept | 200"),
        ("", "304", "kept | 200 | > If-None-Match: \"a\""),
    ];
    cases.push(("5.2.2.4: no-cache is validated every time", twice));
    cases.push((
        "4.3.3: a changed response takes the place of the old one",
        vec![
            ("", both, "asked"),
            ("", "Cache-Control: max-age=60 | ETag: \"b\"", "asked"),
            ("", "", "hit | ETag: \"b\""),
        ],
    ));
    cases.push((
        "4.3.3: an error in between does not",
        vec![
            ("", both, "asked"),
            ("", "500", "asked | 500"),
            ("", "304", "kept | 200 | > If-None-Match: \"a\""),
        ],
    ));
    run(cases).await;
}

#[tokio::test]
async fn a_304_brings_stored_fields_up_to_date() {
    let mut cases: Vec<Case> = Vec::new();
    let stored = "Cache-Control: max-age=60 | Age: 70 | ETag: \"a\" | X-A: 1 | X-B: 1 | Content-Type: text/x";
    let fresh = "304 | Cache-Control: max-age=600 | ETag: \"a\"";
    for (news, comes) in [
        ("", "X-A: 1"),
        ("X-A: 2", "X-A: 2"),
        ("X-A: 2", "X-B: 1"),
        ("X-A: 2 | X-A: 3", "X-A: 2, 3"),
        ("X-New: 1", "X-New: 1"),
        ("X-A: ", "X-A: "),
        ("", "Cache-Control: max-age=600"),
        ("Expires: 0", "Expires: 0"),
        ("Content-Type: text/y", "Content-Type: text/y"),
        ("Content-Location: /b", "Content-Location: /b"),
        ("Content-Security-Policy: x", "Content-Security-Policy: x"),
        ("Content-Encoding: gzip", "!Content-Encoding"),
        ("Content-Range: bytes 0-1/2", "!Content-Range"),
        ("Content-Length: 99", "Content-Length: 5"),
        ("Connection: X-A | X-A: 2", "X-A: 1"),
        ("Keep-Alive: x", "!Keep-Alive"),
        ("Proxy-Authenticate: x", "!Proxy-Authenticate"),
        ("Age: 5", "Age: 5"),
    ] {
        let news = format!("{fresh} | {news}").leak();
        let (now, later) = (format!("kept | 200 | {comes}").leak(), format!("hit | 200 | {comes}").leak());
        cases.push(("3.2 and 4.3.4", vec![("", stored, "asked"), ("", news, now), ("", "", later)]));
    }
    let gone = [("", "304 | ETag: \"a\" | Cache-Control: no-store", "kept | 200")];
    cases.extend(after("4.3.4: a 304 that forbids storing is used once", stored, &gone));
    cases.push((
        "4.3.4: and nothing is stored after it",
        vec![("", stored, "asked"), gone[0], ("", "", "asked | > !If-None-Match")],
    ));
    let weak = "Cache-Control: max-age=60 | Age: 70 | ETag: W/\"a\"";
    cases.extend(after("4.3.4: a weak tag", weak, &[("", "304 | ETag: W/\"a\"", "kept | 200")]));
    run(cases).await;
}

#[tokio::test]
async fn a_head_freshens_or_invalidates_what_is_stored() {
    let stale = "Cache-Control: max-age=60 | Age: 70 | X-A: 1 | X-B: 1";
    let news = "Cache-Control: max-age=60 | X-A: 2";
    let mut cases: Vec<Case> = Vec::new();
    for (stored, head, comes) in [
        ("", "", "hit | X-A: 2 | X-B: 1"),
        ("ETag: \"a\"", "ETag: \"a\"", "hit | X-A: 2 | X-B: 1 | ETag: \"a\""),
        (
            "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT",
            "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT",
            "hit | X-A: 2",
        ),
        ("ETag: \"a\"", "ETag: \"b\"", "asked | > !If-None-Match"),
        ("", "ETag: \"b\"", "asked | > !If-None-Match"),
        ("ETag: \"a\"", "ETag: \"a\" | Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT", "asked"),
    ] {
        let (stored, head) = (format!("{stale} | {stored}").leak(), format!("{news} | {head}").leak());
        cases.push((
            "4.3.5: HEAD 200",
            vec![("", stored, "asked"), ("HEAD", head, "asked | 200"), ("", "", comes)],
        ));
    }
    let fresh = "Cache-Control: max-age=60 | ETag: \"a\"";
    for (head, comes) in [
        ("404", "asked | > !If-None-Match"),
        ("410", "asked | > !If-None-Match"),
        ("301", "asked"),
        ("500", "hit"),
        ("429", "hit"),
        ("ETag: \"b\"", "asked"),
        ("304 | ETag: \"a\" | X-C: 3", "hit | X-C: 3"),
    ] {
        let rows =
            vec![("", fresh, "asked"), ("HEAD | Cache-Control: no-cache", head, "asked"), ("", "", comes)];
        cases.push(("4.3.5: HEAD on what is fresh", rows));
    }
    run(cases).await;
}

#[tokio::test]
async fn a_304_reaches_only_who_asked_for_one() {
    let cases: Vec<Case> = vec![
        (
            "what the origin does not evaluate goes on, and fills the store",
            vec![
                ("If-None-Match: \"a\"", "Cache-Control: max-age=60 | ETag: \"a\"", "asked | 200"),
                ("", "", "hit | 200 | ETag: \"a\""),
            ],
        ),
        (
            "of two variants the one is validated that suits",
            vec![
                ("X-K: 1", "Cache-Control: max-age=60 | Age: 70 | Vary: X-K | ETag: \"1\"", "asked"),
                ("X-K: 2", "Cache-Control: max-age=60 | Age: 70 | Vary: X-K | ETag: \"2\"", "asked"),
                ("X-K: 1", "304 | ETag: \"1\" | Vary: X-K", "kept | > If-None-Match: \"1\" | ETag: \"1\""),
            ],
        ),
        (
            "4.3.4: a 304 about another response updates nothing",
            vec![
                ("", "Cache-Control: max-age=60 | Age: 70 | ETag: \"a\"", "asked"),
                ("Cache-Control: max-age=1", "500", "asked | 500"),
            ],
        ),
    ];
    run(cases).await;
}

#[tokio::test]
async fn where_nothing_is_stored_the_origin_evaluates_conditions() {
    const DATE: &str = "If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT";
    let mut cases = Vec::new();
    for condition in [
        "If-None-Match: \"a\"",
        "If-None-Match: W/\"a\", \"b\"",
        "If-None-Match: a",
        "If-None-Match: *",
        DATE,
    ] {
        for method in ["GET", "HEAD"] {
            let asks = format!("{method} | {condition}").leak();
            let seen = format!("asked | 304 | ETag: \"a\" | > {condition}").leak();
            let rows = vec![
                (&*asks, "304 | Cache-Control: max-age=60 | ETag: \"a\"", &*seen),
                (
                    "",
                    "Cache-Control: max-age=60 | ETag: \"a\"",
                    "asked | 200 | > !If-None-Match | > !If-Modified-Since",
                ),
                (&*asks, "", "hit"),
            ];
            cases.push(("4.3.2: and its 304 is stored by nobody", rows));
        }
    }
    let other = vec![
        ("X-K: 1", "Cache-Control: max-age=60 | Vary: X-K | ETag: \"1\"", "asked"),
        ("X-K: 2 | If-None-Match: \"2\"", "304 | ETag: \"2\"", "asked | 304 | > If-None-Match: \"2\""),
    ];
    cases.push(("4.3.2: nor a suiting variant", other));
    run(cases).await;
}
