//! Which stored response suits which request: RFC 9111 section 4.1, RFC 9110 section 12.5.5.

use super::{Case, run};

/// What a request that names `asks` gets where one that named `stored` has filled the store.
fn varied(rows: &[(&'static str, &'static str, &'static str, &'static str)]) -> Vec<Case> {
    let case = |(vary, stored, asks, comes): &(&'static str, &'static str, &'static str, &'static str)| {
        let vary: Vec<_> = vary.split(" / ").map(|line| format!(" | Vary: {line}")).collect();
        let first = format!("Cache-Control: max-age=60{}", vary.concat()).leak();
        ("4.1", vec![(*stored, &*first, "asked"), (*asks, "", *comes)])
    };
    rows.iter().map(case).collect()
}

#[tokio::test]
async fn a_variant_is_given_to_those_whom_it_suits() {
    run(varied(&[
        ("X-A", "X-A: 1", "X-A: 1", "hit"),
        ("x-a", "X-A: 1", "x-a: 1", "hit"),
        ("X-A", "X-A: 1", "X-A: 2", "asked"),
        ("X-A", "X-A: 1", "", "asked"),
        ("X-A", "", "X-A: 1", "asked"),
        ("X-A", "", "", "hit"),
        ("X-A", "X-A: 1", "X-A: 1 | X-B: 2", "hit"),
        ("X-A, X-B", "X-A: 1 | X-B: 2", "X-B: 2 | X-A: 1", "hit"),
        ("X-A, X-B", "X-A: 1 | X-B: 2", "X-A: 1 | X-B: 3", "asked"),
        ("X-A, X-B", "X-A: 1 | X-B: 2", "X-A: 1", "asked"),
        ("X-A, X-B", "X-A: 1", "X-A: 1", "hit"),
        ("X-A / X-B", "X-A: 1 | X-B: 2", "X-A: 1 | X-B: 3", "asked"),
        ("X-A / X-B", "X-A: 1 | X-B: 2", "X-A: 1 | X-B: 2", "hit"),
        ("X-A,X-B ,, X-C", "X-A: 1 | X-B: 2 | X-C: 3", "X-A: 1 | X-B: 2 | X-C: 3", "hit"),
        ("X-A,X-B ,, X-C", "X-A: 1 | X-B: 2 | X-C: 3", "X-A: 1 | X-B: 2 | X-C: 4", "asked"),
        ("*", "", "", "asked"),
        ("*", "X-A: 1", "X-A: 1", "asked"),
        ("*, *", "", "", "asked"),
        ("*, X-A", "X-A: 1", "X-A: 1", "asked"),
        ("X-A, *", "X-A: 1", "X-A: 1", "asked"),
        (" / *", "", "", "asked"),
        ("X-A / *", "X-A: 1", "X-A: 1", "asked"),
        (", *", "", "", "asked"),
        ("", "", "", "hit"),
        ("not a name", "", "", "asked"),
    ]))
    .await;
}

#[tokio::test]
async fn differences_that_mean_nothing_are_overlooked() {
    run(varied(&[
        ("X-A", "X-A: 1, 2", "X-A: 1,2", "hit"),
        ("X-A", "X-A: 1,  2", "X-A: 1, 2", "hit"),
        ("X-A", "X-A: 1 | X-A: 2", "X-A: 1, 2", "hit"),
        ("X-A", "X-A: 1, 2", "X-A: 1 | X-A: 2", "hit"),
        ("X-A", "X-A: 1, 2", "X-A: 2, 1", "asked"),
        ("X-A", "X-A: a", "X-A: A", "asked"),
        ("X-A", "X-A: \"a, b\"", "X-A: \"a,b\"", "asked"),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: en,de", "hit"),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: de, en", "hit"),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: EN, De", "hit"),
        (
            "Accept-Language",
            "Accept-Language: en, de;q=0.5",
            "Accept-Language: de; q=0.5 | Accept-Language: en",
            "hit",
        ),
        ("Accept-Language", "Accept-Language: en, de;q=0.5", "Accept-Language: en;q=0.5, de", "asked"),
        ("Accept-Language", "Accept-Language: en, de", "Accept-Language: en", "asked"),
        ("Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: BR,gzip", "hit"),
        ("Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: gzip", "asked"),
        ("Accept-Encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", "asked"),
        ("Accept", "Accept: text/a;q=1, text/b", "Accept: text/a; q=1,text/b", "hit"),
        ("User-Agent", "User-Agent: a (b, c)", "User-Agent: a (b,c)", "asked"),
    ]))
    .await;
}

#[tokio::test]
async fn variants_are_kept_side_by_side() {
    let vary = "Cache-Control: max-age=60 | Vary: X-A";
    let row = |asks, answer, comes| (asks, answer, comes);
    let mut cases: Vec<Case> = vec![(
        "4.1: several variants",
        vec![
            row("X-A: 1", "Cache-Control: max-age=60 | Vary: X-A | X-R: 1", "asked"),
            row("X-A: 2", "Cache-Control: max-age=60 | Vary: X-A | X-R: 2", "asked"),
            row("", "Cache-Control: max-age=60 | Vary: X-A | X-R: 0", "asked"),
            row("X-A: 1", "", "hit | X-R: 1"),
            row("X-A: 2", "", "hit | X-R: 2"),
            row("", "", "hit | X-R: 0"),
        ],
    )];
    cases.push((
        "4.1: one that varies by less is for all, the newest first",
        vec![
            row("X-A: 1", vary, "asked"),
            row("X-A: 2", "Cache-Control: max-age=60 | X-R: all", "asked"),
            row("X-A: 3", "", "hit | X-R: all"),
        ],
    ));
    cases.push((
        "4.3.4: a 304 may change what a response varies by",
        vec![
            row("X-A: 1 | X-B: 1", "Cache-Control: max-age=60 | Age: 70 | Vary: X-A | ETag: \"a\"", "asked"),
            row("X-A: 1 | X-B: 1", "304 | Cache-Control: max-age=60 | Vary: X-A, X-B | ETag: \"a\"", "kept"),
            row("X-A: 1 | X-B: 1", "", "hit"),
            row("X-A: 1 | X-B: 2", "", "asked"),
        ],
    ));
    run(cases).await;
}
