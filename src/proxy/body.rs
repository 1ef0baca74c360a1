//! The body of an answer, wherever it comes from, with what must live as long as it does.

mod coded;
mod collected;
mod events;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::coded::Coded;
use self::collected::Collected;
use self::events::Events;
use super::exchange::Exchange;
use super::job::StartBody;
use super::part::Window;
use crate::admission::Permit;
use crate::cache::{Collection, Cut, Multipart, StoredBody};
use crate::clock::deadline::Deadline;
use crate::collapse::Reader;
use crate::http::coding::Coding;
use crate::http::encoder::Encoder;
use crate::policy::Sharing;
use crate::upstream::ResponseBody;

/// An answer's body. A request is in flight until it is gone: the permit rides here, and so does the request's record.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// When the whole exchange must be over, where there is a limit.
    deadline: Option<Box<Deadline>>,
    exchange: Option<Box<Exchange>>,
    _permit: Option<Permit>,
}

#[derive(Debug)]
enum Source {
    Empty,
    Whole(Bytes),
    Stored(StoredBody),
    Several(Box<Multipart>),
    Upstream(ResponseBody),
    Flight(Reader<Sharing>),
    Window(Box<Window>),
    Coded(Box<Coded>),
    Collected(Box<Collected>),
    Start(Box<StartBody>),
    Events(Box<Events>),
    Resumed(Box<Resumed>),
    Broken,
}

/// A body of which the beginning was read already.
#[derive(Debug)]
struct Resumed {
    read: VecDeque<Bytes>,
    rest: Body,
}

/// The body broke off: the client must see that it is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the response broke off")]
pub struct BrokenOff;

impl Body {
    fn from(source: Source) -> Self {
        Self { source, deadline: None, exchange: None, _permit: None }
    }

    /// None.
    pub(super) fn empty() -> Self {
        Self::from(Source::Empty)
    }

    /// All at once.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self::from(Source::Whole(bytes))
    }

    /// From the store.
    pub(super) fn stored(body: StoredBody) -> Self {
        Self::from(Source::Stored(body))
    }

    /// From the store, cut to what was asked for.
    pub(super) fn cut(cut: Cut) -> Self {
        match cut {
            Cut::Empty => Self::empty(),
            Cut::Piece(body) => Self::stored(body),
            Cut::Several(body) => Self::from(Source::Several(body)),
        }
    }

    /// From an exchange of this request's own, with these fields in its head. Events have no end but that of the process.
    pub(super) fn upstream(
        headers: &HeaderMap,
        body: ResponseBody,
        permit: Option<Permit>,
        end: &CancellationToken,
    ) -> Self {
        let source = if !body.is_end_stream() && events::are_endless(headers) {
            Source::Events(Box::new(Events::new(body, end.clone())))
        } else {
            Source::Upstream(body)
        };
        Self { _permit: permit, ..Self::from(source) }
    }

    /// The answer to a start, which is to name its job.
    pub(super) fn start(body: StartBody) -> Self {
        Self::from(Source::Start(Box::new(body)))
    }

    /// From a flight.
    pub(super) fn flight(reader: Reader<Sharing>) -> Self {
        Self::from(Source::Flight(reader))
    }

    /// From a flight, cut to what was asked for.
    pub(super) fn window(window: Box<Window>) -> Self {
        Self::from(Source::Window(window))
    }

    /// Gives it a content coding, and says whether it has one now: it stays as it is while too many are being coded. It
    /// knows its length where it was coded before and the copy is kept.
    pub(super) fn encode(&mut self, coding: Coding) -> bool {
        if let Source::Stored(stored) = &self.source
            && let Some(copy) = stored.coded(coding)
        {
            self.source = Source::Stored(copy);
            return true;
        }
        let Ok(encoder) = Encoder::new(coding) else { return false };
        let source = std::mem::replace(&mut self.source, Source::Broken);
        self.source = Source::Coded(Box::new(Coded::begin(source, coding, encoder)));
        true
    }

    /// What was read of it already, and the rest.
    pub(super) fn resumed(read: Vec<Bytes>, rest: Self) -> Self {
        Self::from(Source::Resumed(Box::new(Resumed { read: read.into(), rest })))
    }

    /// Breaks off at this time, where the upstream still sends then; what is in memory already is not held up by it.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        if matches!(
            self.source,
            Source::Upstream(_)
                | Source::Flight(_)
                | Source::Window(_)
                | Source::Collected(_)
                | Source::Start(_)
                | Source::Events(_)
                | Source::Resumed(_)
        ) {
            self.deadline.get_or_insert_default().set(Some(deadline));
        }
        self
    }

    /// What passes by is stored when it has come to its end.
    pub(super) fn collected(self, collection: Option<Box<Collection>>) -> Self {
        match collection {
            // They come to an end, but never to all there is.
            Some(_) if matches!(self.source, Source::Events(_)) => self,
            // Nobody asks for what is not there.
            Some(collection) if self.is_end_stream() => {
                collection.store();
                self
            }
            Some(collection) => {
                let source = Source::Collected(Box::new(Collected::new(self.source, collection)));
                Self { source, ..self }
            }
            None => self,
        }
    }

    /// The request that it answers is over when it is gone.
    pub(super) fn belong_to(&mut self, exchange: Box<Exchange>) {
        self.exchange = Some(exchange);
    }

    /// Ends in an error, but only at the next poll: with the error the protocol machine drops all that it has not
    /// written yet, and a client should see how far the response came.
    fn break_off(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.source = Source::Broken;
        self.deadline = None;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        if this.deadline.as_mut().is_some_and(|deadline| deadline.poll_passed(cx).is_ready()) {
            return this.break_off(cx);
        }
        if matches!(this.source, Source::Broken) {
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        let next = this.source.poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &next {
            return this.break_off(cx);
        }
        if let Poll::Ready(Some(Ok(frame))) = &next
            && let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange)
        {
            exchange.sent(data.remaining());
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stored(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Several(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(|_| BrokenOff),
            Self::Start(body) => Pin::new(body).poll_frame(cx).map_err(|_| BrokenOff),
            Self::Events(events) => events.poll_frame(cx),
            Self::Flight(reader) => Pin::new(reader).poll_frame(cx).map_err(|_| BrokenOff),
            Self::Window(window) => Pin::new(window).poll_frame(cx).map_err(|_| BrokenOff),
            Self::Coded(coded) => coded.poll_frame(cx),
            Self::Collected(collected) => collected.poll_frame(cx),
            Self::Resumed(resumed) => match resumed.read.pop_front() {
                Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
                None => Pin::new(&mut resumed.rest).poll_frame(cx),
            },
            Self::Broken => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stored(body) => body.is_end_stream(),
            Self::Several(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Start(body) => body.is_end_stream(),
            Self::Events(events) => events.is_end_stream(),
            Self::Flight(reader) => reader.is_end_stream(),
            Self::Window(window) => window.is_end_stream(),
            Self::Coded(coded) => coded.is_end_stream(),
            Self::Collected(collected) => collected.source.is_end_stream(),
            Self::Resumed(_) | Self::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stored(body) => body.size_hint(),
            Self::Several(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Start(body) => body.size_hint(),
            Self::Flight(reader) => reader.size_hint(),
            Self::Window(window) => window.size_hint(),
            Self::Collected(collected) => collected.source.size_hint(),
            Self::Events(_) | Self::Coded(_) | Self::Resumed(_) | Self::Broken => SizeHint::default(),
        }
    }
}
