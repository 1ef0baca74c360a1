use proptest::prelude::*;

use super::*;

fn router(patterns: &[&str]) -> Router<String> {
    let parse = |text: &&str| (Pattern::parse(text).unwrap(), (*text).to_owned());
    Router::build(patterns.iter().map(parse).collect()).unwrap()
}

fn found(router: &Router<String>, request: &str) -> String {
    let (method, target) = request.split_once(' ').unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    router.find(&method, host, path).map_or_else(|| "none".to_owned(), |found| found.route.clone())
}

#[test]
fn the_most_specific_pattern_wins_whatever_the_order() {
    let mut patterns = vec![
        "/{*rest}",
        "GET /api/scans/{*rest}",
        "GET /api/scans/{id}",
        "GET /api/scans/latest",
        "GET /api/scans",
        "/api/{kind}/latest",
        "a.test/api/scans",
        "POST a.test/api/scans",
    ];
    let cases = [
        ("GET /", "/{*rest}"),
        ("GET /api/scansX", "/{*rest}"),
        ("GET /api/scans", "GET /api/scans"),
        ("GET /api/scans/", "GET /api/scans/{*rest}"),
        ("GET /api/scans/7", "GET /api/scans/{id}"),
        ("GET /api/scans/7/", "GET /api/scans/{*rest}"),
        ("GET /api/scans/latest", "GET /api/scans/latest"),
        ("POST /api/scans/latest", "/api/{kind}/latest"),
        ("DELETE /api/scans/7", "/{*rest}"),
        ("GET a.test/api/scans", "a.test/api/scans"),
        ("GET A.TEST:80/api/scans", "a.test/api/scans"),
        ("GET a.test:8080/api/scans", "GET /api/scans"),
        ("POST a.test/api/scans", "POST a.test/api/scans"),
        ("POST b.test/api/scans", "/{*rest}"),
        ("HEAD /api/scans", "GET /api/scans"),
    ];
    for _ in 0..2 {
        let router = router(&patterns);
        for (request, wanted) in cases {
            assert_eq!(found(&router, request), wanted, "{request}");
        }
        patterns.reverse();
    }
}

#[test]
fn a_specific_shape_that_fails_later_hides_nothing() {
    let router = router(&["/a/b/c", "/a/{x}/d", "/{*rest}", "/{y}/b/e"]);
    assert_eq!(found(&router, "GET /a/b/d"), "/a/{x}/d");
    assert_eq!(found(&router, "GET /a/b/e"), "/{y}/b/e");
    assert_eq!(found(&router, "GET /a/b/f"), "/{*rest}");
}

#[test]
fn head_follows_get_but_a_pattern_that_names_it_goes_first() {
    let router = router(&["GET /x", "HEAD /x", "GET,POST /y", "/y"]);
    assert_eq!(found(&router, "HEAD /x"), "HEAD /x");
    assert_eq!(found(&router, "HEAD /y"), "GET,POST /y");
    assert_eq!(found(&router, "PUT /y"), "/y");
}

#[test]
fn captures_are_the_parts_of_the_path() {
    let router = router(&["/ws/{workspace}/{*rest}"]);
    let path = "/ws/%C3%A9/a/b";
    let found = router.find(&Method::GET, "", path).unwrap();
    assert_eq!(found.capture(path, "workspace"), Some("%C3%A9"));
    assert_eq!(found.capture(path, "rest"), Some("a/b"));
    assert_eq!(found.capture(path, "other"), None);
    let found = router.find(&Method::GET, "", "/ws/w/").unwrap();
    assert_eq!(found.capture("/ws/w/", "rest"), Some(""));
    assert!(router.find(&Method::GET, "", "/ws//a").is_none(), "a capture is not empty");
    assert!(router.find(&Method::OPTIONS, "", "*").is_none());
}

#[test]
fn equal_patterns_conflict_by_index() {
    let build = |patterns: &[&str]| {
        let routes = patterns.iter().map(|text| (Pattern::parse(text).unwrap(), ())).collect();
        Router::build(routes).map(|_| ()).unwrap_err()
    };
    assert_eq!(build(&["/a", "/{x}", "/{y}"]), [Conflict { first: 1, second: 2 }]);
    assert_eq!(build(&["GET,POST /a", "POST,PUT /a"]), [Conflict { first: 0, second: 1 }]);
    assert_eq!(build(&["A.test:443/a", "a.test/a"]), [Conflict { first: 0, second: 1 }]);
    assert_eq!(build(&["/%7ea", "/~a"]), [Conflict { first: 0, second: 1 }]);
    router(&["GET /a", "POST /a", "/a", "a.test/a", "HEAD /a"]);
}

