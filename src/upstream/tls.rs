//! TLS towards the servers of an upstream: whom to believe, as whom to appear, under which name to ask.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::Error;
use super::connect::Io;
use super::pool::Offer;
use crate::http::io::Joined;
use crate::tls::{self, Fault};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The files and names that TLS towards an upstream is made of.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Whose signatures are believed; `None`: those that the system believes.
    pub ca: Option<PathBuf>,
    /// As whom to appear: a certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Under which name servers are asked and verified; `None`: each under its own.
    pub server_name: Option<ServerName<'static>>,
    /// Whether whatever certificate comes is taken.
    pub insecure: bool,
}

/// TLS towards an upstream.
#[derive(Debug, Clone)]
pub struct TlsSpec {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    is_insecure: bool,
}

impl TlsSpec {
    /// Whether whatever certificate comes is taken.
    pub fn is_insecure(&self) -> bool {
        self.is_insecure
    }

    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with one of them, and what to do about it.
    pub fn read(files: &TlsFiles) -> Result<Self, Fault> {
        let provider = tls::provider();
        let unusable = |error: rustls::Error| Fault::new("".as_ref(), error.to_string(), "");
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        // Read even where nothing is verified by them: a file that is missing is a mistake.
        let given = files.ca.as_deref().map(tls::roots).transpose()?;
        let builder = if files.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(&provider))))
        } else {
            builder.with_root_certificates(given.map_or_else(roots_of_the_system, Ok)?)
        };
        let mut config = match &files.identity {
            Some((cert, key)) => {
                let identity = tls::identity(cert, key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Self {
            config: Arc::new(config),
            server_name: files.server_name.clone(),
            is_insecure: files.insecure,
        })
    }

    /// Makes a stream to `host` a secure one; whether the server wants to speak HTTP/2 on it.
    pub(super) async fn secure(
        &self,
        host: &str,
        io: Box<dyn Io>,
        offer: Offer,
    ) -> Result<(Box<dyn Io>, bool), Error> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| Error::TlsCertificate)?,
        };
        let connector = TlsConnector::from(self.offering(offer));
        let stream = connector.connect(name, TokioIo::new(io)).await.map_err(|error| cause(&error))?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok((Box::new(Joined(TokioIo::new(stream))), is_h2))
    }

    fn offering(&self, offer: Offer) -> Arc<ClientConfig> {
        let mut config = Arc::clone(&self.config);
        if offer == Offer::Http1 {
            Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_1_1.to_vec()];
        }
        config
    }
}

fn roots_of_the_system() -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let message = "the system has no certificates that it believes";
        return Err(Fault::new("".as_ref(), message, "name a file: tls = { ca = \"/etc/ssl/ca.pem\" }"));
    }
    Ok(roots)
}

/// Which side has failed in a handshake, and how.
fn cause(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificate,
        Some(rustls::Error::AlertReceived(_)) => Error::TlsAlert,
        Some(_) => Error::TlsProtocol,
        None => Error::ConnectionTerminated,
    }
}

/// Takes every certificate: `insecure = true`. Signatures are verified all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
