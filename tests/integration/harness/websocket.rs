//! As much of RFC 6455 as the tests need: the opening handshake and short text frames.

use super::client::{Connection, Request, request};

/// The key of RFC 6455, 1.3, and what a server answers to it; so nobody here needs SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens a WebSocket on `path`.
pub(crate) fn handshake(path: &str) -> Request {
    request(&format!("GET {path}"))
        .field("Connection", "keep-alive, Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", KEY)
}

/// A masked text frame of fewer than 126 bytes.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("a short text");
    let mask = [7, 77, 177, 27];
    let masked = text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [0x81, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
}

/// The text of the next unmasked frame.
pub(crate) async fn read_text(connection: &mut Connection) -> String {
    let start = connection.wire.exactly(2).await.expect("a frame");
    assert_eq!(start[0], 0x81, "one text frame");
    let text = connection.wire.exactly(usize::from(start[1])).await.expect("a whole frame");
    String::from_utf8(text).expect("UTF-8")
}
