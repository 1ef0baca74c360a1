//! HTTP/1.1 as a strict reader has it, written from RFC 9112 and not from the product's libraries.

/// A message's head.
#[derive(Debug)]
pub(crate) struct Head {
    /// The request line, or the status line.
    pub(crate) start: String,
    /// The fields, their names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The head at the start of `bytes`, and what follows it; `None` where it is not complete.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let mut lines =
            bytes[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = String::from_utf8(lines.next()?.to_vec()).expect("a start line is text");
        let fields = lines.map(Self::field).collect();
        Some((Self { start, fields }, &bytes[end + 4..]))
    }

    fn field(line: &[u8]) -> (String, Vec<u8>) {
        let at = line.iter().position(|byte| *byte == b':').expect("a field has a colon");
        let (name, value) = (&line[..at], &line[at + 1..]);
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        assert!(!name.is_empty() && name.iter().all(is_token), "{line:?}");
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{line:?}");
        let name = String::from_utf8(name.to_ascii_lowercase()).expect("a token is text");
        (name, value.trim_ascii().to_vec())
    }

    /// The lines of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }

    /// A field of which there is one line, at most.
    pub(crate) fn field_once(&self, name: &str) -> Option<&[u8]> {
        let lines = self.all(name);
        assert!(lines.len() <= 1, "several lines of {name}: {self:?}");
        lines.first().copied()
    }

    /// Of what belongs to one connection there is nothing but what we say ourselves.
    pub(crate) fn assert_end_to_end(&self) {
        for name in ["keep-alive", "proxy-connection", "http2-settings", "expect"] {
            assert!(self.all(name).is_empty(), "{name} in {self:?}");
        }
        for line in self.all("connection") {
            let known = [&b"close"[..], b"keep-alive", b"upgrade", b"te", b"te, upgrade", b"upgrade, te"];
            assert!(known.contains(&&*line.to_ascii_lowercase()), "{self:?}");
        }
        assert!(self.all("te").iter().all(|line| *line == b"trailers"), "{self:?}");
    }

    /// The body at the start of `bytes`, and what follows it; `None` where it is not complete. A message without framing
    /// has the body that `unframed` says.
    pub(crate) fn body<'b>(&self, bytes: &'b [u8], unframed: Unframed) -> Option<&'b [u8]> {
        let (length, coding) = (self.field_once("content-length"), self.field_once("transfer-encoding"));
        assert!(length.is_none() || coding.is_none(), "framed twice: {self:?}");
        if let Some(coding) = coding {
            assert_eq!(coding, b"chunked", "{self:?}");
            return after_chunks(bytes);
        }
        let Some(length) = length else {
            return Some(if unframed == Unframed::Empty { bytes } else { &[] });
        };
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        assert!(is_number, "{self:?}");
        let length =
            std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        bytes.get(length..)
    }
}

/// What a message without framing has for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// None: requests.
    Empty,
    /// Everything until the connection ends: responses.
    UntilClose,
}

/// What follows a chunked body and its trailers.
fn after_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, rest) = line(bytes)?;
        let size = std::str::from_utf8(line).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.unwrap_or_else(|| panic!("no size of a chunk: {line:?}"));
        if size == 0 {
            bytes = rest;
            break;
        }
        let end = rest.get(size..)?;
        if end.len() < 2 {
            return None;
        }
        bytes = end.strip_prefix(b"\r\n").expect("a chunk ends with a line break");
    }
    loop {
        let (line, rest) = line(bytes)?;
        if line.is_empty() {
            return Some(rest);
        }
        Head::field(line);
        bytes = rest;
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
