//! A certification authority of a test's own, servers that it vouches for, and clients that believe it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{HOST, Request, Response};
use super::scratch::Scratch;
use super::wait::within;
use super::wire::{Part, Wire};

/// An authority with the files that it has issued.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    files: Scratch,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate, files: Scratch::new() }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let params = CertificateParams::new(names).unwrap();
        Issued { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn install(&self, name: &str, issued: &Issued) {
        self.files.write(&format!("{name}.crt"), &issued.cert);
        self.files.write(&format!("{name}.key"), &issued.key);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A file with its own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.files.write("ca.crt", &self.certificate)
    }

    /// `[listener.tls]` with the pair of this name.
    pub(crate) fn config(&self, name: &str) -> String {
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        format!("[listener.tls]\ncert = '{}'\nkey = '{}'\n", path("crt"), path("key"))
    }

    /// A server by this name that speaks these protocols; it may want clients to be known to the authority.
    pub(crate) fn server(&self, name: &str, alpn: &[&str], knows_clients: bool) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if knows_clients {
            let roots = Arc::new(roots(&self.certificate));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (cert, key) = self.issue(&[name]).pair();
        let mut config = builder.with_single_cert(cert, key).unwrap();
        config.alpn_protocols = protocols(alpn);
        config
    }

    /// A client that believes this authority and speaks these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> TlsClient {
        TlsClient::new(&self.certificate, alpn, None)
    }

    /// The same with a certificate of its own.
    pub(crate) fn client_as(&self, issued: &Issued) -> TlsClient {
        TlsClient::new(&self.certificate, &["http/1.1"], Some(issued))
    }
}

impl Issued {
    fn pair(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        (vec![cert], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

fn roots(certificate: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    roots
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client over TLS.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    fn new(root: &str, alpn: &[&str], own: Option<&Issued>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder =
            builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots(root));
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let (cert, key) = own.pair();
                builder.with_client_auth_cert(cert, key).unwrap()
            }
        };
        config.alpn_protocols = protocols(alpn);
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        within("a TLS handshake", self.0.connect(name, stream)).await
    }

    /// A connection on which HTTP/1.1 is spoken.
    pub(crate) async fn open(&self, address: SocketAddr) -> TlsConnection {
        self.try_open(address).await.expect("a TLS connection")
    }

    pub(crate) async fn try_open(&self, address: SocketAddr) -> std::io::Result<TlsConnection> {
        Ok(TlsConnection::new(self.connect(address, HOST).await?))
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, address: SocketAddr, request: &Request) -> std::io::Result<Response> {
        self.try_open(address).await?.try_ask(request).await
    }
}

/// HTTP/1.1 over TLS.
pub(crate) struct TlsConnection {
    pub(crate) wire: Wire<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    /// The certificate that the server has shown.
    pub(crate) shown: Vec<u8>,
}

impl TlsConnection {
    fn new(stream: TlsStream<TcpStream>) -> Self {
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let (reader, writer) = tokio::io::split(stream);
        Self { wire: Wire::new(reader), writer, shown }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.writer.write_all(bytes.as_ref()).await?;
        self.writer.flush().await
    }

    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        within("an answer over TLS", self.try_ask(request)).await.expect("an answer over TLS")
    }

    pub(crate) async fn try_ask(&mut self, request: &Request) -> std::io::Result<Response> {
        self.send(request.bytes()).await?;
        self.wire.response(request.method()).await
    }

    /// Panics unless the server closes as TLS wants it, having sent nothing more.
    pub(crate) async fn assert_closes_politely(&mut self) {
        let end = within("the close of a TLS connection", self.wire.some(u64::MAX)).await;
        assert!(matches!(end, Ok(None)), "no close_notify but {end:?}");
    }
}

impl<Io: tokio::io::AsyncRead + Unpin> Wire<Io> {
    /// The next whole response; a body cut short is an error.
    pub(crate) async fn response(&mut self, method: &str) -> std::io::Result<Response> {
        let start = std::time::Instant::now();
        let head = self.head().await?.ok_or(std::io::ErrorKind::ConnectionAborted)?;
        let mut framing = head.response_framing(method);
        let mut body = Vec::new();
        let trailers = loop {
            match self.part(&mut framing).await? {
                Part::Data(data) => body.extend_from_slice(&data),
                Part::End(trailers) => break trailers,
            }
        };
        Ok(Response { head, interim: Vec::new(), body, trailers, cut_short: None, took: start.elapsed() })
    }
}
