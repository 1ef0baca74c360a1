//! An HTTP/2 client: with prior knowledge in the clear, or over a stream that was opened before.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::client::{HOST, Response};
use super::wait::within;
use super::wire::Head;

/// One connection; clones send on the same one.
#[derive(Debug, Clone)]
pub(crate) struct H2 {
    sender: SendRequest<Full<Bytes>>,
    scheme: &'static str,
}

impl H2 {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, "http").await
    }

    pub(crate) async fn over<Io>(stream: Io, scheme: &'static str) -> Self
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = within("an HTTP/2 connection", handshake).await.unwrap();
        tokio::spawn(connection);
        Self { sender, scheme }
    }

    /// A request with an empty body: `get("/api/scans", &[("accept", "text/plain")])`.
    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.send("GET", path, fields, "").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let mut request =
            http::Request::builder().method(method).uri(format!("{}://{HOST}{path}", self.scheme));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let start = Instant::now();
        let answer = within("an HTTP/2 head", self.sender.clone().send_request(request)).await;
        let response = answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let head = head(&response);
        let (body, trailers, cut_short) = match within("an HTTP/2 body", response.into_body().collect()).await
        {
            Ok(whole) => {
                let trailers = whole.trailers().map(fields_of).unwrap_or_default();
                (whole.to_bytes().to_vec(), trailers, None)
            }
            Err(error) => (Vec::new(), Vec::new(), Some(io::Error::other(error).to_string())),
        };
        Response { head, interim: Vec::new(), body, trailers, cut_short, took: start.elapsed() }
    }
}

fn head(response: &http::Response<Incoming>) -> Head {
    Head { start: format!("HTTP/2 {}", response.status().as_u16()), fields: fields_of(response.headers()) }
}

fn fields_of(fields: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
