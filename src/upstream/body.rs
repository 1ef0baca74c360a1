//! The body of an upstream's response, which holds the connection it comes from.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::Instant;

use super::connect::Io;
use super::pool::{Lease, TunnelPlace};
use crate::boxed;
use crate::http::body::{clean, is_empty};
use crate::http::fields::clean_trailers;
use crate::http::tap::{MAX_TAPPED, Tap};

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

/// A body that drives its connection while it is read, and gives the connection back at its end. It is handed on many times
/// before it is read, and copied each time: so it is a box.
#[derive(Debug)]
pub struct ResponseBody(Box<Received>);

#[derive(Debug)]
struct Received {
    incoming: Incoming,
    lease: Option<Lease>,
    patience: Duration,
    /// When the head was there.
    at: Instant,
    /// Whether the first look has found all of it: it may have been there since the head, and its connection counts as idle from
    /// then on, which is too early rather than too late.
    came_with_head: bool,
    /// Frames that were read ahead, to be read once more.
    ahead: Option<Box<Ahead>>,
    /// What is known already of a whole that the server has sent a part of.
    around: Option<Box<Around>>,
}

#[derive(Debug)]
struct Around {
    before: std::vec::IntoIter<Bytes>,
    missing: u64,
    behind: std::vec::IntoIter<Bytes>,
}

impl Around {
    fn left(&self) -> u64 {
        let known = self.before.as_slice().iter().chain(self.behind.as_slice());
        known.map(|chunk| chunk.len() as u64).sum::<u64>() + self.missing
    }
}

type Ahead = VecDeque<Result<Frame<Bytes>, BodyError>>;

impl ResponseBody {
    /// Ties a response to the connection it comes from.
    pub(super) fn attach(
        response: Response<Incoming>,
        received: Instant,
        lease: Lease,
        patience: Duration,
    ) -> Response<Self> {
        let (parts, incoming) = response.into_parts();
        let mut body = boxed::in_place(|| Received {
            incoming,
            lease: Some(lease),
            patience,
            at: received,
            came_with_head: true,
            ahead: None,
            around: None,
        });
        if body.incoming.is_end_stream() && parts.status != http::StatusCode::SWITCHING_PROTOCOLS {
            body.finish();
        }
        Response::from_parts(parts, Self(body))
    }

    /// When the response's head was there.
    pub fn received(&self) -> Instant {
        self.0.at
    }

    /// The bare stream behind a 101, with what the server sent right after it.
    pub async fn into_tunnel(mut self) -> Option<(Box<dyn Io>, Bytes, TunnelPlace)> {
        let (connection, place) = self.0.lease.take()?.detach()?;
        let (io, early) = connection.into_stream().await?;
        Some((io, early, place))
    }

    /// Reads as much as can be tapped; all of it where that is the whole body. What was read can be read once more.
    pub async fn read_ahead(&mut self) -> Option<Vec<u8>> {
        if usize::try_from(self.size_hint().lower()).is_ok_and(|length| length > MAX_TAPPED) {
            return None;
        }
        let (mut ahead, mut tap, mut is_whole) = (VecDeque::new(), Tap::default(), self.is_end_stream());
        while !is_whole && tap.whole().is_some() {
            let Some(frame) = self.frame().await else {
                is_whole = true;
                break;
            };
            let is_broken = frame.is_err();
            frame.iter().filter_map(Frame::data_ref).for_each(|data| tap.push(data));
            ahead.push_back(frame);
            if is_broken {
                break;
            }
        }
        self.0.ahead = (!ahead.is_empty()).then(|| Box::new(ahead));
        tap.whole().filter(|_| is_whole).map(<[u8]>::to_vec)
    }

    /// Makes it the whole that it is a part of: it has exactly the `missing` bytes between these, or it breaks off.
    #[must_use]
    pub fn within(mut self, before: Vec<Bytes>, missing: u64, behind: Vec<Bytes>) -> Self {
        let around = Around { before: before.into_iter(), missing, behind: behind.into_iter() };
        self.0.around = Some(Box::new(around));
        self
    }
}

impl Received {
    /// The body with what is around it; trailers of a part are none of the whole.
    fn poll_around(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(chunk) = self.around.as_mut().and_then(|around| around.before.next()) {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        loop {
            let next = std::task::ready!(self.poll_received(cx)?);
            let Some(around) = &mut self.around else { return Poll::Ready(next.map(Ok)) };
            let Some(frame) = next else {
                let is_short = around.missing > 0;
                let chunk = around.behind.next().map(|chunk| Ok(Frame::data(chunk)));
                return Poll::Ready(if is_short { Some(Err(BodyError::Incomplete)) } else { chunk });
            };
            let Ok(data) = frame.into_data() else { continue };
            match around.missing.checked_sub(data.len() as u64) {
                Some(missing) => around.missing = missing,
                None => return Poll::Ready(Some(Err(BodyError::Incomplete))),
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    /// Nothing more is to come: the connection goes back.
    fn finish(&mut self) {
        match self.lease.take() {
            // The clock need not be read again.
            Some(lease) if self.came_with_head => lease.was_done_at(self.at),
            Some(lease) => lease.give_back(),
            None => {}
        }
    }

    /// What the server sends.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut self.lease {
            Some(lease) => lease.channel().poll_body(&mut self.incoming, cx),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match next {
            Poll::Pending => {
                self.came_with_head = false;
                let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
                lease.channel().poll_stalled(self.patience, cx).map(|()| {
                    self.lease = None;
                    Some(Err(BodyError::Stalled))
                })
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(lease) = &mut self.lease {
                    lease.channel().progressed();
                    if frame.is_trailers() && lease.channel().is_own() {
                        // The library may have taken more for trailers than was: who knows what is read next.
                        self.lease = None;
                        if is_empty(&frame) {
                            return Poll::Ready(Some(Err(BodyError::Incomplete)));
                        }
                    } else if self.incoming.is_end_stream() {
                        self.finish();
                    } else {
                        self.came_with_head = false;
                    }
                }
                Poll::Ready(Some(Ok(clean(frame, clean_trailers))))
            }
            Poll::Ready(Some(Err(_))) => {
                self.lease = None;
                Poll::Ready(Some(Err(BodyError::Incomplete)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
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
        let this = &mut *self.get_mut().0;
        if let Some(frame) = this.ahead.as_mut().and_then(|ahead| ahead.pop_front()) {
            return Poll::Ready(Some(frame));
        }
        if this.around.is_some() { this.poll_around(cx) } else { this.poll_received(cx) }
    }

    fn is_end_stream(&self) -> bool {
        let Received { incoming, ahead, around, .. } = &*self.0;
        let is_read = ahead.as_ref().is_none_or(|ahead| ahead.is_empty());
        is_read && incoming.is_end_stream() && around.as_ref().is_none_or(|around| around.left() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        let unread = match &self.0.around {
            Some(around) => SizeHint::with_exact(around.left()),
            None => self.0.incoming.size_hint(),
        };
        let Some(ahead) = &self.0.ahead else { return unread };
        let read: u64 =
            ahead.iter().flatten().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(unread.lower() + read);
        if let Some(upper) = unread.upper() {
            hint.set_upper(upper + read);
        }
        hint
    }
}
