//! What the origin does with one request: a message, its pace, and the faults in it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

/// A door that the test opens; the origin waits before it. Clones are the same door.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A step of a body.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Data(Bytes),
    /// The same bytes many times over.
    Repeat(Bytes, u64),
    Pause(Duration),
    Wait(Gate),
}

/// How a response's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framed {
    Length,
    Chunked,
    UntilClose,
}

/// How a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    /// The connection is closed before the announced end.
    Cut,
    /// As `Cut`, with a reset.
    Reset,
    /// A chunk whose size is no number, then the close.
    BadChunk,
    /// Nothing comes any more and nothing is closed.
    Hang,
}

/// What takes the place of the scripted message.
#[derive(Debug, Clone)]
pub(crate) enum Instead {
    /// The request, as JSON.
    Echo,
    /// The pieces of the body as they are, without a head.
    Raw,
    /// 101, then every byte is sent back.
    Upgrade,
    /// No byte at all; the connection is closed.
    Nothing,
}

/// One answer; made by a constructor and refined by the methods.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) before: Vec<Piece>,
    pub(crate) informational: Vec<String>,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) framed: Framed,
    pub(crate) body: Vec<Piece>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) ending: Ending,
    pub(crate) instead: Option<Instead>,
    pub(crate) reads_body: bool,
    pub(crate) closes: bool,
}

/// Constructors.
impl Script {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            before: Vec::new(),
            informational: Vec::new(),
            status,
            fields: Vec::new(),
            framed: Framed::Length,
            body: Vec::new(),
            trailers: Vec::new(),
            ending: Ending::Whole,
            instead: None,
            reads_body: true,
            closes: false,
        }
    }

    /// 200 with this body and its length.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).body(body)
    }

    /// 200 with an empty chunked body, to which `body`, `pause`, `wait` and `trailer` add.
    pub(crate) fn chunked() -> Self {
        Self { framed: Framed::Chunked, ..Self::status(200) }
    }

    /// 200 with a JSON picture of the request; what unscripted paths answer.
    pub(crate) fn echo() -> Self {
        Self { instead: Some(Instead::Echo), ..Self::status(200) }
    }

    /// These bytes, whatever they mean, to which `body`, `pause` and `wait` add; then the close.
    pub(crate) fn raw(bytes: impl Into<Bytes>) -> Self {
        Self { instead: Some(Instead::Raw), ending: Ending::Cut, ..Self::status(200) }.body(bytes)
    }

    /// The connection is closed without an answer.
    pub(crate) fn nothing() -> Self {
        Self { instead: Some(Instead::Nothing), ..Self::status(200) }
    }

    /// 101 and an echo of bytes.
    pub(crate) fn upgrade() -> Self {
        Self { instead: Some(Instead::Upgrade), ..Self::status(101) }
    }

    /// A stream of server-sent events without an end of its own.
    pub(crate) fn events() -> Self {
        Self::chunked().field("content-type", "text/event-stream").hang()
    }
}

/// Refinements.
impl Script {
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Waits before the head.
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.before.push(Piece::Pause(pause));
        self
    }

    /// Waits before the head until the test opens the gate.
    pub(crate) fn when(mut self, gate: &Gate) -> Self {
        self.before.push(Piece::Wait(gate.clone()));
        self
    }

    /// Sends a whole interim head before the final one, such as `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n`.
    pub(crate) fn informational(mut self, head: &str) -> Self {
        self.informational.push(head.to_owned());
        self
    }

    /// Adds to the body; with chunked framing, one chunk.
    pub(crate) fn body(mut self, data: impl Into<Bytes>) -> Self {
        self.body.push(Piece::Data(data.into()));
        self
    }

    pub(crate) fn repeat(mut self, data: impl Into<Bytes>, times: u64) -> Self {
        self.body.push(Piece::Repeat(data.into(), times));
        self
    }

    pub(crate) fn pause(mut self, pause: Duration) -> Self {
        self.body.push(Piece::Pause(pause));
        self
    }

    pub(crate) fn wait(mut self, gate: &Gate) -> Self {
        self.body.push(Piece::Wait(gate.clone()));
        self
    }

    pub(crate) fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// No framing field: the body ends with the connection.
    pub(crate) fn until_close(mut self) -> Self {
        self.framed = Framed::UntilClose;
        self
    }

    pub(crate) fn cut(self) -> Self {
        Self { ending: Ending::Cut, ..self }
    }

    pub(crate) fn reset(self) -> Self {
        Self { ending: Ending::Reset, ..self }
    }

    pub(crate) fn bad_chunk(self) -> Self {
        Self { ending: Ending::BadChunk, ..self }
    }

    pub(crate) fn hang(self) -> Self {
        Self { ending: Ending::Hang, ..self }
    }

    /// Keeps the connection open after raw bytes, for the next request.
    pub(crate) fn kept(self) -> Self {
        Self { ending: Ending::Whole, ..self }
    }

    /// Answers without reading the request's body first.
    pub(crate) fn without_reading(self) -> Self {
        Self { reads_body: false, ..self }
    }

    /// `Connection: close`, and the close.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The length that the head announces; a response that is to be cut announces more than it sends.
    pub(crate) fn announced_length(&self) -> u64 {
        let sent: u64 = self.body.iter().map(Piece::length).sum();
        if self.ending == Ending::Whole { sent } else { sent + 1000 }
    }
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Repeat(data, times) => data.len() as u64 * times,
            Self::Pause(_) | Self::Wait(_) => 0,
        }
    }
}
