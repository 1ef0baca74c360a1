//! An upgraded connection: bytes both ways until either side ends it, nothing moves for too long, or the process leaves.
//!
//! It opens only after the upstream's own 101, asked for by the client, and keeps its permit for as long as it lives.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{future, io};

use http::{header, response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::admission::Permit;
use crate::http::fields;
use crate::policy::Afterlife;
use crate::upstream::ResponseBody;

/// Makes the upstream's 101 one for the client: the two fields that make the upgrade stay.
pub(super) fn prepare_answer(parts: &mut response::Parts) {
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    fields::remove_hop_by_hop(&mut parts.headers);
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    parts.headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
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
        let joined = join(client, upstream, idle_timeout);
        tokio::select! {
            outcome = joined => if let Err(error) = outcome {
                tracing::debug!(%error, "an upgraded connection ended");
            },
            () = end.cancelled() => {}
        }
        drop(permit);
    });
}

async fn join(client: OnUpgrade, upstream: ResponseBody, idle_timeout: Option<Duration>) -> io::Result<()> {
    let client = client.await.map_err(io::Error::other)?;
    let Some((server, early, _place)) = upstream.into_tunnel().await else { return Ok(()) };
    let moved = Arc::new(AtomicU64::new(0));
    let mut client = Counted { io: TokioIo::new(client), moved: Arc::clone(&moved) };
    client.write_all(&early).await?;
    let mut server = TokioIo::new(server);
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut client, &mut server) => copied.map(|_| ()),
        () = stalled(&moved, idle_timeout) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Waits until nothing has moved for so long.
async fn stalled(moved: &AtomicU64, idle_timeout: Option<Duration>) {
    let Some(limit) = idle_timeout else { return future::pending().await };
    loop {
        let before = moved.load(Relaxed);
        tokio::time::sleep(limit).await;
        if moved.load(Relaxed) == before {
            return;
        }
    }
}

/// A stream that counts what moves through it.
struct Counted<I> {
    io: I,
    moved: Arc<AtomicU64>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, into);
        self.moved.fetch_add(u64::from(read.is_ready()), Relaxed);
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.moved.fetch_add(u64::from(written.is_ready()), Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
