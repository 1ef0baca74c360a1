//! What a client may ask of a cache, and what is served stale: RFC 9111 sections 4.2.4, 5.2.1 and 5.4, RFC 5861.

use super::{after, run};

const FRESH: &str = "Cache-Control: max-age=60 | Age: 20";
const STALE: &str = "Cache-Control: max-age=60 | Age: 70";
const VALIDATED: &str = "Cache-Control: max-age=60 | Age: 20 | ETag: \"a\"";

#[tokio::test]
async fn request_directives_are_obeyed() {
    let mut cases = after(
        "5.2.1: with a fresh response stored",
        FRESH,
        &[
            ("Cache-Control: max-age=0", "", "asked"),
            ("Cache-Control: max-age=10", "", "asked"),
            ("Cache-Control: MAX-AGE=10", "", "asked"),
            ("Cache-Control: max-age=\"10\"", "", "asked"),
            ("Cache-Control: max-age=x", "", "asked"),
            ("Cache-Control: max-age=50", "", "hit"),
            ("Cache-Control: max-age=10, max-stale=1000", "", "asked"),
            ("Cache-Control: min-fresh=10", "", "hit"),
            ("Cache-Control: min-fresh=50", "", "asked"),
            ("Cache-Control: min-fresh=x", "", "hit"),
            ("Cache-Control: max-stale", "", "hit"),
            ("Cache-Control: no-cache", "", "asked"),
            ("Cache-Control: No-Cache", "", "asked"),
            ("Cache-Control: extension, no-cache", "", "asked"),
            ("Cache-Control: extension | Cache-Control: no-cache", "", "asked"),
            ("Cache-Control: no-store", "", "asked"),
            ("Cache-Control: only-if-cached", "", "hit"),
            ("Cache-Control: only-if-cached, min-fresh=50", "", "hit | 504"),
            ("Cache-Control: extension", "", "hit"),
            ("Cache-Control: ", "", "hit"),
            ("Pragma: no-cache", "", "asked"),
            ("Pragma: No-Cache", "", "asked"),
            ("Pragma: other", "", "hit"),
            ("Pragma: no-cache | Cache-Control: max-age=50", "", "hit"),
            ("Cache-Control: stale-if-error=60", "", "hit"),
        ],
    );
    cases.extend(after(
        "5.2.1.2: with a stale response stored",
        STALE,
        &[
            ("", "", "asked"),
            ("Cache-Control: max-stale", "", "hit"),
            ("Cache-Control: max-stale=1000", "", "hit"),
            ("Cache-Control: max-stale=\"1000\"", "", "hit"),
            ("Cache-Control: max-stale=5", "", "asked"),
            ("Cache-Control: max-stale=x", "", "asked"),
            ("Cache-Control: max-stale=1000, max-age=10", "", "asked"),
            ("Cache-Control: max-age=1000", "", "asked"),
            ("Cache-Control: only-if-cached", "", "hit | 504"),
            ("Cache-Control: only-if-cached, max-stale", "", "hit | 200"),
        ],
    ));
    for forbidding in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"] {
        let stored = format!("Cache-Control: max-age=60, {forbidding} | Age: 70 | ETag: \"a\"").leak();
        let stale = [("Cache-Control: max-stale=1000", "304", "kept | > If-None-Match: \"a\"")];
        cases.extend(after("5.2.1.2: max-stale against the origin's word", stored, &stale));
    }
    cases.extend(after(
        "5.2.1.4: what is insisted on is validated, and the news is stored",
        VALIDATED,
        &[
            ("Cache-Control: no-cache", "304 | ETag: \"a\"", "kept | 200 | > If-None-Match: \"a\""),
            ("Cache-Control: max-age=0", "304 | ETag: \"a\"", "kept | 200 | > If-None-Match: \"a\""),
            ("Cache-Control: min-fresh=50", "304 | ETag: \"a\"", "kept | 200 | > If-None-Match: \"a\""),
        ],
    ));
    let anew = vec![
        ("", FRESH, "asked"),
        ("Cache-Control: no-cache", "Cache-Control: max-age=60", "asked"),
        ("", "", "hit | !X-Old"),
    ];
    cases.push(("5.2.1.4: the answer takes the place of what was stored", anew));
    let not_stored =
        vec![("Cache-Control: no-store", "Cache-Control: max-age=60", "asked"), ("", "", "asked")];
    cases.push(("5.2.1.5: what is asked for with no-store is not stored", not_stored));
    let nothing = vec![("Cache-Control: only-if-cached", "", "hit | 504"), ("", "", "asked")];
    cases.push(("5.2.1.7: only-if-cached with nothing stored", nothing));
    run(cases).await;
}

