//! HTTP/2 as bytes: frames made by hand, so that they can be wrong, and read one by one.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::client::HOST;
use super::wait::within;
use super::wire::Wire;

/// Types and flags of frames (RFC 9113 section 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Errors (RFC 9113 section 7).
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No dynamic table for responses, so that a head can be read without what came before it.
const NO_TABLE: [u8; 6] = [0, 1, 0, 0, 0, 0];

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A client that sends what it is told to. What comes is read all the time, so that neither side waits for the other.
#[derive(Debug)]
pub(crate) struct Frames {
    writing: OwnedWriteHalf,
    coming: mpsc::UnboundedReceiver<Frame>,
}

impl Frames {
    /// Says the preface, its settings (six bytes each), and acknowledges the other side's.
    pub(crate) async fn open(address: SocketAddr, settings: &[[u8; 6]]) -> Self {
        let mut client = Self::silent(address).await;
        let settings = [&[NO_TABLE], settings].concat().concat();
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(SETTINGS, ACK, 0, &[])].concat();
        client.send(opening).await;
        client
    }

    /// Says nothing yet.
    pub(crate) async fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reading, writing) = stream.into_split();
        let (found, coming) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut wire = Wire::new(reading);
            while let Ok(frame) = next(&mut wire).await {
                let _ = found.send(frame);
            }
        });
        Self { writing, coming }
    }

    /// Sends; a connection that is closed meanwhile is no error.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("a write", self.writing.write_all(bytes.as_ref())).await;
    }

    /// The next frame; `None` when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        within("an HTTP/2 frame", self.coming.recv()).await
    }

    /// The next frame that is like this, with all others passed over; panics when the connection is closed before.
    pub(crate) async fn until(&mut self, what: &str, mut is_it: impl FnMut(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("closed before {what}"));
            if is_it(&frame) {
                return frame;
            }
        }
    }

    /// The status of the response on a stream, or the code that it is reset with.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let is_it = |frame: &Frame| {
            (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM)) || frame.kind == GOAWAY
        };
        let frame = self.until("an outcome", is_it).await;
        match frame.kind {
            HEADERS => Outcome::Status(frame.status()),
            RST_STREAM => Outcome::Reset(frame.code()),
            _ => Outcome::GoneAway(frame.code()),
        }
    }

    /// The code of the GOAWAY before the connection's end; `None` when there was none.
    pub(crate) async fn ended(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                code = Some(frame.code());
            }
        }
        code
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Reset(u32),
    GoneAway(u32),
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status of a response HEADERS, which stands first (RFC 7541 appendices A and B).
    pub(crate) fn status(&self) -> u16 {
        let block = &self.payload[usize::from(self.payload[0] >> 5 == 1)..];
        match block {
            [indexed, ..] if indexed & 0x80 != 0 => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed & 0x7f) - 8]
            }
            [_, length, text @ ..] => digits(&text[..usize::from(length & 0x7f)], length & 0x80 != 0),
            _ => panic!("no status: {self:?}"),
        }
    }
}

fn digits(text: &[u8], is_huffman: bool) -> u16 {
    if !is_huffman {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    let bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut rest, mut status) = (bits.as_str(), 0);
    for _ in 0..3 {
        let (length, first) = if rest.starts_with("000") { (5, 0) } else { (6, 22) };
        status = status * 10 + u16::from_str_radix(&rest[..length], 2).unwrap() - first;
        rest = &rest[length..];
    }
    status
}

async fn next(wire: &mut Wire<tokio::net::tcp::OwnedReadHalf>) -> io::Result<Frame> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = wire.exactly(length as usize).await?;
    Ok(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// Any frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The window of a stream, or with 0 the connection's, is opened by this much.
pub(crate) fn window_update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// A setting, as six bytes.
pub(crate) fn setting(identifier: u16, value: u32) -> [u8; 6] {
    let ([a, b], [c, d, e, f]) = (identifier.to_be_bytes(), value.to_be_bytes());
    [a, b, c, d, e, f]
}

/// The initial window of streams; a client that opens none.
pub(crate) const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// A block of fields, each a literal without index.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

/// RFC 7541 section 5.2, without Huffman.
fn string(block: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        block.push(u8::try_from(text.len()).unwrap());
    } else {
        block.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
    }
    block.extend(text);
}

/// HEADERS that are complete.
pub(crate) fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// The pseudo-header fields of a request, to which others may be added.
pub(crate) fn asking<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":authority", HOST), (":path", path)]
}

/// A whole GET.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(END_STREAM, stream, &asking("GET", path))
}
