//! TLS on the listener: which certificate a client sees, and the handshake.
//!
//! Promises: the protocol is the one agreed upon by ALPN; a client that sends no TLS is told so in words and let go; a
//! handshake that does not come to its end holds its connection no longer than a head may take.

mod by_name;
mod certificate;
mod plain;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{DEFAULT_VERSIONS, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::by_name::ByName;
pub use self::certificate::Certificate;
use super::connection::Protocol;
use crate::tls;

/// In the order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The first byte of a TLS connection: a record with a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What TLS connections are made with; a reload makes another one, and connections keep theirs.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<[Certificate]>,
}

impl Tls {
    /// The first certificate is for clients that ask for a name of none. With `client_roots` every client must present a
    /// certificate that one of them has signed.
    ///
    /// # Errors
    /// Why client certificates cannot be verified.
    pub fn new(certificates: Vec<Certificate>, client_roots: Option<RootCertStore>) -> Result<Self, String> {
        let provider = tls::provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(DEFAULT_VERSIONS)
            .map_err(|error| error.to_string())?;
        let builder = match client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&certificates)));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        if let Ok(ticketer) = Ticketer::new() {
            // Its key is this configuration's own: nobody resumes what another one has allowed.
            config.ticketer = ticketer;
        }
        Ok(Self { config: Arc::new(config), certificates: certificates.into() })
    }

    /// A line for each certificate that has expired or soon will.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        self.certificates.iter().filter_map(|certificate| certificate.warning(now)).collect()
    }

    /// Agrees with a client on keys and a protocol; nothing where that fails.
    pub(super) async fn shake_hands(
        self,
        stream: TcpStream,
    ) -> Option<(Box<TlsStream<TcpStream>>, Protocol)> {
        match self.try_shake_hands(stream).await {
            Ok(shaken) => Some(shaken),
            Err(error) => {
                tracing::debug!(%error, "no TLS handshake");
                None
            }
        }
    }

    async fn try_shake_hands(self, stream: TcpStream) -> io::Result<(Box<TlsStream<TcpStream>>, Protocol)> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE] {
            plain::turn_away(stream, first).await;
            return Err(io::Error::other("the client speaks no TLS"));
        }
        let stream = TlsAcceptor::from(self.config).accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok((Box::new(stream), protocol))
    }
}
