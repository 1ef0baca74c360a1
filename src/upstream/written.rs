//! A request's head as it was written to a connection, to be made a request once more.
//!
//! A kept connection may just be closing when a request is written to it, and some requests may then be sent on another one.
//! Nearly none ever is: so no copy is made of those that may be, and only the bytes that go out are kept.

use std::io::IoSlice;

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri};

use crate::http::body::RequestBody;

/// The room for a head that a connection keeps, in bytes.
const USUAL_HEAD: usize = 2048;

/// The head of one of a connection's requests.
#[derive(Debug, Default)]
pub(super) struct Written {
    request: u32,
    head: Vec<u8>,
}

impl Written {
    /// Records the first write of this request: the protocol library offers it a head as a whole.
    pub(super) fn record(&mut self, request: u32, pieces: &[IoSlice<'_>]) {
        self.request = request;
        self.head.clear();
        self.head.shrink_to(USUAL_HEAD);
        pieces.iter().for_each(|piece| self.head.extend_from_slice(piece));
    }

    /// This request once more; none where it was not recorded. The head of an earlier one may be somebody else's.
    pub(super) fn into_request(self, request: u32) -> Option<Request<RequestBody>> {
        if self.request == request { read(&self.head) } else { None }
    }
}

/// The request without a body that the protocol library has written like this; none unless the bytes are exactly one head. Values
/// keep their blanks, which a parser would take away.
fn read(head: &[u8]) -> Option<Request<RequestBody>> {
    let mut lines = head.strip_suffix(b"\r\n")?.split_inclusive(|byte| *byte == b'\n');
    let mut words = lines.next()?.strip_suffix(b"\r\n")?.split(|byte| *byte == b' ');
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    for line in lines {
        let mut halves = line.strip_suffix(b"\r\n")?.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next()?, halves.next()?.strip_prefix(b" ")?);
        request
            .headers_mut()
            .append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::request::Builder;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWrite as _;

    use super::super::metered::{Meter, metered, written};
    use super::*;

    #[tokio::test]
    async fn a_second_sending_is_the_same_request() {
        let long = "x-".repeat(100);
        let request = || {
            let request = Request::builder().method("PROPFIND").uri("/scan/1?a=b:c");
            let fields: [(&str, &[u8]); 7] = [
                ("host", b"scan:8000"),
                ("cookie", b"a=1; b=\xfc"),
                ("accept", b""),
                ("x-list", b"one"),
                ("x-bytes", b"\xff\t:\x80"),
                ("x-list", b"two: 2"),
                (&long, b"\tblanks \t"),
            ];
            let add = |request: Builder, (name, value)| request.header(name, value);
            fields.into_iter().fold(request, add).body(RequestBody::Empty).unwrap()
        };
        let (near, _far) = tokio::io::duplex(4096);
        let meter = Meter::default();
        let io = metered(TokioIo::new(near), meter.clone());
        let (mut sender, mut driver) = http1::handshake(io).await.unwrap();
        meter.start(true);
        let _answer = sender.send_request(request());
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut driver).poll(cx))).await.is_pending());
        let again = written(driver.into_parts().io).unwrap();
        assert_eq!((again.method(), again.uri()), (request().method(), request().uri()));
        assert!(again.headers().iter().eq(request().headers()));
    }

    #[test]
    fn nothing_is_read_from_what_is_not_one_whole_head() {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n";
        assert!(read(head).is_some());
        assert!((0..head.len()).all(|length| read(&head[..length]).is_none()));
        assert!(read(&[head.as_slice(), head].concat()).is_none(), "two heads");
        assert!(read(&[head.as_slice(), b"body"].concat()).is_none(), "a body");
    }

    #[test]
    fn a_head_is_recorded_as_it_is_first_written_and_is_that_of_its_request_only() {
        let written = |requests: &[(bool, &[&str])]| {
            let meter = Meter::default();
            let mut stream = metered((), meter.clone());
            for (is_recorded, writes) in requests {
                meter.start(*is_recorded);
                for path in *writes {
                    let head = format!("GET {path} HTTP/1.1\r\n\r\n");
                    stream.inner_mut().record(&[IoSlice::new(head.as_bytes())]);
                }
            }
            written(stream).map(|request| request.uri().path().to_owned())
        };
        assert_eq!(written(&[]), None);
        assert_eq!(written(&[(true, &["/1", "/2"])]).as_deref(), Some("/1"));
        assert_eq!(written(&[(false, &["/1"])]), None);
        assert_eq!(written(&[(true, &["/1"]), (true, &["/2"])]).as_deref(), Some("/2"));
        assert_eq!(written(&[(true, &["/1"]), (false, &["/2"])]), None);
        assert_eq!(written(&[(true, &["/1"]), (true, &[])]), None, "it was not written");
    }

    #[tokio::test]
    async fn what_is_left_of_an_earlier_request_is_not_taken_for_a_head() {
        let head = |path: &str| format!("GET {path} HTTP/1.1\r\n\r\n");
        for (room, last) in [(head("/1").len(), Some("/2")), (5, None)] {
            let (near, _far) = tokio::io::duplex(room);
            let meter = Meter::default();
            let mut stream = metered(TokioIo::new(near), meter.clone());
            for (path, is_recorded) in [("/1", false), ("/2", true)] {
                meter.start(is_recorded);
                let write = |cx: &mut Context<'_>| {
                    let taken = Pin::new(stream.inner_mut()).poll_write(cx, head(path).as_bytes());
                    Poll::Ready(taken.is_ready())
                };
                assert_eq!(std::future::poll_fn(write).await, path == "/1");
            }
            assert_eq!(written(stream).map(|request| request.uri().to_string()).as_deref(), last);
        }
    }
}
