//! A panic in one request ends that request with 500, and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::metrics::Counter;
use crate::refusal::Refusal;

/// Runs a step; a panic becomes [`Refusal::Internal`] and is counted. What the step held is dropped by the unwinding:
/// permits and leases are given back.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Refusal>, panics: &Counter) -> Result<T, Refusal> {
    // What a panic leaves half done belongs to this request alone, and is never looked at again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        panics.inc();
        Err(Refusal::Internal)
    })
}

/// The same for steps that wait.
pub(super) async fn caught_in_time<T>(
    mut work: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
    panics: &Counter,
) -> Result<T, Refusal> {
    // Where it lands: handed on from call to call it would be copied at each.
    let mut outcome = Err(Refusal::Internal);
    std::future::poll_fn(|cx| {
        caught(|| Ok(work.as_mut().poll(cx).map(|done| outcome = done)), panics).unwrap_or(Poll::Ready(()))
    })
    .await;
    outcome
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let panics = Counter::default();
        let now = caught::<()>(|| panic!("expected by this test"), &panics);
        assert!(matches!(now, Err(Refusal::Internal)));
        let work = pin!(async { panic!("expected by this test") });
        let in_time = caught_in_time::<()>(work, &panics).await;
        assert!(matches!(in_time, Err(Refusal::Internal)));
        let work = pin!(async {
            tokio::task::yield_now().await;
            panic!("expected by this test")
        });
        let later = caught_in_time::<()>(work, &panics).await;
        assert!(matches!(later, Err(Refusal::Internal)));
        assert_eq!(panics.value(), 3);
    }
}
