//! Work that goes on when nobody waits for it any more: a POST that was sent is let finish.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;

/// A future that, dropped before its end, finishes in a task of its own, if it has got to the point of no return.
struct Detached<F, C, A, L>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
    A: FnOnce(F::Output) -> L + Send + Unpin + 'static,
    L: Future<Output = ()> + Send,
{
    work: Option<Pin<Box<F>>>,
    must_finish: C,
    alone: Option<A>,
    tasks: TaskTracker,
}

/// Runs `work` here; if it is dropped when `must_finish` says so, it goes on as one of `tasks`, and `alone` gets its
/// outcome.
pub(super) fn detached<F, C, A, L>(
    work: F,
    must_finish: C,
    alone: A,
    tasks: TaskTracker,
) -> impl Future<Output = F::Output>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
    A: FnOnce(F::Output) -> L + Send + Unpin + 'static,
    L: Future<Output = ()> + Send,
{
    Detached { work: Some(Box::pin(work)), must_finish, alone: Some(alone), tasks }
}

impl<F, C, A, L> Future for Detached<F, C, A, L>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
    A: FnOnce(F::Output) -> L + Send + Unpin + 'static,
    L: Future<Output = ()> + Send,
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

impl<F, C, A, L> Drop for Detached<F, C, A, L>
where
    F: Future<Output: Send> + Send + 'static,
    C: Fn() -> bool + Unpin,
    A: FnOnce(F::Output) -> L + Send + Unpin + 'static,
    L: Future<Output = ()> + Send,
{
    fn drop(&mut self) {
        let work = self.work.take().filter(|_| (self.must_finish)());
        if let (Some(work), Some(alone)) = (work, self.alone.take()) {
            self.tasks.spawn(async move { alone(work.await).await });
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
            let tasks = TaskTracker::new();
            let alone = |number| async move { FINISHED.store(number, Ordering::SeqCst) };
            let mut work = Box::pin(detached(work, move || must_finish, alone, tasks.clone()));
            assert!(std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await.is_pending());
            drop(work);
            let _ = release.send(7);
            let _ = is_done.await;
            tasks.close();
            tasks.wait().await;
            assert_eq!(FINISHED.load(Ordering::SeqCst), expected);
        }
    }
}
