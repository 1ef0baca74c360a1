//! One spelling for every host.

use std::borrow::Cow;

use super::target::BadTarget;

/// A name of 253 characters (RFC 1035 section 2.3.4) with its root's dot and a port.
const MAX_LENGTH: usize = 260;

/// A host in lower case, without the default port and the dot of the root; borrowed where it already is so.
///
/// # Errors
/// [`BadTarget::MalformedHost`] for anything that is not `host[:port]` or `[v6][:port]`.
pub fn canonical_host(text: &str, default_port: u16) -> Result<Cow<'_, str>, BadTarget> {
    if text.len() > MAX_LENGTH {
        return Err(BadTarget::MalformedHost);
    }
    if is_plain(text.as_bytes(), default_port) {
        return Ok(Cow::Borrowed(text));
    }
    let (name, port) = split_port(text)?;
    let (is_valid, bare) = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => (address.parse::<std::net::Ipv6Addr>().is_ok(), name),
        None => {
            let bare = name.strip_suffix('.').unwrap_or(name);
            (bare.split('.').all(|label| !label.is_empty() && label.bytes().all(is_host_byte)), bare)
        }
    };
    if !is_valid {
        return Err(BadTarget::MalformedHost);
    }
    let is_default = matches!(port, Some(None)) || port == Some(Some(default_port));
    let port = if is_default { "" } else { text.strip_prefix(name).unwrap_or_default() };
    let is_shorter = bare.len() + port.len() < text.len();
    Ok(if is_shorter || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(format!("{bare}{port}").to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

/// Whether a host is a lower-case name or address, with another port than the default one or none: the usual case,
/// decided in one walk.
fn is_plain(text: &[u8], default_port: u16) -> bool {
    let mut previous = b'.';
    let is_in_place = |byte: &&u8| {
        let is_fine = match **byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => true,
            // A label is not empty.
            b'.' => previous != b'.',
            _ => false,
        };
        previous = **byte;
        is_fine
    };
    let (name, port) = text.split_at(text.iter().take_while(is_in_place).count());
    name.last().is_some_and(|last| *last != b'.') && (port.is_empty() || is_plain_port(port, default_port))
}

fn is_plain_port(port: &[u8], default_port: u16) -> bool {
    let [b':', digits @ ..] = port else { return false };
    let number = || digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    digits.len() <= 5
        && digits.first().is_some_and(|first| *first != b'0')
        && digits.iter().all(u8::is_ascii_digit)
        && number() <= u32::from(u16::MAX)
        && number() != u32::from(default_port)
}

/// `host[:port]` in two; a port of `Some(None)` is an empty one, which RFC 3986 section 3.2.3 allows.
fn split_port(text: &str) -> Result<(&str, Option<Option<u16>>), BadTarget> {
    let after_address = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text.get(after_address..).and_then(|rest| rest.rfind(':')).map(|at| at + after_address)
    else {
        return Ok((text, None));
    };
    let (name, port) = text.split_at(colon);
    let digits = port.trim_start_matches(':');
    if digits.is_empty() && port.len() == 1 {
        return Ok((name, Some(None)));
    }
    if port.len() != digits.len() + 1 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadTarget::MalformedHost);
    }
    digits.parse().map(|port| (name, Some(Some(port)))).map_err(|_| BadTarget::MalformedHost)
}

/// Letters, digits and what registered names may hold without escapes (RFC 3986 section 3.2.2); underscores are common.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_case_default_port_and_the_dot_of_the_root() {
        for (given, canonical) in [
            ("Example.COM", Ok("example.com")),
            ("example.com:80", Ok("example.com")),
            ("example.com:", Ok("example.com")),
            ("example.com:8080", Ok("example.com:8080")),
            ("example.com:65535", Ok("example.com:65535")),
            ("example.com:080", Ok("example.com")),
            ("[::1]:80", Ok("[::1]")),
            ("[::1]:81", Ok("[::1]:81")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("site.", Ok("site")),
            ("Site.:80", Ok("site")),
            ("site.:8080", Ok("site:8080")),
            (".", Err(BadTarget::MalformedHost)),
            ("site..", Err(BadTarget::MalformedHost)),
            ("a..b", Err(BadTarget::MalformedHost)),
            (".a", Err(BadTarget::MalformedHost)),
            ("[::1].", Err(BadTarget::MalformedHost)),
            ("", Err(BadTarget::MalformedHost)),
            ("a b", Err(BadTarget::MalformedHost)),
            ("user@host", Err(BadTarget::MalformedHost)),
            ("host:80:80", Err(BadTarget::MalformedHost)),
            ("host:65536", Err(BadTarget::MalformedHost)),
            ("host:99999", Err(BadTarget::MalformedHost)),
            ("host:4294967376", Err(BadTarget::MalformedHost)),
            ("host:8o", Err(BadTarget::MalformedHost)),
            ("host:+80", Err(BadTarget::MalformedHost)),
            ("[::g]", Err(BadTarget::MalformedHost)),
            ("a/b", Err(BadTarget::MalformedHost)),
        ] {
            assert_eq!(canonical_host(given, 80).as_deref(), canonical.as_deref(), "{given}");
        }
    }
}
