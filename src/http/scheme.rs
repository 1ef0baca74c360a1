//! The scheme under which a client asks: whether its connection is protected by TLS.

use http::HeaderValue;

/// http or https.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// As the value of a field.
    pub const fn value(self) -> HeaderValue {
        match self {
            Self::Http => const { HeaderValue::from_static("http") },
            Self::Https => const { HeaderValue::from_static("https") },
        }
    }

    /// The port that goes without saying (RFC 9110 section 4.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme of a URL; http where it has none.
    pub fn of(uri: &http::Uri) -> Self {
        if uri.scheme_str() == Some("https") { Self::Https } else { Self::Http }
    }
}
