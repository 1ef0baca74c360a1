//! One server of an upstream: where it is, and what it speaks.

use std::fmt;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Request, Uri};

use crate::http::host::canonical_host;

const WANTED: &str = "a server is written like \"http://127.0.0.1:8000\"";

/// A server, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    scheme: Scheme,
    place: Place,
    /// Its own name.
    authority: HeaderValue,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 or HTTP/2 over TLS.
    Https,
    /// HTTP/2 in the clear.
    H2c,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Network { host: Arc<str>, port: u16 },
    Socket(Arc<Path>),
}

impl Server {
    /// What it speaks.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Replaces `Host` by this server's own name.
    pub(super) fn name_host<B>(&self, request: &mut Request<B>) {
        request.headers_mut().insert(header::HOST, self.authority.clone());
    }

    fn at_socket(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err("a socket is written with its whole path, like \"unix:/run/app.sock\"".to_owned());
        }
        if UnixAddress::from_pathname(path).is_err() {
            return Err("the system takes no path of a socket beyond some 100 bytes".to_owned());
        }
        Ok(Self {
            scheme: Scheme::Http,
            place: Place::Socket(Path::new(path).into()),
            authority: HeaderValue::from_static("localhost"),
        })
    }
}

impl Scheme {
    fn of(uri: &Uri) -> Result<Self, String> {
        match uri.scheme_str() {
            Some("http") => Ok(Self::Http),
            Some("https") => Ok(Self::Https),
            Some("h2c") => Ok(Self::H2c),
            Some(other) => Err(format!("`{other}` is none of http, https, h2c and unix: {WANTED}")),
            None => Err(format!("the scheme is missing: {WANTED}")),
        }
    }

    fn default_port(self) -> u16 {
        if self == Self::Https { 443 } else { 80 }
    }
}

impl FromStr for Server {
    type Err = String;

    /// Reads `http://host[:port]`, `https://...`, `h2c://...`, `unix:/path`.
    ///
    /// # Errors
    /// A message that says what is wrong and what is expected.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::at_socket(path);
        }
        let bare = text.trim_end_matches('/');
        if bare.ends_with(':') && bare.len() < text.len() {
            return Err(format!("the host is missing: {WANTED}"));
        }
        let uri = bare.parse::<Uri>().map_err(|error| format!("{error}: {WANTED}"))?;
        let scheme = Scheme::of(&uri)?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(format!("a server has no path, since routes forward the client's: {WANTED}"));
        }
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return Err(format!("user information has no place here: {WANTED}"));
        };
        if canonical_host(authority.as_str(), scheme.default_port()).is_err() || uri.port_u16() == Some(0) {
            return Err(format!("this is no host and port: {WANTED}"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').into();
        let port = uri.port_u16().unwrap_or(scheme.default_port());
        let authority =
            HeaderValue::from_str(authority.as_str()).map_err(|error| format!("{error}: {WANTED}"))?;
        Ok(Self { scheme, place: Place::Network { host, port }, authority })
    }
}

impl fmt::Display for Server {
    /// `host:port`, as in metrics.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Network { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Network { host, port } => write!(f, "{host}:{port}"),
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_scheme_and_a_place() {
        for (text, scheme, shown) in [
            ("http://127.0.0.1:8000", Scheme::Http, "127.0.0.1:8000"),
            ("http://scan", Scheme::Http, "scan:80"),
            ("http://[::1]:9/", Scheme::Http, "[::1]:9"),
            ("https://scan", Scheme::Https, "scan:443"),
            ("h2c://scan:50051", Scheme::H2c, "scan:50051"),
            ("unix:/run/app.sock", Scheme::Http, "unix:/run/app.sock"),
        ] {
            let server = text.parse::<Server>().unwrap();
            assert_eq!((server.scheme(), server.to_string().as_str()), (scheme, shown));
        }
    }

    #[test]
    fn anything_else_says_what_is_wanted() {
        for text in [
            "127.0.0.1:8000",
            "http://x/api",
            "http://u@x",
            "ftp://x",
            "",
            "http://x:0",
            "http://x:99999",
            "https://x/y",
        ] {
            assert!(text.parse::<Server>().unwrap_err().contains("http://127.0.0.1:8000"), "{text}");
        }
        assert!("http://".parse::<Server>().unwrap_err().starts_with("the host is missing"));
        assert!("127.0.0.1:8000".parse::<Server>().unwrap_err().starts_with("the scheme is missing"));
        assert!(format!("unix:/{}", "x".repeat(200)).parse::<Server>().is_err());
        assert!("unix:app.sock".parse::<Server>().unwrap_err().contains("unix:/run/app.sock"));
    }
}