#[tokio::test]
async fn stale_responses_stand_in_where_nobody_forbids_it() {
    let stale =
        |directives: &str| &*format!("Cache-Control: max-age=60{directives} | Age: 100 | ETag: \"a\"").leak();
    let mut cases = Vec::new();
    cases.extend(after("4.2.4: the origin is gone", stale(""), &[("", "close", "kept | 200")]));
    cases.extend(after(
        "4.2.4: and Expires was the lifetime",
        "Expires: @-9 | Date: @-60",
        &[("", "close", "kept | 200")],
    ));
    cases.extend(after(
        "4.2.4: and it never was fresh",
        "Cache-Control: max-age=0",
        &[("", "close", "failed | 502")],
    ));
    for forbidding in [", must-revalidate", ", proxy-revalidate", ", no-cache", ", s-maxage=60"] {
        let rows = [("", "close", "failed | 502")];
        cases.extend(after("4.2.4: the origin is gone, and stale is forbidden", stale(forbidding), &rows));
    }
    for status in ["500", "502", "503", "504"] {
        let row = |comes: String| [("", status, &*comes.leak())];
        let without = if status == "500" { "asked | 500" } else { "kept | 200" };
        cases.extend(after("4.3.3: without stale-if-error", stale(""), &row(without.to_owned())));
        for forbidding in [", must-revalidate", ", proxy-revalidate", ", s-maxage=60", ", stale-if-error=0"] {
            cases.extend(after("4.3.3: forbidden", stale(forbidding), &row(format!("asked | {status}"))));
        }
        cases.extend(after(
            "RFC 5861 4: in its window",
            stale(", stale-if-error=60"),
            &row("kept | 200".to_owned()),
        ));
        cases.extend(after(
            "RFC 5861 4: after it",
            stale(", stale-if-error=30"),
            &row(format!("asked | {status}")),
        ));
        let forbidden = stale(", must-revalidate, stale-if-error=60");
        cases.extend(after("RFC 5861 4: forbidden", forbidden, &row(format!("asked | {status}"))));
        let asked = [("Cache-Control: stale-if-error=60", status, "kept | 200")];
        cases.extend(after("RFC 5861 4: on request", stale(""), &asked));
    }
    cases.extend(after(
        "RFC 5861 4: no other error",
        stale(", stale-if-error=60"),
        &[("", "501", "asked | 501")],
    ));
    cases.extend(after(
        "RFC 5861 4: nor an answer",
        stale(", stale-if-error=60"),
        &[("", "404", "asked | 404")],
    ));
    for (directives, comes) in [
        (", stale-while-revalidate=60", "refreshed | 200"),
        (", Stale-While-Revalidate=\"60\"", "refreshed | 200"),
        (", stale-while-revalidate=30", "asked | 200"),
        (", stale-while-revalidate=x", "asked | 200"),
        (", stale-while-revalidate=60, must-revalidate", "asked | 200"),
        (", stale-while-revalidate=60, no-cache", "asked | 200"),
    ] {
        cases.extend(after("RFC 5861 3: stale-while-revalidate", stale(directives), &[("", "", comes)]));
    }
    let insisting = [("Cache-Control: max-age=10", "", "asked")];
    cases.extend(after(
        "RFC 5861 3: not if the client wants more",
        stale(", stale-while-revalidate=60"),
        &insisting,
    ));
    run(cases).await;
}
