use http::Request;

use super::*;

struct Asked {
    uri: &'static str,
    address: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    captures: Vec<(&'static str, &'static str)>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { uri: "/", address: "192.0.2.1", headers: Vec::new(), captures: Vec::new() }
    }
}

fn key(digester: &Digester, sources: &[&str], asked: &Asked) -> PartitionKey {
    let mut request = Request::get(asked.uri);
    for (name, value) in &asked.headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let capture =
        |name: &str| asked.captures.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let seen = Seen { parts: &parts, address: asked.address.parse().unwrap(), capture: &capture };
    let sources = sources.iter().map(|text| text.parse().unwrap()).collect();
    KeySpec::new(sources, 64).partition(&seen, digester)
}

fn headers(headers: &[(&'static str, &'static str)]) -> Asked {
    Asked { headers: headers.to_vec(), ..Asked::default() }
}

fn uri(uri: &'static str) -> Asked {
    Asked { uri, ..Asked::default() }
}

fn address(address: &'static str) -> Asked {
    Asked { address, ..Asked::default() }
}

#[test]
fn two_spellings_of_a_client_are_one_key() {
    let digester = Digester::random();
    let pairs = [
        ("client_ip", address("::ffff:192.0.2.1"), address("192.0.2.1")),
        ("client_ip", address("2001:db8::1"), address("2001:db8::ffff:1:2:3")),
        ("global", address("192.0.2.1"), address("192.0.2.2")),
        ("query:k", uri("/?k=a%20b"), uri("/?x=1&k=a+b")),
        ("query:k", uri("/?k=a&k=%61"), uri("/?k=a")),
        (
            "cookie:sid",
            headers(&[("cookie", "sid=1; a=2")]),
            headers(&[("cookie", "a=3"), ("cookie", "sid=\"1\"")]),
        ),
        (
            "header:Authorization",
            headers(&[("authorization", "Bearer x")]),
            headers(&[("authorization", "BEARER  x")]),
        ),
        (
            "header:X-Api-Key",
            headers(&[("x-api-key", "1"), ("x-api-key", "1")]),
            headers(&[("x-api-key", "1")]),
        ),
    ];
    for (source, one, other) in pairs {
        assert_eq!(
            key(&digester, &[source], &one),
            key(&digester, &[source], &other),
            "{source} {}",
            one.uri
        );
    }
}

#[test]
fn two_clients_are_two_keys() {
    let digester = Digester::random();
    let pairs = [
        ("client_ip", address("192.0.2.1"), address("192.0.2.2")),
        ("client_ip", address("2001:db8::1"), address("2001:db8:0:1::1")),
        ("query:k", uri("/?k=a"), uri("/?k=A")),
        ("cookie:sid", headers(&[("cookie", "sid=1")]), headers(&[("cookie", "sid=2")])),
        ("header:X-Api-Key", headers(&[("x-api-key", "1")]), headers(&[("x-api-key", "2")])),
        (
            "header:Authorization",
            headers(&[("authorization", "Bearer x")]),
            headers(&[("authorization", "Bearer X")]),
        ),
    ];
    for (source, one, other) in pairs {
        assert_ne!(
            key(&digester, &[source], &one),
            key(&digester, &[source], &other),
            "{source} {}",
            one.uri
        );
    }
    let (a, b) = (headers(&[("a", "x"), ("b", "y")]), headers(&[("a", "y"), ("b", "x")]));
    assert_ne!(key(&digester, &["header:a", "header:b"], &a), key(&digester, &["header:a", "header:b"], &b));
}

#[test]
fn without_the_key_the_address_counts() {
    let digester = Digester::random();
    let by_address = key(&digester, &["client_ip"], &Asked::default());
    for source in ["header:X-Api-Key", "cookie:sid", "query:k", "path:workspace"] {
        assert_eq!(key(&digester, &[source], &Asked::default()), by_address, "{source}");
    }
    assert_eq!(key(&digester, &["query:k"], &uri("/?k=")), by_address, "an empty one is none");
}

#[test]
fn a_useless_second_value_is_not_a_new_allowance() {
    let digester = Digester::random();
    let by_address = key(&digester, &["client_ip"], &Asked::default());
    let twice = headers(&[("x-api-key", "mine"), ("x-api-key", "junk"), ("cookie", "sid=1; sid=2")]);
    assert_eq!(key(&digester, &["header:X-Api-Key"], &twice), by_address);
    assert_eq!(key(&digester, &["cookie:sid"], &twice), by_address);
    assert_eq!(key(&digester, &["query:k"], &uri("/?k=1&k=2")), by_address);
}

#[test]
fn captures_are_keys() {
    let digester = Digester::random();
    let of = |workspace| {
        let asked = Asked { captures: vec![("workspace", workspace)], ..Asked::default() };
        key(&digester, &["path:workspace"], &asked)
    };
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
}

#[test]
fn sources_are_written_as_they_are_read() {
    for text in ["global", "client_ip", "header:x-api-key", "cookie:sid", "query:k", "path:workspace"] {
        assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
    }
    for text in ["", "ip", "header", "header:", "header:a b", "global:x", "client_ip:x"] {
        assert!(text.parse::<KeySource>().is_err(), "{text}");
    }
}
