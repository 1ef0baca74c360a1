//! What an exchange goes over: an HTTP/1.1 connection of its own, or a stream of an HTTP/2 connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use super::connection::Connection;
use super::multiplexed::{Multiplexed, Stream};
use super::sending::Sending;
use super::{Error, Patience};

/// What an exchange goes over.
#[derive(Debug)]
pub(super) enum Channel {
    Own(Box<Connection>),
    Stream(Box<Stream>),
}

/// A connection that was just opened.
#[derive(Debug)]
pub(super) enum Opened {
    Own(Box<Connection>),
    Shared(Multiplexed),
}

impl Opened {
    /// All of it, for one exchange.
    pub(super) fn into_channel(self) -> Channel {
        match self {
            Self::Own(connection) => Channel::Own(connection),
            Self::Shared(connection) => Channel::Stream(Box::new(Arc::new(connection).stream())),
        }
    }
}

impl Channel {
    /// Whether the connection has been used before, so that the server may just be closing it.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Own(connection) => connection.is_used,
            Self::Stream(stream) => stream.is_kept,
        }
    }

    /// Whether it is a whole connection.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Sends a request and waits for the response's head, whose status it tells, or until patience ends.
    pub(super) async fn exchange(
        &mut self,
        sending: &mut Sending<'_>,
        patience: Option<Patience>,
    ) -> Result<StatusCode, Error> {
        match self {
            Self::Own(connection) => connection.exchange(sending, patience).await,
            Self::Stream(stream) => Box::pin(stream.exchange(sending, patience)).await,
        }
    }

    /// Reads on until `body`, which comes through here, has something.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self {
            Self::Own(connection) => connection.poll_body(body, cx),
            Self::Stream(_) => Pin::new(body).poll_frame(cx),
        }
    }

    /// Ready when nothing has come for `limit`; to be asked while waiting for a chunk.
    pub(super) fn poll_stalled(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Own(connection) => connection.poll_stalled(limit),
            Self::Stream(stream) => stream.poll_stalled(limit, cx),
        }
    }

    /// A chunk came: the wait begins anew.
    pub(super) fn progressed(&mut self) {
        match self {
            Self::Own(connection) => connection.progressed(),
            Self::Stream(stream) => stream.progressed(),
        }
    }
}
