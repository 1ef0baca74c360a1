//! Opening a connection to a server: the one type-erased service, called once for each new connection.
//!
//! It is also the seam at which tests put an origin that lives in memory.

use std::io;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::http::io::Joined;

/// A byte stream to a server.
pub trait Io: Read + Write + Send + Unpin + 'static {}
impl<T: Read + Write + Send + Unpin + 'static> Io for T {}

/// Opens a stream to `http://host:port`.
pub type Connector = BoxCloneSyncService<Uri, Box<dyn Io>, io::Error>;

/// The connector of production: resolves the name, tries all its addresses, switches Nagle off.
pub fn tcp_connector() -> Connector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(60)));
    let boxed = http.map_response(|io| Box::new(Joined(io)) as Box<dyn Io>).map_err(into_io_error);
    BoxCloneSyncService::new(boxed)
}

/// The operating system's error where there is one below; the message tells a failed name from a refused connection.
fn into_io_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>().filter(|io| io.raw_os_error().is_some()) {
            return io.raw_os_error().map_or(io::ErrorKind::Other.into(), io::Error::from_raw_os_error);
        }
        cause = current.source();
    }
    if error.to_string().contains("dns") { io::ErrorKind::NotFound.into() } else { io::Error::other(error) }
}
