//! A client that speaks no TLS on a port that does: most often somebody who wrote http:// for https://.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 48\r\n\
    Connection: close\r\n\
    \r\n\
    A plain HTTP request on an HTTPS port: https://\n";
/// How much of the request is read after the answer, so that the client finds it before a reset, and for how long.
const LINGER: (u64, Duration) = (64 * 1024, Duration::from_secs(1));

/// Says so to whoever may be speaking HTTP, and closes.
pub(super) async fn turn_away(mut stream: TcpStream, [first]: [u8; 1]) {
    if !first.is_ascii_uppercase() {
        return;
    }
    let said = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut (&mut stream).take(LINGER.0), &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER.1, said).await;
}
