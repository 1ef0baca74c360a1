//! One server of an upstream: where it is.

use std::fmt;
use std::str::FromStr;

use http::header::{self, HeaderValue};
use http::{Request, Uri};

use crate::http::host::canonical_host;

/// The address of an HTTP/1.1 server, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    uri: Uri,
    authority: HeaderValue,
}

impl Server {
    /// `http://host:port`, for the connector.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Replaces `Host` by this server's own name.
    pub(super) fn name_host<B>(&self, request: &mut Request<B>) {
        request.headers_mut().insert(header::HOST, self.authority.clone());
    }
}

impl FromStr for Server {
    type Err = String;

    /// Reads `http://host[:port]`.
    ///
    /// # Errors
    /// A message that says what is wrong and what is expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "a server is written like \"http://127.0.0.1:8000\"";
        let uri = text.trim_end_matches('/').parse::<Uri>().map_err(|error| format!("{error}: {wanted}"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(other) => {
                return Err(format!("this version speaks http to its upstreams, not {other}: {wanted}"));
            }
            None => return Err(format!("the scheme is missing: {wanted}")),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(format!("a server has no path, since routes forward the client's: {wanted}"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return Err(format!("user information has no place here: {wanted}"));
        };
        if canonical_host(authority.as_str(), 80).is_err() || uri.port_u16() == Some(0) {
            return Err(format!("this is no host and port: {wanted}"));
        }
        let authority =
            HeaderValue::from_str(authority.as_str()).map_err(|error| format!("{error}: {wanted}"))?;
        Ok(Self { uri, authority })
    }
}

impl fmt::Display for Server {
    /// `host:port`, as in metrics.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.uri.host().unwrap_or_default();
        write!(f, "{host}:{}", self.uri.port_u16().unwrap_or(80))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_http_authority() {
        for (text, shown) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://scan", "scan:80"),
            ("http://[::1]:9/", "[::1]:9"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn anything_else_says_what_is_wanted() {
        for text in [
            "127.0.0.1:8000",
            "https://x",
            "http://x/api",
            "http://u@x",
            "ftp://x",
            "",
            "http://x:0",
            "http://x:99999",
        ] {
            assert!(text.parse::<Server>().unwrap_err().contains("http://127.0.0.1:8000"), "{text}");
        }
    }
}
