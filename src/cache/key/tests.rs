use http::Request;
use proptest::prelude::*;

use super::*;

fn parts(url: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(url).header("host", "example.org");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn ignoring(patterns: &[&str]) -> KeyRules {
    KeyRules {
        query_ignore: patterns.iter().map(|text| NamePattern::new(text)).collect(),
        ..KeyRules::default()
    }
}

#[test]
fn every_part_of_the_target_tells_resources_apart() {
    let digester = Digester::random();
    let rules = KeyRules::default();
    let key = |scheme, url| rules.key(&digester, scheme, &parts(url, &[]));
    let one = key("http", "/a?b=1");
    assert_eq!(one, key("http", "/a?b=1"));
    for (scheme, url) in
        [("https", "/a?b=1"), ("http", "/A?b=1"), ("http", "/a?b=2"), ("http", "/a"), ("http", "/a?")]
    {
        assert_ne!(one, key(scheme, url), "{scheme} {url}");
    }
    let mut other_host = parts("/a?b=1", &[]);
    other_host.headers.insert(HOST, "example.com".parse().unwrap());
    assert_ne!(one, rules.key(&digester, "http", &other_host));
}

#[test]
fn ignored_parameters_change_neither_key_nor_url() {
    let digester = Digester::random();
    let rules = ignoring(&["_", "utm_*"]);
    let key = |url| rules.key(&digester, "http", &parts(url, &[]));
    assert_eq!(key("/a?x=1"), key("/a?utm_source=z&x=1&_=77&utm_=&"));
    assert_eq!(key("/a"), key("/a?_=1"));
    assert_ne!(key("/a?x=1"), key("/a?x=2"));
    assert_ne!(key("/a?__=1"), key("/a"));
    assert_ne!(key("/a?x=1&x=2"), key("/a?x=2&x=1"));
    assert_eq!(rules.url("h", "/a", Some("utm_source=z&x=1&y")), "h/a?x=1&y");
    assert_eq!(rules.url("h", "/a", Some("_=1")), "h/a");
    assert_eq!(KeyRules::default().url("h", "/a", Some("_=1")), "h/a?_=1");
}

#[test]
fn only_what_the_key_knows_is_sent_for_all() {
    let rules = KeyRules { query_sort: true, ..ignoring(&["_", "utm_*"]) };
    for (query, expected) in [
        (None, None),
        (Some("a=1&b=2"), None),
        (Some("b=2&a=1"), Some("/p?a=1&b=2")),
        (Some("utm_x=evil&a=1&_=3"), Some("/p?a=1")),
        (Some("_=3"), Some("/p")),
        (Some(""), Some("/p")),
    ] {
        assert_eq!(rules.shared_target("/p", query).as_deref(), expected, "{query:?}");
    }
    assert_eq!(KeyRules::default().shared_target("/p", Some("b=2&a=1&_=3")), None);
}

#[test]
fn claims_tell_resources_apart() {
    let digester = Digester::random();
    let key = KeyRules::default().key(&digester, "http", &parts("/a", &[]));
    let under = |claims: &[(&'static str, &'static str)]| {
        key.under_claims(claims.iter().map(|(name, value)| (*name, value.as_bytes())), &digester)
    };
    assert_eq!(under(&[]), key);
    assert_ne!(under(&[("x-forwarded-host", "a")]), key);
    assert_ne!(under(&[("x-forwarded-host", "a")]), under(&[("x-forwarded-host", "b")]));
    assert_eq!(under(&[("x-forwarded-host", "a")]), under(&[("x-forwarded-host", "a")]));
}

#[test]
fn sorting_keeps_the_order_of_equally_named_parameters() {
    let digester = Digester::random();
    let rules = KeyRules { query_sort: true, ..KeyRules::default() };
    let key = |url| rules.key(&digester, "http", &parts(url, &[]));
    assert_eq!(key("/?b=1&a=2"), key("/?a=2&b=1"));
    assert_ne!(key("/?a=1&a=2"), key("/?a=2&a=1"));
}

/// Servers read these in different ways: what may mean something else is something else.
#[test]
fn what_a_server_may_tell_apart_has_keys_of_its_own() {
    let digester = Digester::random();
    for rules in [KeyRules { query_sort: true, ..KeyRules::default() }, ignoring(&["_"])] {
        let key = |url: &str| rules.key(&digester, "http", &parts(url, &[]));
        for (one, other) in
            [("/?a", "/?a="), ("/?a=+", "/?a=%20"), ("/?a=1&a=1", "/?a=1"), ("/?A=1", "/?a=1"), ("/?=1", "/")]
        {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [("/?", "/"), ("/?&", "/"), ("/?a&&b", "/?a&b"), ("/?a&", "/?a")] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
    }
}

#[test]
fn named_fields_are_part_of_the_key() {
    let digester = Digester::random();
    let rules = KeyRules {
        headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
        ..KeyRules::default()
    };
    let key = |fields: &[(&str, &str)]| rules.key(&digester, "http", &parts("/", fields));
    assert_ne!(key(&[("x-a", "1")]), key(&[("x-b", "1")]));
    assert_ne!(key(&[("x-a", "1")]), key(&[]));
    assert_ne!(key(&[("x-a", "1"), ("x-a", "")]), key(&[("x-a", "1"), ("x-b", "")]));
    assert_eq!(key(&[("x-a", "1"), ("x-c", "2")]), key(&[("x-a", "1")]));
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, name, expected) in [
        ("utm_*", "utm_", true),
        ("utm_*", "utm_source", true),
        ("utm_*", "xutm_source", false),
        ("*", "", true),
        ("*id", "gclid", true),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "abbc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
        ("a**b", "ab", true),
        ("_", "_", true),
        ("_", "__", false),
    ] {
        assert_eq!(NamePattern::new(pattern).matches(name), expected, "{pattern} {name}");
    }
}

proptest! {
    #[test]
    fn no_identity_meets_anothers_key(
        a in any::<u128>(), b in any::<u128>(), path in "/[a-z]{0,5}", other in "/[a-z]{0,5}",
    ) {
        let digester = Digester::random();
        let key = |path: &str| KeyRules::default().key(&digester, "http", &parts(path, &[]));
        let mine = key(&path).for_identity(a, &digester);
        prop_assert_ne!(mine, key(&path));
        prop_assert_ne!(mine, mine.for_identity(a, &digester));
        prop_assert_eq!(mine == key(&other).for_identity(b, &digester), a == b && path == other);
    }

    #[test]
    fn unruled_requests_share_a_key_only_when_equal(
        one in "/[a-c?&=]{0,4}", two in "/[a-c?&=]{0,4}", x in "[a-b]{0,2}", y in "[a-b]{0,2}",
    ) {
        let digester = Digester::random();
        let rules = KeyRules { headers: vec![HeaderName::from_static("x")], ..KeyRules::default() };
        let key = |url: &str, x: &str| rules.key(&digester, "http", &parts(url, &[("x", x)]));
        prop_assert_eq!(key(&one, &x) == key(&two, &y), one == two && x == y);
    }

    /// Ignoring takes out what it names and nothing else; sorting moves nothing past its own name.
    #[test]
    fn rules_about_queries_are_exact(query in "(([ab]|utm_[xy])?(=[12+]?)?&){0,6}([ab]|%20|\\+)?") {
        let rules = KeyRules { query_sort: true, ..ignoring(&["utm_*"]) };
        let name = |parameter: &&str| parameter.split('=').next().unwrap_or_default().to_owned();
        let kept: Vec<&str> =
            query.split('&').filter(|parameter| !parameter.is_empty() && !parameter.starts_with("utm_")).collect();
        let found = rules.parameters(&query);
        prop_assert!(found.is_sorted_by_key(name));
        for parameter in &kept {
            let same = |all: &[&str]| -> Vec<String> {
                all.iter().filter(|other| name(other) == name(parameter)).map(|text| (*text).to_owned()).collect()
            };
            prop_assert_eq!(same(&found), same(&kept), "the order of one name is kept");
        }
        prop_assert_eq!(found.len(), kept.len());
        // A rule that has been applied changes nothing more.
        let again = found.join("&");
        prop_assert_eq!(rules.parameters(&again), found.clone());
    }
}
