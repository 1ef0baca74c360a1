//! What is stored, and what of it: RFC 9111 sections 3 and 5.2.2.

use super::{after, run, twice};

#[tokio::test]
async fn every_final_status_is_stored_that_says_how_long_it_is_good() {
    let rows: Vec<_> = [
        200, 201, 202, 203, 204, 205, 299, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 410,
        414, 418, 421, 429, 451, 499, 500, 501, 502, 503, 504, 511, 599,
    ]
    .iter()
    .flat_map(|status| {
        [
            (format!("{status} | Cache-Control: max-age=60"), format!("hit | {status}")),
            (format!("{status} | Expires: @+60"), format!("hit | {status}")),
            (format!("{status}"), "asked".to_owned()),
        ]
    })
    .map(|(answer, comes)| (&*answer.leak(), &*comes.leak()))
    .collect();
    run(twice("3: any final status", &rows)).await;
}

#[tokio::test]
async fn directives_decide_what_is_stored() {
    let mut cases = twice(
        "3 and 5.2.2: directives",
        &[
            ("Cache-Control: max-age=60, no-store", "asked"),
            ("Cache-Control: No-StOrE, max-age=60", "asked"),
            ("Cache-Control: max-age=60 | Cache-Control: no-store", "asked"),
            ("Cache-Control: no-store | Expires: @+60", "asked"),
            ("Cache-Control: extension=\"no-store\", max-age=60", "hit"),
            ("Cache-Control: max-age=60, private", "asked"),
            ("Cache-Control: PRIVATE, s-maxage=60", "asked"),
            ("Cache-Control: public, private, max-age=60", "asked"),
            ("Cache-Control: max-age=60, no-cache", "asked"),
            ("Cache-Control: max-age=60, No-Cache", "asked"),
            ("Cache-Control: no-cache | Expires: @+60", "asked"),
            ("Cache-Control: max-age=60, must-revalidate", "hit"),
            ("Cache-Control: max-age=60, proxy-revalidate", "hit"),
            ("Cache-Control: max-age=60, no-transform", "hit"),
            ("Cache-Control: max-age=60, must-understand", "hit"),
            ("Cache-Control: max-age=60, must-understand, no-store", "hit"),
            ("599 | Cache-Control: max-age=60, must-understand", "asked"),
            ("599 | Cache-Control: max-age=60, must-understand, no-store", "asked"),
            ("Cache-Control: max-age=60 | Set-Cookie: a=b", "asked"),
            ("Cache-Control: public, max-age=60 | Set-Cookie: a=b", "asked"),
        ],
    );
    cases.extend(after(
        "5.2.2.4 and 5.2.2.7: directives about fields",
        "Cache-Control: max-age=60, private=\"X-Me, X-You\" | X-Me: 1 | X-You: 2 | X-Other: 3",
        &[("", "", "hit | !X-Me | !X-You | X-Other: 3")],
    ));
    cases.extend(after(
        "5.2.2.4: the same with no-cache",
        "Cache-Control: max-age=60, no-cache=\"x-me\" | X-Me: 1 | X-Other: 3",
        &[("", "", "hit | !X-Me | X-Other: 3")],
    ));
    cases.extend(after(
        "5.2.2.4: unquoted",
        "Cache-Control: max-age=60, no-cache=x-me | X-Me: 1",
        &[("", "", "hit | !X-Me")],
    ));
    for (cookies, comes) in [("Set-Cookie: a=b", "asked | !Set-Cookie"), ("Vary: *", "asked"), ("", "hit")] {
        let first = format!("Cache-Control: max-age=60 | {cookies}").leak();
        let rows = vec![("", &*first, "asked"), ("", "Cache-Control: max-age=60", comes), ("", "", "hit")];
        cases.push(("what could not be shared is stored as soon as it can be", rows));
    }
    run(cases).await;
}

#[tokio::test]
async fn responses_to_credentials_need_permission() {
    let mut cases = Vec::new();
    for (credentials, directive, comes) in [
        ("Authorization: Basic a", "max-age=60", "asked"),
        ("Authorization: Basic a", "max-age=60, public", "hit"),
        ("Authorization: Basic a", "s-maxage=60", "hit"),
        ("Authorization: Basic a", "max-age=60, must-revalidate", "asked"),
        ("Authorization: Basic a", "max-age=60, proxy-revalidate", "asked"),
        ("Authorization: Basic a", "max-age=60, private", "asked"),
        ("Authorization: Basic a", "max-age=60, public, no-store", "asked"),
    ] {
        let first = format!("Cache-Control: {directive}").leak();
        cases.push(("3.5: Authorization", vec![(credentials, &*first, "asked"), (credentials, "", comes)]));
        cases.push((
            "3.5: Authorization meets what is stored",
            vec![("", first, "asked"), (credentials, "", comes)],
        ));
    }
    run(cases).await;
}

#[tokio::test]
async fn fields_are_stored_as_they_came_but_for_those_of_the_connection() {
    let mut cases = Vec::new();
    for field in [
        "X-A: 1",
        "X-A: 1, 2",
        "X-Empty: ",
        "Link: </a>; rel=x",
        "Content-Type: text/x",
        "Content-Language: de",
        "Content-Location: /other",
        "Content-Security-Policy: default-src 'self'",
        "Content-MD5: x",
        "Warning: 110 - \"x\"",
        "Via: 1.1 other",
        "ETag: W/\"x\"",
        "Expires: 0",
        "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        "Clear-Site-Data: \"cookies\"",
        "WWW-Authenticate: Basic",
        "X-Frame-Options: deny",
    ] {
        let first = format!("Cache-Control: max-age=60 | {field}").leak();
        cases.extend(after("3.1: a field is kept", first, &[("", "", &*format!("hit | {field}").leak())]));
    }
    for field in [
        "Connection: X-A",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Proxy-Authentication-Info: x",
        "Proxy-Authorization: x",
        "TE: trailers",
        "Trailer: X-A",
    ] {
        let name = field.split(':').next().unwrap();
        let first = format!("Cache-Control: max-age=60 | X-B: 1 | X-A: 1 | {field}").leak();
        let comes = if name == "Connection" {
            "hit | X-B: 1 | !X-A"
        } else {
            &*format!("hit | X-A: 1 | !{name}").leak()
        };
        cases.extend(after("3.1: a field of the connection is not", first, &[("", "", comes)]));
    }
    let two = "Cache-Control: max-age=60 | Link: </a> | Link: </b>";
    cases.extend(after("3.1: lines are kept apart", two, &[("", "", "hit | Link: </a>, </b>")]));
    run(cases).await;
}
