//! A stream that is read only when there is something to read.
//!
//! The protocol machines look for more at every step, several times for each request, and finding nothing costs the
//! runtime's stream as much as reading does. It has promised to call whoever found nothing: until it has, the answer is known.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::bell::Bell;

/// A stream that is not asked again, once it was found dry, before it has called its reader.
#[derive(Debug)]
pub struct Calling<I> {
    io: I,
    call: Arc<Call>,
    /// The same as a waker, made once.
    waker: Waker,
    is_dry: bool,
    /// Who has been told so last, and is called.
    waiting: Option<Waker>,
}

#[derive(Debug, Default)]
struct Call {
    reader: Bell,
    has_come: AtomicBool,
}

impl<I> Calling<I> {
    /// Of a stream that keeps the promise of `poll_read`: who finds nothing is called when there is something.
    pub fn new(io: I) -> Self {
        let call = Arc::<Call>::default();
        Self { io, waker: Waker::from(Arc::clone(&call)), call, is_dry: false, waiting: None }
    }

    /// The stream itself.
    pub fn inner(&self) -> &I {
        &self.io
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_come.store(true, Ordering::Release);
        self.reader.ring();
    }
}

impl<I: Read + Unpin> Read for Calling<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let is_same = this.waiting.as_ref().is_some_and(|waiting| waiting.will_wake(cx.waker()));
        if this.is_dry && is_same && !this.call.has_come.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.call.has_come.store(false, Ordering::Relaxed);
        let read = Pin::new(&mut this.io).poll_read(&mut Context::from_waker(&this.waker), into);
        this.is_dry = read.is_pending();
        if this.is_dry {
            if !is_same {
                this.waiting = Some(cx.waker().clone());
                this.call.reader.call(cx.waker());
            }
            // In this order: a call that went to who waited before is seen here, a later one wakes.
            if this.call.has_come.load(Ordering::Acquire) {
                cx.waker().wake_by_ref();
            }
        }
        read
    }
}

impl<I: Write + Unpin> Write for Calling<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, pieces)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use hyper::rt::ReadBuf;

    use super::*;

    /// Never has anything; counts how often it was asked, and keeps who is to be called.
    #[derive(Default)]
    struct Dry {
        asked: u32,
        reader: Option<Waker>,
        calls_at_once: bool,
    }

    impl Read for Dry {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            _into: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked += 1;
            self.reader = Some(cx.waker().clone());
            if self.calls_at_once {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }
    }

    #[derive(Default)]
    struct Calls(AtomicU32);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(stream: &mut Calling<Dry>, reader: &Arc<Calls>) {
        let (waker, mut space) = (Waker::from(Arc::clone(reader)), [0; 8]);
        let mut buffer = ReadBuf::new(&mut space);
        let read = Pin::new(stream).poll_read(&mut Context::from_waker(&waker), buffer.unfilled());
        assert!(read.is_pending());
    }

    #[test]
    fn a_dry_stream_is_asked_again_when_it_has_called() {
        let (mut stream, reader) = (Calling::new(Dry::default()), Arc::<Calls>::default());
        (0..3).for_each(|_| read(&mut stream, &reader));
        assert_eq!((stream.io.asked, reader.0.load(Ordering::Relaxed)), (1, 0));
        stream.io.reader.take().unwrap().wake();
        assert_eq!(reader.0.load(Ordering::Relaxed), 1);
        (0..3).for_each(|_| read(&mut stream, &reader));
        assert_eq!((stream.io.asked, reader.0.load(Ordering::Relaxed)), (2, 1));
    }

    #[test]
    fn a_call_while_it_is_being_asked_is_not_lost() {
        let (mut stream, reader) = (Calling::new(Dry::default()), Arc::<Calls>::default());
        stream.io.calls_at_once = true;
        for call in 1..4 {
            read(&mut stream, &reader);
            assert_eq!(stream.io.asked, call);
            assert!(reader.0.load(Ordering::Relaxed) >= call);
        }
    }

    #[test]
    fn a_call_that_is_late_takes_no_later_one_with_it() {
        let (mut stream, reader) = (Calling::new(Dry::default()), Arc::<Calls>::default());
        read(&mut stream, &reader);
        // The first half of a call; the reader is polled for another reason before the second.
        stream.call.has_come.store(true, Ordering::Release);
        read(&mut stream, &reader);
        stream.call.reader.ring();
        read(&mut stream, &reader);
        let before = reader.0.load(Ordering::Relaxed);
        stream.io.reader.take().unwrap().wake();
        assert_eq!((stream.io.asked, reader.0.load(Ordering::Relaxed) - before), (2, 1));
    }

    #[test]
    fn the_last_reader_is_called_and_no_earlier_one() {
        let mut stream = Calling::new(Dry::default());
        let readers = [Arc::<Calls>::default(), Arc::<Calls>::default()];
        readers.iter().for_each(|reader| read(&mut stream, reader));
        stream.io.reader.take().unwrap().wake();
        assert_eq!(readers.map(|reader| reader.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
