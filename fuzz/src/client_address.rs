//! `Forwarded` and `X-Forwarded-For`: nobody but trusted proxies chooses whom a request is from.

use std::net::IpAddr;

use forebay::client::TrustedProxies;
use http::HeaderValue;

/// `data`: fields, as lines.
pub fn run(data: &[u8]) {
    let trusted = TrustedProxies::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
    let mut headers = super::fields(data);
    let stranger = IpAddr::from([192, 0, 2, 1]);
    let unbelieved = trusted.resolve(stranger, &headers);
    assert!(unbelieved.ip == stranger && !unbelieved.via_trusted);

    let proxy = IpAddr::from([10, 0, 0, 1]);
    let found = trusted.resolve(proxy, &headers);
    assert!(found.via_trusted && found.peer == proxy);
    assert_eq!(found.ip, found.ip.to_canonical());
    if trusted.is_trusted(found.ip) {
        return;
    }
    // What the client itself had sent stands to the left of what proxies added.
    let (name, lie) = match headers.contains_key("x-forwarded-for") {
        true => ("x-forwarded-for", "203.0.113.9"),
        false => ("forwarded", "for=203.0.113.9"),
    };
    let lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.insert(name, HeaderValue::from_static(lie));
    for line in lines {
        headers.append(name, line);
    }
    assert_eq!(trusted.resolve(proxy, &headers).ip, found.ip, "{headers:?}");
}
