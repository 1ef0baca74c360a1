//! The opening handshake of a WebSocket, as a client must send it (RFC 6455 section 4.1).

use http::{Method, Version, header, request};

use super::fields::{has_token, only};

/// Whether a head is a well-formed handshake: a GET of HTTP/1.1 without a body that asks for `websocket` and nothing else.
pub fn is_handshake(parts: &request::Parts) -> bool {
    let headers = &parts.headers;
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && only(headers, &header::UPGRADE)
            .is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && only(headers, &header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && only(headers, &header::SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes()))
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

/// Whether a key is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    /// The good handshake in which one field has other lines.
    fn but(name: &str, values: &[&str]) -> request::Parts {
        let kept = GOOD.iter().copied().filter(|(field, _)| *field != name);
        let changed = values.iter().map(|value| (name, *value));
        let request = kept
            .chain(changed)
            .fold(http::Request::get("/ws"), |request, (name, value)| request.header(name, value));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_handshake_is_a_web_sockets_and_whole() {
        assert!(is_handshake(&but("x-other", &["1"])));
        for (name, values) in [
            ("connection", &["close"][..]),
            ("upgrade", &[]),
            ("upgrade", &["foo"]),
            ("upgrade", &["TLS/1.0"]),
            ("upgrade", &["h2c"]),
            ("upgrade", &["websocket, h2c"]),
            ("upgrade", &["websocket", "foo"]),
            ("sec-websocket-version", &[]),
            ("sec-websocket-version", &["8"]),
            ("sec-websocket-version", &["13", "13"]),
            ("sec-websocket-key", &[]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ"]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25j"]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25*ZQ=="]),
            ("sec-websocket-key", &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]),
            ("content-length", &["0"]),
            ("transfer-encoding", &["chunked"]),
        ] {
            assert!(!is_handshake(&but(name, values)), "{name}: {values:?}");
        }
        let mut post = but("x-other", &[]);
        post.method = Method::POST;
        assert!(!is_handshake(&post));
        let mut old = but("x-other", &[]);
        old.version = Version::HTTP_10;
        assert!(!is_handshake(&old));
    }
}
