//! A body that gets a content coding on its way to a client.
//!
//! Promises: what has come is never held back while more is awaited; a long body does not keep a worker from others for
//! long; what comes from the store leaves a copy in the coding there, so that the next one costs nothing.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::{BrokenOff, Source};
use crate::cache::Copying;
use crate::http::coding::Coding;
use crate::http::encoder::Encoder;

/// How much is coded at once, in bytes: some tenths of a millisecond.
const PIECE: usize = 16 * 1024;

/// How much is coded before others have their turn, in bytes.
const TURN: usize = 128 * 1024;

/// How much comes out at once unless the source has to be waited for, in bytes.
const FRAME: usize = 8 * 1024;

/// A body in a coding.
#[derive(Debug)]
pub(super) struct Coded {
    source: Source,
    /// Gone once the body has ended.
    encoder: Option<Encoder>,
    /// What has come and is not coded yet.
    waiting: Bytes,
    /// Coded since others had their turn, in bytes.
    in_turn: usize,
    is_flushed: bool,
    trailers: Option<HeaderMap>,
    /// What is to be kept beside the stored body.
    copy: Option<Copying>,
}

type Next = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

impl Coded {
    /// Nothing of the source was read yet.
    pub(super) fn begin(source: Source, coding: Coding, encoder: Encoder) -> Self {
        let copy = match &source {
            Source::Stored(stored) => stored.copying(coding),
            _ => None,
        };
        Self {
            source,
            encoder: Some(encoder),
            waiting: Bytes::new(),
            in_turn: 0,
            is_flushed: true,
            trailers: None,
            copy,
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Next {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            if !self.waiting.is_empty() {
                if self.in_turn >= TURN {
                    self.in_turn = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let piece = self.waiting.split_to(self.waiting.len().min(PIECE));
                encoder.write(&piece).map_err(|_| BrokenOff)?;
                self.in_turn += piece.len();
                self.is_flushed = false;
                if encoder.ready() >= FRAME {
                    return self.out();
                }
                continue;
            }
            match self.source.poll_frame(cx)? {
                Poll::Ready(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.waiting = data,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(None) => return self.end(),
                Poll::Pending => {
                    self.in_turn = 0;
                    if self.is_flushed {
                        return Poll::Pending;
                    }
                    encoder.flush().map_err(|_| BrokenOff)?;
                    self.is_flushed = true;
                    if encoder.ready() > 0 {
                        return self.out();
                    }
                }
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn out(&mut self) -> Next {
        let data = self.encoder.as_mut().map(Encoder::take).unwrap_or_default();
        self.remember(&data);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn end(&mut self) -> Next {
        let Some(encoder) = self.encoder.take() else { return Poll::Ready(None) };
        let data = encoder.finish().map_err(|_| BrokenOff)?;
        self.remember(&data);
        if let Some(copy) = self.copy.take() {
            copy.keep();
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn remember(&mut self, data: &Bytes) {
        self.copy.take_if(|copy| !copy.add(data));
    }
}
