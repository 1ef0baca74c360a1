//! Waiting for facts: a condition with a generous deadline and a message, never a bare sleep.

use std::future::Future;
use std::time::{Duration, Instant};

/// Longer than anything should take, also on a small machine that does other work besides.
const DEADLINE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Returns once `condition` holds; panics with `what` when it does not within the deadline.
pub(crate) async fn wait_until<Check, Answer>(what: &str, mut condition: Check)
where
    Check: FnMut() -> Answer,
    Answer: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// The output of `future`; panics with `what` when it takes longer than the deadline.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Short for `Duration::from_secs_f64`.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
