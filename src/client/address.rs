//! The client's address behind the proxies that we trust.
//!
//! Forwarding fields are written by whoever wants to, so they are believed from the right, hop by hop, as long as the
//! one who added a hop is trusted. The client is the rightmost hop that is not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whose forwarding fields are believed; nobody's by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// Whether those who come in over a Unix socket are.
    unix: bool,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The client, as far as it can be believed; IPv4-mapped IPv6 is unwrapped.
    pub ip: IpAddr,
    /// The other end of the connection, canonical too.
    pub peer: IpAddr,
    /// Whether the peer is trusted: what it says in forwarding fields is passed on, from any other it is replaced.
    pub via_trusted: bool,
}

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { networks: networks.into_iter().map(canonical_network).collect(), unix: false }
    }

    /// Reads addresses (`10.0.0.1`), networks (`10.0.0.0/8`, `fd00::/8`), and `unix:` for the peers of Unix sockets.
    ///
    /// # Errors
    /// The first text that is neither.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, TrustedProxyError> {
        let network = |text: &str| {
            IpNet::from_str(text)
                .or_else(|_| IpAddr::from_str(text).map(IpNet::from))
                .map_err(|_| TrustedProxyError(text.to_owned()))
        };
        let (sockets, networks): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| *text == "unix:");
        let networks = networks.into_iter().map(network).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { unix: !sockets.is_empty(), ..Self::new(networks) })
    }

    /// Whether what `address` says in forwarding fields is believed.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Finds the client. `X-Forwarded-For` wins over `Forwarded` (RFC 7239); reading stops at the first hop that is no
    /// address, and the client is then the one who reported it.
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.to_canonical();
        self.resolve_from(peer, self.is_trusted(peer), headers)
    }

    /// The same for a peer that came in over a Unix socket. It has no address; it is on this machine, and counts as
    /// 127.0.0.1, but is trusted only where `unix:` is.
    pub fn resolve_unix(&self, headers: &HeaderMap) -> ClientAddress {
        self.resolve_from(Ipv4Addr::LOCALHOST.into(), self.unix, headers)
    }

    fn resolve_from(&self, peer: IpAddr, via_trusted: bool, headers: &HeaderMap) -> ClientAddress {
        let ip = match via_trusted {
            false => peer,
            true if headers.contains_key(X_FORWARDED_FOR) => {
                self.rightmost_untrusted(peer, hops(headers).map(parse_hop))
            }
            true => self.rightmost_untrusted(peer, elements(headers).map(parse_element)),
        };
        ClientAddress { ip, peer, via_trusted }
    }

    fn rightmost_untrusted(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for hop in hops {
            let Some(hop) = hop else { break };
            client = hop;
            if !self.is_trusted(hop) {
                break;
            }
        }
        client
    }
}

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxyError(String);

impl fmt::Display for TrustedProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an IP address, a network like `10.0.0.0/8`, nor `unix:`", self.0)
    }
}

