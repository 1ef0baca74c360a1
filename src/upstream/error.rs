//! Why an upstream gave no usable response, and what follows from that.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// No descriptor is left, in the system or for the process: ENFILE and EMFILE, the same numbers on every Unix.
const NONE_LEFT: [i32; 2] = [23, 24];

/// Why an upstream gave no usable response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Every server is out; nothing was sent.
    #[error("no server of the upstream is in order")]
    NoServer {
        /// When one of them may be tried.
        retry_after: Duration,
    },
    /// No connection was free in time.
    #[error("no connection to the upstream became free in time")]
    AcquireTimeout,
    /// The process has no descriptors left; nothing was sent.
    #[error("forebay has no file descriptors left for a connection to the upstream")]
    NoDescriptors,
    /// The server refused, or could not be reached.
    #[error("the upstream refused the connection or could not be reached")]
    ConnectionRefused,
    /// The connection did not open in time.
    #[error("the connection to the upstream did not open in time")]
    ConnectTimeout,
    /// The server's certificate is not to be believed.
    #[error("the upstream's certificate was not accepted")]
    TlsCertificate,
    /// The server does not want us.
    #[error("the upstream refused the TLS handshake")]
    TlsAlert,
    /// The handshake failed otherwise.
    #[error("the TLS handshake with the upstream failed")]
    TlsProtocol,
    /// Another protocol was asked for on a connection that many share.
    #[error("the upstream speaks HTTP/2, in which there are no upgrades")]
    NoUpgrade,
    /// The name of the server did not resolve.
    #[error("the name of the upstream server could not be resolved")]
    Dns,
    /// The connection ended before a response.
    #[error("the upstream closed the connection before it answered")]
    ConnectionTerminated,
    /// The connection ended in the head of a response.
    #[error("the upstream broke off in the head of its response")]
    Incomplete,
    /// The head of the response is larger than anything we read.
    #[error("the head of the upstream's response was too large")]
    HeadTooLarge,
    /// What came back is no HTTP response.
    #[error("the upstream's response was not valid HTTP")]
    InvalidResponse,
    /// No response head in time.
    #[error("the upstream did not answer in time")]
    ResponseTimeout,
}

impl Error {
    /// What `error` means, where it is not our own want of descriptors.
    pub(super) fn unless_none_are_left(self, error: &io::Error) -> Self {
        let is_none_left = error.raw_os_error().is_some_and(|code| NONE_LEFT.contains(&code));
        if is_none_left { Self::NoDescriptors } else { self }
    }

    /// Whether the request found no place at a server: it came to no attempt then.
    pub(super) fn is_without_attempt(self) -> bool {
        matches!(self, Self::AcquireTimeout | Self::NoServer { .. } | Self::NoDescriptors | Self::NoUpgrade)
    }

    /// Whether it speaks against the server rather than against how much is asked of it, and of us.
    pub(super) fn blames_the_server(self) -> bool {
        !self.is_without_attempt()
    }

    /// Whether another try makes sense. A server that has just refused is not asked again at once, but another one may be;
    /// who has waited for a connection in vain has waited enough.
    pub(super) fn is_worth_another_try(self, servers: usize) -> bool {
        match self {
            Self::AcquireTimeout | Self::NoServer { .. } | Self::NoDescriptors | Self::NoUpgrade => false,
            Self::ConnectionRefused
            | Self::ConnectTimeout
            | Self::Dns
            | Self::TlsCertificate
            | Self::TlsAlert
            | Self::TlsProtocol => servers > 1,
            Self::ConnectionTerminated
            | Self::Incomplete
            | Self::HeadTooLarge
            | Self::InvalidResponse
            | Self::ResponseTimeout => true,
        }
    }
}
