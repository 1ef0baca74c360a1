//! The request head path, through the whole proxy: whatever a client says, the origin gets nothing that could be read in
//! two ways.

use super::pipeline::play;
use super::target::assert_canonical;
use super::wire::{Head, Unframed};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// `data`: what a client sends on one connection. A line break alone becomes a whole one, so that text makes a request.
pub fn run(data: &[u8]) {
    let traffic = play(&[&with_line_breaks(data)], ANSWER);
    for bytes in &traffic.forwarded {
        judge(bytes);
    }
    for answer in &traffic.answers {
        let is_http_2 = data.starts_with(b"PRI ");
        assert!(is_http_2 || answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
    }
}

/// What one connection to the origin carried: one request, whole or broken off, and nothing behind it.
fn judge(bytes: &[u8]) {
    let Some((head, rest)) = Head::read(bytes) else { return };
    let words: Vec<&str> = head.start.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { panic!("{head:?}") };
    assert!(!method.bytes().any(|byte| byte.is_ascii_lowercase()), "{head:?}");
    assert!(!matches!(method, "CONNECT" | "TRACE"), "{head:?}");
    assert_canonical(target.split('?').next().unwrap_or_default());
    head.assert_end_to_end();
    let host = head.field_once("host").expect("a Host field");
    let host = std::str::from_utf8(host).expect("a host is text");
    assert_eq!(forebay::http::host::canonical_host(host, 80).as_deref(), Ok(host));
    assert_eq!(head.field_once("x-forwarded-for"), Some(&b"127.0.0.1"[..]), "claims of strangers: {head:?}");
    let behind = head.body(rest, Unframed::Empty);
    assert!(behind.is_none_or(<[u8]>::is_empty), "a second request behind {head:?}: {behind:?}");
}

/// `\n` is `\r\n`, unless there is one of these already.
pub(crate) fn with_line_breaks(data: &[u8]) -> Vec<u8> {
    if data.windows(2).any(|pair| pair == b"\r\n") {
        return data.to_vec();
    }
    let line_break = |byte: &u8| if *byte == b'\n' { b"\r\n".to_vec() } else { vec![*byte] };
    data.iter().flat_map(line_break).collect()
}
