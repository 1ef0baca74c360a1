//! A small HTTP/1.1 client that hides nothing: raw bytes out, heads, chunks and trailers in.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::wait::within;
use super::wire::{Framing, Head, Part, Wire};

/// The Host of every request that names no other.
pub(crate) const HOST: &str = "scan.example";

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: RequestBody,
}

#[derive(Debug, Clone)]
enum RequestBody {
    None,
    Length(Vec<u8>),
    Chunked(Vec<u8>),
}

/// A request from its method and target: `request("GET /api/scans")`.
pub(crate) fn request(line: &str) -> Request {
    let (method, target) = line.split_once(' ').expect("METHOD /target");
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        fields: Vec::new(),
        body: RequestBody::None,
    }
}

impl Request {
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = RequestBody::Length(body.into());
        self
    }

    /// The body as chunks of at most 1000 bytes.
    pub(crate) fn chunked(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = RequestBody::Chunked(body.into());
        self
    }

    /// Names this Host unless the request names one.
    pub(crate) fn or_host(self, host: &str) -> Self {
        let named = self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if named { self } else { self.field("Host", host) }
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let request = self.clone().or_host(HOST);
        request.fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        match &self.body {
            RequestBody::None => (text + "\r\n").into_bytes(),
            RequestBody::Length(body) => {
                [format!("{text}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
            }
            RequestBody::Chunked(body) => {
                let mut bytes = format!("{text}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for chunk in body.chunks(1000) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                [&bytes[..], b"0\r\n\r\n"].concat()
            }
        }
    }

    /// The answer, on a connection of its own; panics when there is none.
    pub(crate) async fn send(&self, address: SocketAddr) -> Response {
        let answer = within(&format!("{} {}", self.method, self.target), self.try_send(address)).await;
        answer.unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }

    /// As `send`, with the connection's error where no head came.
    pub(crate) async fn try_send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut connection = Connection::try_open(address).await?;
        // A server may answer and close before it has read all: its answer counts, not the failed write.
        let sent = connection.wire.send(self.bytes()).await;
        match connection.try_response(&self.method).await {
            Err(_) if sent.is_err() => Err(sent.unwrap_err()),
            answer => answer,
        }
    }
}

/// A whole response, or as much as came of it.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) head: Head,
    /// 1xx heads that came before.
    pub(crate) interim: Vec<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Why the body is not whole.
    pub(crate) cut_short: Option<String>,
    /// From the sending to the last byte.
    pub(crate) took: Duration,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The value of a field that must be there.
    pub(crate) fn must(&self, name: &str) -> &str {
        self.field(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.cut_short, None, "a whole body in {:?}", self.head);
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// `Cache-Status` has forebay's entry with this parameter, as in `hit` or `fwd=uri-miss`.
    pub(crate) fn cache_says(&self, parameter: &str) -> bool {
        let status = self.field("cache-status").unwrap_or_default();
        status.starts_with("forebay") && status.split(';').any(|part| part.trim() == parameter)
    }

    pub(crate) fn age(&self) -> Option<u64> {
        self.field("age").map(|age| age.parse().unwrap())
    }

    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_secs(self.must("retry-after").parse().expect("whole seconds"))
    }

    /// Panics unless this is a refusal in the one shape that forebay gives them (RFC 9457).
    pub(crate) fn assert_problem(&self, status: u16) -> serde_json::Value {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(problem[member].is_string(), "{member} in {problem}");
        }
        assert_eq!(problem["instance"].as_str(), self.field("x-request-id"), "{problem}");
        problem
    }
}

/// A connection that stays open from request to request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) wire: Wire,
    framing: Framing,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.expect("a connection")
    }

    async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { wire: Wire::new(stream), framing: Framing::Done })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).await.expect("a connection that takes bytes");
    }

    /// One request and its whole answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        self.send(request.bytes()).await;
        self.response(&request.method).await
    }

    /// The next whole response; panics when none comes.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        within("a response", self.try_response(method)).await.expect("a response")
    }

    pub(crate) async fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let start = Instant::now();
        let mut interim = Vec::new();
        let head = loop {
            let head = self.wire.head().await?.ok_or(io::ErrorKind::ConnectionAborted)?;
            if head.status() >= 200 || head.status() == 101 {
                break head;
            }
            interim.push(head);
        };
        self.framing = head.response_framing(method);
        let (mut body, mut trailers, mut cut_short) = (Vec::new(), Vec::new(), None);
        loop {
            match self.wire.part(&mut self.framing).await {
                Ok(Part::Data(data)) => body.extend_from_slice(&data),
                Ok(Part::End(fields)) => {
                    trailers = fields;
                    break;
                }
                Err(error) => {
                    cut_short = Some(error.to_string());
                    break;
                }
            }
        }
        Ok(Response { head, interim, body, trailers, cut_short, took: start.elapsed() })
    }

    /// The next head only; the body is then read by `data`.
    pub(crate) async fn head(&mut self, method: &str) -> Head {
        let head = within("a head", self.wire.head()).await.expect("a head").expect("an open connection");
        self.framing = head.response_framing(method);
        head
    }

    /// The next piece of the body as it comes; `None` at its end.
    pub(crate) async fn data(&mut self) -> io::Result<Option<Vec<u8>>> {
        match within("a piece of the body", self.wire.part(&mut self.framing)).await? {
            Part::Data(data) => Ok(Some(data)),
            Part::End(_) => Ok(None),
        }
    }

    /// Panics unless the peer closes now, having sent nothing more.
    pub(crate) async fn assert_closes(&mut self) {
        match within("the close of a connection", self.wire.some(u64::MAX)).await {
            Ok(None) | Err(_) => {}
            Ok(Some(more)) => panic!("bytes in place of the close: {:?}", String::from_utf8_lossy(&more)),
        }
    }
}

/// Sends raw bytes on a connection of its own; the answer to them.
pub(crate) async fn send_raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut connection = Connection::open(address).await;
    connection.send(bytes).await;
    connection.response("GET").await
}

/// Runs `count` of them at the same time; the outputs in the order of their numbers.
pub(crate) async fn concurrently<F>(count: usize, one: impl Fn(usize) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut set = JoinSet::new();
    for number in 0..count {
        let future = one(number);
        set.spawn(async move { (number, future.await) });
    }
    let mut outputs = set.join_all().await;
    outputs.sort_by_key(|(number, _)| *number);
    outputs.into_iter().map(|(_, output)| output).collect()
}
