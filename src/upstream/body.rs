//! The body of an upstream's response, which holds the connection it comes from.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;

use super::connect::Io;
use super::pool::{Lease, TunnelPlace};
use crate::http::body::clean;

/// Why a body did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The connection ended, or the framing was broken.
    #[error("the upstream broke off its response")]
    Incomplete,
    /// Nothing came for longer than `body_timeout`.
    #[error("the upstream stalled in its response")]
    Stalled,
}

/// A body that drives its connection while it is read, and gives the connection back at its end.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    patience: Duration,
}

impl ResponseBody {
    /// Ties a response to the connection it comes from.
    pub(super) fn attach(
        response: Response<Incoming>,
        mut lease: Lease,
        patience: Duration,
    ) -> Response<Self> {
        let (parts, incoming) = response.into_parts();
        lease.connection().keep_alive = keep_alive(&parts.headers);
        let mut body = Self { incoming, lease: Some(lease), patience };
        if body.incoming.is_end_stream() && parts.status != http::StatusCode::SWITCHING_PROTOCOLS {
            body.finish();
        }
        Response::from_parts(parts, body)
    }

    /// The bare stream behind a 101, with what the server sent right after it.
    pub async fn into_tunnel(mut self) -> Option<(Box<dyn Io>, Bytes, TunnelPlace)> {
        let (connection, place) = self.lease.take()?.detach();
        let (io, early) = connection?.into_stream().await?;
        Some((io, early, place))
    }

    /// Nothing more is to come: the connection goes back.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut next = Pin::new(&mut this.incoming).poll_frame(cx);
        if next.is_pending() {
            // The first poll has told the connection that a chunk is wanted; now it may read one.
            let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
            lease.connection().drive(cx);
            next = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match next {
            Poll::Pending => {
                let Some(lease) = &mut this.lease else { return Poll::Ready(None) };
                lease.connection().poll_stalled(this.patience, cx).map(|()| {
                    this.lease = None;
                    Some(Err(BodyError::Stalled))
                })
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(lease) = &mut this.lease {
                    lease.connection().progressed();
                    if this.incoming.is_end_stream() {
                        lease.connection().drive(cx);
                        this.finish();
                    }
                }
                Poll::Ready(Some(Ok(clean(frame))))
            }
            Poll::Ready(Some(Err(_))) => {
                this.lease = None;
                Poll::Ready(Some(Err(BodyError::Incomplete)))
            }
            Poll::Ready(None) => {
                if let Some(lease) = &mut this.lease {
                    lease.connection().drive(cx);
                }
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// `Keep-Alive: timeout=N` less a second, so that we let go of the connection before the server does.
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::HeaderName::from_static("keep-alive"))?.to_str().ok()?;
    let seconds =
        value.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.parse::<u64>().ok())?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}
