//! A body that is stored while its client reads it.
//!
//! Promises: what is stored is what came, before it gets a content coding; nothing is stored unless all of it came.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::{BrokenOff, Source};
use crate::cache::Collection;

/// A body, and what is stored of it once it has come to its end.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) source: Source,
    /// None once it is stored, or will not be.
    collection: Option<Box<Collection>>,
}

impl Collected {
    pub(super) fn new(source: Source, collection: Box<Collection>) -> Self {
        Self { source, collection: Some(collection) }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let next = self.source.poll_frame(cx);
        self.collect(&next);
        next
    }

    /// Stores what passes by once all of it has; the last chunk may be the last thing that anybody asks for.
    fn collect(&mut self, next: &Poll<Option<Result<Frame<Bytes>, BrokenOff>>>) {
        let Some(collection) = &mut self.collection else { return };
        let (goes_on, is_over) = match next {
            Poll::Pending => (true, false),
            Poll::Ready(None) => (true, true),
            Poll::Ready(Some(Err(_))) => (false, false),
            Poll::Ready(Some(Ok(frame))) => {
                (frame.data_ref().is_none_or(|data| collection.add(data)), self.source.is_end_stream())
            }
        };
        if is_over || !goes_on {
            self.collection.take().filter(|_| goes_on).into_iter().for_each(|collection| collection.store());
        }
    }
}