#[test]
fn mistakes_have_a_place() {
    let cases = [
        ("", 0, "begins with a slash"),
        ("GET", 0, "begins with a slash"),
        ("GET,get /a", 4, "not a method"),
        ("GET,GET /a", 4, "twice"),
        ("GET a.*/a", 6, "wildcard"),
        ("/a/{x}.json", 3, "whole segment"),
        ("/a/{}", 3, "name"),
        ("/{*r}/x", 5, "nothing can follow"),
        ("/{a}/{a}", 5, "twice"),
        ("/a/%2f", 3, "slash"),
        ("/a%zz", 2, "hexadecimal"),
        ("/a/../b", 3, "dot segments"),
        ("/a?b", 2, "query"),
        ("GET http://x/y", 4, "write `x/y`"),
        ("https://x/y", 0, "no scheme"),
        ("CONNECT /x", 0, "405"),
        ("GET,TRACE /x", 4, "405"),
        ("GET x:99999/y", 4, "not a host"),
        ("[::1/y", 0, "not a host"),
        (":80/y", 0, "not a host"),
        ("/a//b", 3, "empty segments"),
        ("//", 1, "empty segments"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", 33, "more than 8"),
    ];
    for (text, offset, message) in cases {
        let error = Pattern::parse(text).unwrap_err();
        assert_eq!(error.offset, offset, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn explain_tells_the_winner_and_why_the_others_lost() {
    let router = router(&["/{*rest}", "POST /a/{x}", "/a/b/c", "h.test/a/b", "/a/{x}"]);
    let told: Vec<String> = router
        .explain(&Method::GET, "", "/a/b")
        .into_iter()
        .map(|candidate| match candidate.fate {
            Fate::Won { over, .. } => format!("{} wins: {}", candidate.pattern, over.unwrap()),
            Fate::Outranked => format!("{} matches", candidate.pattern),
            Fate::Missed(miss) => format!("{}: {miss}", candidate.pattern),
        })
        .collect();
    assert_eq!(
        told,
        [
            "/a/{x} wins: `a` is more specific than `{*rest}` of `/{*rest}`",
            "/{*rest} matches",
            "POST /a/{x}: another method",
            "/a/b/c: the path ends before `c`",
            "h.test/a/b: another host",
        ]
    );
}

fn any_pattern() -> impl Strategy<Value = String> {
    let methods = prop_oneof![Just(""), Just("GET "), Just("POST "), Just("GET,PUT "), Just("HEAD ")];
    let host = prop_oneof![3 => Just(""), 1 => Just("a.test"), 1 => Just("b.test")];
    let segment = prop_oneof![Just("a"), Just("b"), Just("{}")];
    let end = prop_oneof![2 => Just(""), 1 => Just("/"), 1 => Just("/{*rest}")];
    (methods, host, proptest::collection::vec(segment, 0..4), end).prop_map(
        |(methods, host, segments, end)| {
            let mut path = String::new();
            for (index, segment) in segments.iter().enumerate() {
                path += &format!("/{}", segment.replace("{}", &format!("{{c{index}}}")));
            }
            path += end;
            format!("{methods}{host}{}", if path.is_empty() { "/" } else { &path })
        },
    )
}

proptest! {
    #[test]
    fn the_tree_agrees_with_a_look_at_every_pattern(
        patterns in proptest::collection::vec(any_pattern(), 1..14),
        path in "(/[ab]?){1,5}",
        method in prop_oneof![Just(Method::GET), Just(Method::HEAD), Just(Method::POST), Just(Method::PUT)],
        host in prop_oneof![Just(""), Just("a.test"), Just("B.TEST:443")],
    ) {
        let mut routes: Vec<(Pattern, usize)> = Vec::new();
        for (index, text) in patterns.iter().enumerate() {
            let pattern = Pattern::parse(text).unwrap();
            if !routes.iter().any(|(known, _)| known.is_equal_to(&pattern)) {
                routes.push((pattern, index));
            }
        }
        let router = Router::build(routes).unwrap();
        let by_tree = router.find(&method, host, &path).map(|found| (*found.route, found.captures));
        let by_looking = router.explain(&method, host, &path).into_iter().find_map(|candidate| {
            match candidate.fate {
                Fate::Won { captures, .. } => Some((*candidate.route, captures)),
                Fate::Outranked | Fate::Missed(_) => None,
            }
        });
        prop_assert_eq!(by_tree, by_looking);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}", path in "\\PC{0,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            let _ = pattern.match_path(&path);
        }
    }
}