impl std::error::Error for TrustedProxyError {}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`, since addresses are compared unwrapped.
fn canonical_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let unwrapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    unwrapped.and_then(|(v4, prefix)| IpNet::new(v4.into(), prefix).ok()).unwrap_or(network)
}

/// The hops of `X-Forwarded-For` from the right, over all its lines; a line that is not visible ASCII is one that no parser
/// takes. Empty ones are ignored (RFC 9110 5.6.1).
fn hops(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").rsplit(','))
        .map(str::trim)
        .filter(|hop| !hop.is_empty())
}

/// The same for the elements of `Forwarded`, which may have commas in quotes: what a client had put into quotes must not
/// become a hop of the proxy that passed it on. A line with a quote that stays open is malformed as a whole.
fn elements(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(FORWARDED).into_iter().rev();
    lines
        .flat_map(|line| {
            let parts = line.to_str().ok().and_then(|line| split_unquoted(line, ','));
            parts.unwrap_or_else(|| vec!["?"]).into_iter().rev()
        })
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

/// The parts between separators outside quoted strings (RFC 9110 5.6.4); none where a quote stays open.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|next| {
        let is_inside = is_quoted;
        match next {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        next == separator && !is_inside
    });
    let parts = parts.collect();
    (!is_quoted).then_some(parts)
}

/// One element of `Forwarded`; RFC 7239 4: pairs, which may be empty, names without case. Exactly one `for` must be there.
fn parse_element(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split_unquoted(element, ';')?.into_iter().filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(value.trim());
        }
    }
    parse_hop(found?)
}

/// An address with all that proxies put around it: quotes, brackets, a port, leading zeros.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let bare = match hop.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => hop,
    };
    let address = if let Some(bracketed) = bare.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !(port.is_empty() || is_port(port.strip_prefix(':')?)) {
            return None;
        }
        IpAddr::V6(Ipv6Addr::from_str(address).ok()?)
    } else if let Ok(v6) = Ipv6Addr::from_str(bare) {
        IpAddr::V6(v6)
    } else {
        match bare.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(parse_v4(address)?),
            Some(_) => return None,
            None => IpAddr::V4(parse_v4(bare)?),
        }
    };
    Some(address.to_canonical())
}

/// Digits, or the name that RFC 7239 6.3 allows in place of a port.
fn is_port(text: &str) -> bool {
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let is_number = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    is_number || text.strip_prefix('_').is_some_and(|name| !name.is_empty() && is_name(name))
}

/// Four decimal numbers; zero padding stays decimal (std refuses it, since some read it as octal).
fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn client(peer: &str, lines: Lines<'_>) -> String {
        let trusted = TrustedProxies::parse(["10.0.0.0/8", "127.0.0.1", "::ffff:192.168.0.0/112"]).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        trusted.resolve(peer.parse().unwrap(), &headers).ip.to_string()
    }

    #[test]
    fn the_client_is_the_rightmost_hop_that_is_not_trusted() {
        let xff = "x-forwarded-for";
        let cases: &[(&str, Lines<'_>, &str)] = &[
            ("8.8.8.8", &[(xff, "1.1.1.1")], "8.8.8.8"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &[(xff, "1.1.1.1")], "1.1.1.1"),
            ("192.168.0.7", &[(xff, "::ffff:1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[(xff, "6.6.6.6, 1.1.1.1, 10.0.0.2")], "1.1.1.1"),
            ("10.0.0.1", &[(xff, "6.6.6.6"), (xff, "1.1.1.1"), (xff, "10.0.0.2, ")], "1.1.1.1"),
            ("10.0.0.1", &[(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(xff, "1.1.1.1, junk, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(xff, "1.1.1.1, junk")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "001.002.003.004:80")], "1.2.3.4"),
            ("10.0.0.1", &[(xff, "[2001:DB8:0::1]:443")], "2001:db8::1"),
            ("10.0.0.1", &[(xff, "1.1.1.1"), ("forwarded", "for=2.2.2.2")], "1.1.1.1"),
            (
                "10.0.0.1",
                &[("forwarded", "for=6.6.6.6, For=\"[2001:db8::2]:_p\";proto=https")],
                "2001:db8::2",
            ),
            ("10.0.0.1", &[("forwarded", "for=6.6.6.6, for=unknown")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=6.6.6.6, proto=http")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1;for=2.2.2.2")], "10.0.0.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1;")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", ";; for=1.1.1.1 ; ;by=2.2.2.2")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1;host=\"x, for=6.6.6.6;y=\"")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "for=6.6.6.6, for=1.1.1.1;host=\"x;for=6.6.6.6\"")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1;host=\"\\\", for=6.6.6.6;y=\"")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "for=6.6.6.6;host=\"x\\\\\", for=1.1.1.1")], "1.1.1.1"),
            ("10.0.0.1", &[("forwarded", "host=\"x, for=6.6.6.6")], "10.0.0.1"),
            (
                "10.0.0.1",
                &[("forwarded", "host=\"x"), ("forwarded", "for=1.1.1.1"), ("forwarded", "for=10.0.0.2")],
                "1.1.1.1",
            ),
        ];
        for (peer, lines, wanted) in cases {
            assert_eq!(client(peer, lines), *wanted, "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_peer_of_a_unix_socket_is_local_and_believed_only_where_it_is_named() {
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("1.1.1.1"))]);
        for (trusted, client) in
            [("unix:", "1.1.1.1"), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0/0", "127.0.0.1")]
        {
            let trusted = TrustedProxies::parse([trusted]).unwrap();
            assert_eq!(trusted.resolve_unix(&headers).ip.to_string(), client, "{trusted:?}");
        }
        let unix = TrustedProxies::parse(["unix:"]).unwrap();
        assert!(!unix.resolve(Ipv4Addr::LOCALHOST.into(), &headers).via_trusted);
    }

    #[test]
    fn what_is_no_address_is_malformed() {
        for hop in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.4:",
            "1.2.3.4:x",
            "[::1",
            "[::1]x",
            "::1]",
            "\"1.2.3.4",
            "fe80::1%eth0",
            "_a",
            "1.2.3.4:123456",
            "+1.2.3.4",
        ] {
            assert_eq!(parse_hop(hop), None, "{hop}");
        }
        assert!(TrustedProxies::parse(["10.0.0.0/33"]).is_err());
    }

    proptest! {
        #[test]
        fn no_field_makes_the_parser_panic(value in "\\PC{0,60}", list in "[0-9a-f.:,\\[\\]\"=;for _%-]{0,60}") {
            let _ = (parse_hop(&value), parse_element(&value), parse_hop(&list), parse_element(&list));
            let _ = HeaderValue::from_str(&list).map(|value| {
                let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, value.clone()), (FORWARDED, value)]);
                TrustedProxies::parse(["0.0.0.0/0"]).unwrap().resolve(Ipv4Addr::LOCALHOST.into(), &headers)
            });
        }

        #[test]
        fn every_spelling_of_an_address_is_one_client(v4: [u8; 4], v6: [u16; 8], port: u16) {
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let [a, b, c, d] = v4.octets();
            let spellings = [v4.to_string(), format!("{v4}:{port}"), format!("[::ffff:{v4}]:{port}"),
                format!("{a:03}.{b:03}.{c:03}.{d:03}"), format!("\"{v4}\"")];
            for text in spellings {
                prop_assert_eq!(parse_hop(&text), Some(IpAddr::V4(v4)));
            }
            for text in [v6.to_string(), format!("[{v6}]"), format!("\"[{v6}]:{port}\""), v6.to_string().to_uppercase()] {
                prop_assert_eq!(parse_hop(&text), Some(IpAddr::V6(v6).to_canonical()));
            }
        }
    }
}
