//! An upgraded connection: bytes both ways until either side ends it, nothing moves for too long, or the process leaves.
//!
//! It opens only after the upstream's own 101, asked for by the client, and keeps its permit for as long as it lives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::admission::Permit;
use crate::http::fields;
use crate::policy::Afterlife;
use crate::refusal::Refusal;
use crate::upstream::ResponseBody;

/// How long one side may be silent after the other has ended: a server that misses the end holds no permit for ever.
const HALF_OPEN: Duration = Duration::from_secs(30);

/// Makes the upstream's 101 one for the client: the two fields that make the upgrade stay.
///
/// # Errors
/// The upstream has switched to a protocol that was not `asked` for (RFC 9110 section 7.8).
pub(super) fn prepare_answer(parts: &mut response::Parts, asked: &HeaderValue) -> Result<(), Refusal> {
    let is_asked_for = |protocol: &[u8]| fields::tokens(asked).any(|one| one.eq_ignore_ascii_case(protocol));
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    let protocol = protocol
        .filter(|protocol| fields::tokens(protocol).all(is_asked_for) && !protocol.is_empty())
        .ok_or(Refusal::UnaskedUpgrade)?;
    fields::remove_hop_by_hop(&mut parts.headers);
    parts.headers.insert(header::UPGRADE, protocol);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(())
}

/// Joins the two ends in a task of their own.
pub(super) fn open(
    afterlife: &Afterlife,
    client: OnUpgrade,
    upstream: ResponseBody,
    permit: Option<Permit>,
    idle_timeout: Option<Duration>,
) {
    let end = afterlife.end.clone();
    afterlife.tasks.spawn(async move {
        if let Err(error) = join(client, upstream, idle_timeout, &end).await {
            tracing::debug!(%error, "an upgraded connection ended");
        }
        drop(permit);
    });
}

async fn join(
    client: OnUpgrade,
    upstream: ResponseBody,
    idle_timeout: Option<Duration>,
    end: &CancellationToken,
) -> io::Result<()> {
    let (client, tunnel) = tokio::select! {
        opened = async { (client.await, upstream.into_tunnel().await) } => opened,
        () = end.cancelled() => return Ok(()),
    };
    let client = client.map_err(io::Error::other)?;
    let Some((server, early, _place)) = tunnel else { return Ok(()) };
    let traffic = Arc::new(Traffic::default());
    let mut client = Counted { io: TokioIo::new(client), traffic: Arc::clone(&traffic) };
    let mut server = Counted { io: TokioIo::new(server), traffic: Arc::clone(&traffic) };
    let copied = async {
        client.write_all(&early).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await
    };
    tokio::select! {
        copied = copied => return copied.map(|_| ()),
        () = stalled(&traffic, idle_timeout) => {}
        () = end.cancelled() => {}
    }
    // Both are told, so that neither takes it for a failure of the network.
    let farewell = async {
        let (to_client, to_server) = tokio::join!(client.shutdown(), server.shutdown());
        to_client.and(to_server)
    };
    // TLS has something to write for it, which who reads nothing any more does not take.
    tokio::time::timeout(HALF_OPEN, farewell).await.unwrap_or(Ok(()))
}

/// Waits until nothing has moved for so long; without a limit, until one side has ended and the other is silent.
async fn stalled(traffic: &Traffic, idle_timeout: Option<Duration>) {
    loop {
        let before = traffic.moved.load(Relaxed);
        tokio::time::sleep(idle_timeout.unwrap_or(HALF_OPEN)).await;
        let may_end = idle_timeout.is_some() || traffic.has_ended.load(Relaxed);
        if may_end && traffic.moved.load(Relaxed) == before {
            return;
        }
    }
}

/// What is known of a tunnel.
#[derive(Debug, Default)]
struct Traffic {
    /// How often bytes moved, either way.
    moved: AtomicU64,
    /// Whether one side has said its last.
    has_ended: AtomicBool,
}

/// A stream that tells what moves through it.
struct Counted<I> {
    io: I,
    traffic: Arc<Traffic>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, into);
        if read.is_ready() {
            self.traffic.moved.fetch_add(1, Relaxed);
            if into.filled().len() == before {
                self.traffic.has_ended.store(true, Relaxed);
            }
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.traffic.moved.fetch_add(u64::from(written.is_ready()), Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_without_a_limit_stays_open_until_one_side_ends_and_the_other_is_silent() {
        let traffic = Arc::new(Traffic::default());
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, stalled(&traffic, None)).await.is_err());
        let mut side = Counted { io: tokio::io::empty(), traffic: Arc::clone(&traffic) };
        assert_eq!(side.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(tokio::time::timeout(3 * HALF_OPEN, stalled(&traffic, None)).await.is_ok());
    }
}
