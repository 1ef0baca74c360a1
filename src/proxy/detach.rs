//! Work that goes on when nobody waits for it any more: a POST that was sent is let finish.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that, dropped before its end, finishes in a task of its own, if it has got to the point of no return.
struct Detached<F, C>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool,
{
    work: Option<Pin<Box<F>>>,
    must_finish: C,
    alone: fn(F::Output) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs `work` here; if it is dropped when `must_finish` says so, it goes on elsewhere, and `alone` gets its outcome.
pub(super) fn detached<F, C>(
    work: F,
    must_finish: C,
    alone: fn(F::Output) -> Pin<Box<dyn Future<Output = ()> + Send>>,
) -> impl Future<Output = F::Output>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
{
    Detached { work: Some(Box::pin(work)), must_finish, alone }
}

impl<F, C> Future for Detached<F, C>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let Some(work) = &mut this.work else { return Poll::Pending };
        let poll = work.as_mut().poll(cx);
        if poll.is_ready() {
            this.work = None;
        }
        poll
    }
}

impl<F, C> Drop for Detached<F, C>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool,
{
    fn drop(&mut self) {
        if let Some(work) = self.work.take().filter(|_| (self.must_finish)()) {
            let alone = self.alone;
            tokio::spawn(async move { alone(work.await).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    static FINISHED: AtomicU32 = AtomicU32::new(0);

    #[tokio::test]
    async fn work_past_the_point_of_no_return_finishes_when_nobody_waits() {
        for (must_finish, expected) in [(false, 0), (true, 7)] {
            let (release, released) = oneshot::channel::<u32>();
            let (done, is_done) = oneshot::channel::<()>();
            let work = async move {
                let number = released.await.unwrap_or_default();
                drop(done);
                number
            };
            let mut work = Box::pin(detached(
                work,
                move || must_finish,
                |number| Box::pin(async move { FINISHED.store(number, Ordering::SeqCst) }),
            ));
            assert!(std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await.is_pending());
            drop(work);
            let _ = release.send(7);
            let _ = is_done.await;
            tokio::task::yield_now().await;
            assert_eq!(FINISHED.load(Ordering::SeqCst), expected);
        }
    }
}
