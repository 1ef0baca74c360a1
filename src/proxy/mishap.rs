//! A panic in one request ends that request with 500, and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::metrics::Counter;
use crate::refusal::Refusal;

/// Runs a request's future; a panic becomes [`Refusal::Internal`] and is counted. What the future held is dropped by
/// the unwinding: permits and leases are given back.
pub(super) async fn caught<T>(
    work: impl Future<Output = Result<T, Refusal>>,
    panics: &Counter,
) -> Result<T, Refusal> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        // The future is never polled again after a panic, so nobody sees what the panic left half done.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                panics.inc();
                Poll::Ready(Err(Refusal::Internal))
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_internal_error() {
        let panics = Counter::default();
        let outcome = caught::<()>(async { panic!("expected by this test") }, &panics).await;
        assert!(matches!(outcome, Err(Refusal::Internal)));
        assert_eq!(panics.value(), 1);
    }
}
