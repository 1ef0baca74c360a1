//! HTTP/1.1 as bytes: heads, bodies and chunks read one by one, and nothing repaired on the way.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The start line and fields of a message, in their order and case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Self { start, fields: lines.filter_map(field).collect() }
    }

    /// The values of all lines of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field; panics when it stands there twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands {} times in {self:?}", all.len());
        all.first().copied()
    }

    /// How the body of this message is framed; `None` where no field says it.
    fn framing(&self) -> Option<Framing> {
        if self.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        self.field("content-length").map(|length| Framing::Length(length.parse().unwrap()))
    }

    pub(crate) fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::Length(0))
    }

    /// RFC 9112, 6.3, for a response to a request with `method`.
    pub(crate) fn response_framing(&self, method: &str) -> Framing {
        let status = self.status();
        if method == "HEAD" || status == 204 || status == 304 || status < 200 {
            return Framing::Length(0);
        }
        self.framing().unwrap_or(Framing::UntilClose)
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

/// Where a body ends, and how much of it is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    /// Nothing follows any more.
    Done,
}

/// What follows next in a body.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Vec<u8>),
    /// The end, with the trailer fields of a chunked body.
    End(Vec<(String, String)>),
}

/// A byte stream with what was read ahead of it.
#[derive(Debug)]
pub(crate) struct Wire<Io = TcpStream> {
    pub(crate) io: Io,
    ahead: Vec<u8>,
}

impl Wire<TcpStream> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.io.write_all(bytes.as_ref()).await
    }

    /// Returns when the peer has closed or reset the connection, without taking bytes from it.
    pub(crate) async fn closed(&self) {
        let mut byte = [0];
        while self.io.peek(&mut byte).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl<Io: AsyncRead + Unpin> Wire<Io> {
    pub(crate) fn new(io: Io) -> Self {
        Self { io, ahead: Vec::new() }
    }

    /// The next head; `None` when the peer closed before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = position(&self.ahead, b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                self.ahead.drain(..end + 4);
                return Ok(Some(Head::parse(&text)));
            }
            if self.more().await? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(truncated("a head")) };
            }
        }
    }

    /// The next part of a body; `framing` keeps what is still to come. A body cut short is an error.
    pub(crate) async fn part(&mut self, framing: &mut Framing) -> io::Result<Part> {
        match *framing {
            Framing::Done | Framing::Length(0) => {
                *framing = Framing::Done;
                Ok(Part::End(Vec::new()))
            }
            Framing::Length(left) => {
                let data = self.some(left).await?.ok_or_else(|| truncated("a body with a length"))?;
                *framing = Framing::Length(left - data.len() as u64);
                Ok(Part::Data(data))
            }
            Framing::UntilClose => match self.some(u64::MAX).await? {
                Some(data) => Ok(Part::Data(data)),
                None => {
                    *framing = Framing::Done;
                    Ok(Part::End(Vec::new()))
                }
            },
            Framing::Chunked => self.chunk(framing).await,
        }
    }

    async fn chunk(&mut self, framing: &mut Framing) -> io::Result<Part> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::Error::other("a bad chunk size"))?;
        if size == 0 {
            let mut trailers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    *framing = Framing::Done;
                    return Ok(Part::End(trailers));
                }
                trailers.extend(field(&line));
            }
        }
        let mut data = self.exactly(size + 2).await?;
        data.truncate(size);
        Ok(Part::Data(data))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = position(&self.ahead, b"\r\n") {
                let line = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                self.ahead.drain(..end + 2);
                return Ok(line);
            }
            if self.more().await? == 0 {
                return Err(truncated("a chunked body"));
            }
        }
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if self.more().await? == 0 {
                return Err(truncated("a chunk"));
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// At least one byte and at most `most`; `None` at the end of the stream.
    pub(crate) async fn some(&mut self, most: u64) -> io::Result<Option<Vec<u8>>> {
        if self.ahead.is_empty() && self.more().await? == 0 {
            return Ok(None);
        }
        let length = self.ahead.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(Some(self.ahead.drain(..length).collect()))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.ahead.reserve(64 * 1024);
        self.io.read_buf(&mut self.ahead).await
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn truncated(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{what} was cut short"))
}
