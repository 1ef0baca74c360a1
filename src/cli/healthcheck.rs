//! `forebay healthcheck`: asks the admin listener, for images without a shell or curl.
//!
//! Plain HTTP/1.1 over a plain socket, no runtime: it runs every few seconds beside the proxy and must cost nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use http::Uri;

use super::{HealthcheckArgs, complain, env, overrides};
use crate::config::{self, admin::Admin};

/// For connecting, and again for each read.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A health answer is short; what comes beyond is not read.
const MAX_ANSWER_BYTES: u64 = 16 << 10;

/// Status 0 when the admin listener answers 200.
pub fn healthcheck(args: &HealthcheckArgs) -> ExitCode {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let asked = Target::find(args).and_then(|target| Ok((target.ask(path)?, target)));
    match asked {
        Ok((Answer { status: 200, .. }, _)) => ExitCode::SUCCESS,
        Ok((Answer { status, body }, target)) => {
            complain(&format!("http://{}{path} answered {status}: {}", target.host, body.trim()));
            ExitCode::FAILURE
        }
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// Whom to ask, and under which name.
#[derive(Debug, PartialEq)]
struct Target {
    address: SocketAddr,
    host: String,
}

struct Answer {
    status: u16,
    body: String,
}

impl Target {
    fn find(args: &HealthcheckArgs) -> Result<Self, String> {
        if let Some(url) = &args.admin {
            return Self::of_url(url);
        }
        if let Some(address) = overrides::admin(&env)? {
            return Ok(Self::of_address(address));
        }
        let flag = args.config.config.as_deref();
        let Ok(path) = config::find(flag, &env) else {
            return Ok(Self::of_address(*Admin::default().address.get_ref()));
        };
        match config::load(&path, &env) {
            // A broken file is no reason to call a server sick that runs on with the one before.
            Ok(loaded) => Ok(Self::of_address(*loaded.config.admin.address.get_ref())),
            Err(_) if flag.is_none() => Ok(Self::of_address(*Admin::default().address.get_ref())),
            Err(problems) => Err(problems.to_string()),
        }
    }

    fn of_url(url: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("`{url}` is not the URL of an admin listener: {why}");
        let uri: Uri = url.parse().map_err(|_| refused("write http://HOST:PORT"))?;
        let authority = uri.authority().ok_or_else(|| refused("write http://HOST:PORT"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refused("only http is spoken there"));
        }
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let found = (name, authority.port_u16().unwrap_or(80)).to_socket_addrs();
        let address = found.ok().and_then(|mut addresses| addresses.next());
        let address = address.ok_or_else(|| refused("the host has no address"))?;
        Ok(Self { address, host: authority.as_str().into() })
    }

    /// The address a listener listens on; "all of them" is asked on the loopback one, by the name that is always
    /// allowed.
    fn of_address(address: SocketAddr) -> Self {
        if !address.ip().is_unspecified() {
            return Self { address, host: address.to_string() };
        }
        let loopback = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let port = address.port();
        Self { address: (loopback, port).into(), host: format!("localhost:{port}") }
    }

    fn ask(&self, path: &str) -> Result<Answer, String> {
        let failed = |error: io::Error| format!("http://{}{path}: {error}", self.host);
        let answer = self.exchange(path).map_err(failed)?;
        parse_answer(&answer).ok_or_else(|| format!("http://{}{path}: the answer is not HTTP", self.host))
    }

    fn exchange(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let host = &self.host;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn parse_answer(answer: &str) -> Option<Answer> {
    let status = answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Some(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A listener that answers one request; tells what it was asked.
    fn listener(answer: &'static str) -> (Target, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::of_address(listener.local_addr().unwrap());
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (target, asked)
    }

    #[test]
    fn the_status_and_the_body_of_the_admin_listener_are_told() {
        let (target, asked) =
            listener("HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\n{\"status\":\"draining\"}");
        let answer = target.ask("/readyz").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "{\"status\":\"draining\"}"));
        let request = asked.join().unwrap();
        assert!(request.starts_with("GET /readyz HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("Host: {}\r\n", target.host)), "{request}");
    }

    #[test]
    fn something_that_does_not_speak_http_is_not_well() {
        assert!(listener("SSH-2.0-x\r\n").0.ask("/healthz").is_err());
    }

    #[test]
    fn nobody_there_is_not_well() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(Target::of_address(address).ask("/healthz").is_err());
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_the_loopback_one() {
        let target = |address: &str| Target::of_address(address.parse().unwrap());
        assert_eq!(target("0.0.0.0:9090").address.to_string(), "127.0.0.1:9090");
        assert_eq!(target("[::]:9090").address.to_string(), "[::1]:9090");
        assert_eq!(target("0.0.0.0:9090").host, "localhost:9090");
        assert_eq!(target("10.1.2.3:9").host, "10.1.2.3:9");
    }

    #[test]
    fn a_url_is_http_with_a_host() {
        let target = Target::of_url("http://127.0.0.1:9090").unwrap();
        assert_eq!((target.address.port(), target.host.as_str()), (9090, "127.0.0.1:9090"));
        assert_eq!(Target::of_url("http://[::1]:9/").unwrap().address.to_string(), "[::1]:9");
        for url in ["127.0.0.1:9090", "https://127.0.0.1:9090", "/healthz", "", "http://"] {
            assert!(Target::of_url(url).is_err(), "{url}");
        }
    }
}
