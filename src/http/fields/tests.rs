use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

#[test]
fn standard_and_named_fields_end_here() {
    let mut headers = map(&[
        ("connection", "close, X-Secret ,x-other"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("x-secret", "1"),
        ("x-other", "2"),
        ("accept", "*/*"),
    ]);
    remove_hop_by_hop(&mut headers);
    assert_eq!(headers, map(&[("accept", "*/*")]));
}

#[test]
fn naming_a_field_removes_it_and_leaves_the_connections_own() {
    let own = [
        ("connection", "keep-alive, upgrade, TE, Connection, Transfer-Encoding, Accept-Language"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
    ];
    let mut headers = map(&own);
    headers.append("accept-language", HeaderValue::from_static("de"));
    headers.append("accept-language", HeaderValue::from_static("en"));
    let present = Present::of(&headers);
    remove_named_by_connection(&mut headers, present);
    assert_eq!(headers, map(&own));
}

#[test]
fn connection_cannot_name_identity_or_framing_away() {
    let kept = [
        ("host", "a"),
        ("authorization", "x"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "1.2.3.4"),
        ("content-length", "5"),
    ];
    let mut headers = map(&kept);
    headers.append(
        "connection",
        "host, authorization, cookie, X-Forwarded-For, content-length".parse().unwrap(),
    );
    remove_hop_by_hop(&mut headers);
    assert_eq!(headers, map(&kept));
}

#[test]
fn an_underscore_disguises_no_claim() {
    for (name, is_disguised) in [
        ("x-real-ip", false),
        ("x_real_ip", true),
        ("x-forwarded-for", false),
        ("x_forwarded_for", true),
        ("x-forwarded_proto", true),
        ("x-forwarded-my_own", true),
    ] {
        let headers = map(&[(name, "1")]);
        let name = headers.keys().next().unwrap();
        assert!(is_claim(name) && Present::of(&headers).has_claim(), "{name}");
        assert_eq!(is_disguised_claim(name), is_disguised, "{name}");
    }
    for other in ["x-real-ips", "x_real", "x-forwarder", "x-originally", "x-rewrite", "referer"] {
        assert!(!is_claim(&HeaderName::from_static(other)), "{other}");
    }
}

#[test]
fn what_a_proxy_says_of_the_target_is_told_apart_from_the_address() {
    let headers = map(&[
        ("x-forwarded-for", "1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-forwarded-host", "a"),
        ("x-original-url", "/b"),
        ("forwarded", "for=1.1.1.1; By=2.2.2.2;host=\"c\", proto=https"),
        ("host", "d"),
    ]);
    let mut claims: Vec<_> = claims_about_the_target(&headers).collect();
    claims.sort_unstable();
    let expected: [(&str, &[u8]); 4] = [
        ("forwarded", b" proto=https"),
        ("forwarded", b"host=\"c\""),
        ("x-forwarded-host", b"a"),
        ("x-original-url", b"/b"),
    ];
    assert_eq!(claims, expected);
}

#[test]
fn members_are_spelt_in_one_way() {
    let spelt = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("accept-encoding", *line)).collect();
        members(&map(&lines), &header::ACCEPT_ENCODING)
    };
    let expected = [&b"br"[..], b"gzip;q=0.5"];
    for same in [&["br, gzip;q=0.5"][..], &["GZIP; q=0.5,BR"], &["gzip;q=0.5", "", "br,, br"]] {
        assert_eq!(spelt(same), expected, "{same:?}");
    }
    assert_ne!(spelt(&["br, gzip"]), expected);
    let long = "br, ".repeat(100);
    assert_eq!(spelt(&[&long]), [long.as_bytes()]);
    assert!(spelt(&[]).is_empty());
}

#[test]
fn one_chunked_is_the_only_transfer_coding() {
    let coding = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("transfer-encoding", *line)).collect();
        let headers = map(&lines);
        transfer_coding(&headers, Present::of(&headers))
    };
    assert_eq!(coding(&[]), TransferCoding::Absent);
    assert_eq!(coding(&["Chunked"]), TransferCoding::Chunked);
    for other in [&["gzip, chunked"][..], &["chunked, gzip"], &["chunked", "chunked"], &["identity"], &[""]] {
        assert_eq!(coding(other), TransferCoding::Other, "{other:?}");
    }
}

#[test]
fn content_length_is_digits_only() {
    for (text, length) in
        [("12", Some(12)), ("+12", None), ("0x1", None), ("-1", None), ("1, 1", None), ("", None)]
    {
        assert_eq!(content_length(&map(&[("content-length", text)])), length, "{text:?}");
    }
}

#[test]
fn a_stream_of_events_is_known_in_any_case() {
    for (kind, is_one) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
        ("text/event", false),
        ("text/plain", false),
    ] {
        assert_eq!(is_event_stream(&map(&[("content-type", kind)])), is_one, "{kind}");
    }
    assert!(!is_event_stream(&HeaderMap::new()));
}

#[test]
fn nothing_that_anybody_decides_by_comes_after_an_upload() {
    let checksums = [("content-digest", "a"), ("repr-digest", "b"), ("x-amz-checksum-crc32", "c")];
    let mut trailers = map(&checksums);
    for name in ["x-remote-user", "x-user", "x-tenant", "sec-fetch-site", "content_digest", "host", "x-sum"] {
        trailers.append(name, HeaderValue::from_static("1"));
    }
    clean_upload_trailers(&mut trailers);
    assert_eq!(trailers, map(&checksums));
}

#[test]
fn a_response_says_nothing_of_credentials_behind_its_body() {
    let mut trailers = map(&[("www-authenticate", "Basic"), ("proxy-authenticate", "Basic"), ("x-sum", "1")]);
    clean_trailers(&mut trailers);
    assert_eq!(trailers, map(&[("x-sum", "1")]));
}
