//! The response head path, through the whole proxy and its store: whatever an origin says, a client gets one answer that
//! reads in one way.

use super::pipeline::play;
use super::request::with_line_breaks;
use super::wire::{Head, Unframed};

const REQUESTS: [&str; 6] = [
    "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /force/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /off/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "HEAD /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    "GET /x HTTP/1.1\r\nhost: a\r\nrange: bytes=1-2\r\nconnection: close\r\n\r\n",
    "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
];

/// `data`: a digit for what is asked, and what the origin sends. It is asked twice, so that the store answers as well.
pub fn run(data: &[u8]) {
    let Some((which, says)) = data.split_first() else { return };
    let request = REQUESTS[usize::from(which.wrapping_sub(b'0')) % REQUESTS.len()];
    let traffic = play(&[request.as_bytes(), request.as_bytes()], &with_line_breaks(says));
    for answer in &traffic.answers {
        judge(answer, request.starts_with("HEAD"));
    }
}

/// One final answer, whole or broken off, and nothing behind it.
fn judge(mut bytes: &[u8], is_head: bool) {
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 "), "{bytes:?}");
    while let Some((head, rest)) = Head::read(bytes) {
        let status = head.start.split(' ').nth(1).and_then(|text| text.parse::<u16>().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
        assert_ne!(status, 101, "nobody asked for a tunnel");
        head.assert_end_to_end();
        if status < 200 {
            assert!(
                head.all("content-length").is_empty() && head.all("transfer-encoding").is_empty(),
                "{head:?}"
            );
            bytes = rest;
            continue;
        }
        let behind = if is_head || matches!(status, 204 | 304) {
            Some(rest)
        } else {
            head.body(rest, Unframed::UntilClose)
        };
        assert!(behind.is_none_or(<[u8]>::is_empty), "{behind:?} behind {head:?}");
        return;
    }
}
