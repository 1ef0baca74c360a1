//! `[listener]`: where clients come in.

mod mode;
pub mod tls;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use self::mode::SocketMode;
use self::tls::Tls;
use super::one_or_many::OneOrMany;
use super::values::{ByteSize, Period};

/// Where clients come in, and what they may cost before their request is known.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Where to listen: `IP:PORT`, `unix:/path`, or a list of them.
    pub address: OneOrMany<Address>,
    /// Who may use a Unix socket: its permissions in octal, such as `"0660"`. Empty: as the umask has it.
    pub socket_mode: SocketMode,
    /// Whose X-Forwarded-For and Forwarded are believed: addresses, networks such as `10.0.0.0/8`, or `unix:` for those
    /// who come in over a Unix socket. By default nobody's.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Spanned<String>>,
    /// Connections at the same time; more wait in the backlog.
    #[serde(deserialize_with = "super::ranges::at_least_one")]
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// Of them, those that one address (of IPv6: one /64) may have open; it gets no more. Trusted proxies may have any
    /// number. Absent: half of `max_connections`, and any number for loopback addresses; 0: any number.
    pub max_connections_per_ip: Option<usize>,
    /// The whole head of a request must be in by then (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub header_timeout: Period,
    /// How long a connection may wait for its next request (duration).
    #[serde(deserialize_with = "super::ranges::some_time")]
    pub idle_timeout: Period,
    /// The largest request head (size); 431 beyond.
    pub max_header_bytes: ByteSize,
    /// The largest request body (size); 413 beyond.
    pub max_body_bytes: ByteSize,
    /// How much of a request body must come in a second (size), on average, after 20 seconds of waiting for it; 408
    /// otherwise. 0: any amount.
    pub min_body_rate: ByteSize,
    /// What requests in flight get to finish after SIGTERM (duration).
    pub drain_timeout: Period,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// TLS over TCP; absent: HTTP in the clear.
    #[schemars(with = "Tls")]
    pub tls: Option<Spanned<Tls>>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: OneOrMany::one(Address::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)))),
            socket_mode: SocketMode::default(),
            trusted_proxies: Vec::new(),
            max_connections: 10_000,
            max_connections_per_ip: None,
            header_timeout: Period::secs(10),
            idle_timeout: Period::secs(75),
            max_header_bytes: ByteSize(32 << 10),
            max_body_bytes: ByteSize(100 << 20),
            min_body_rate: ByteSize(240),
            drain_timeout: Period::secs(30),
            workers: 0,
            tls: None,
        }
    }
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Whether only one of the two can be bound: they are the same, or have one port and one of them is every address.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(one), Self::Tcp(other)) => {
                let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
                // Port 0 is any free one, and a different one each time. Whether `[::]` takes IPv4 is up to the system.
                let is_one_port = one.port() == other.port() && one.port() != 0;
                is_one_port && one.is_ipv4() == other.is_ipv4() && (is_every || one.ip() == other.ip())
            }
            _ => false,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(format!("`{text}` needs an absolute path: unix:/run/forebay.sock"));
            }
            if UnixAddress::from_pathname(path).is_err() {
                return Err(format!(
                    "`{text}` is too long: the system takes no path of a socket beyond some 100 bytes"
                ));
            }
            return Ok(Self::Unix(path.into()));
        }
        socket_address(text).map(Self::Tcp)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An `IP:PORT` to listen on; `localhost` is 127.0.0.1. Names are not looked up: what a name means may change, what
/// is exposed should not.
///
/// # Errors
/// What to write instead.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.into(),
    };
    numeric.parse().map_err(|_| {
        format!(
            "`{text}` is not an address to listen on: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_numeric_localhost_or_a_unix_socket() {
        for (text, shown) in [
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[::]:80", "[::]:80"),
            ("localhost:1", "127.0.0.1:1"),
            ("unix:/run/f.sock", "unix:/run/f.sock"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(shown.into()));
        }
        let long = format!("unix:/{}", "x".repeat(200));
        for text in ["", ":8080", "8080", "example.org:80", "0.0.0.0", "0.0.0.0:99999", "unix:run", &long] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_equal_ports_on_every_and_on_one_address_only_one_can_be_bound() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", "0.0.0.0:80", false),
        ] {
            let [one, other]: [Address; 2] = [one, other].map(|text| text.parse().unwrap());
            assert_eq!([one.overlaps(&other), other.overlaps(&one)], [expected; 2], "{one} {other}");
        }
    }
}
