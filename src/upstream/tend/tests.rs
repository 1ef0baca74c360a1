//! Health checks that end in no usual way, or under other rules than they began under.

use std::sync::atomic::Ordering;

use super::super::testing::{panicking_once, pool, silent, spec};
use super::super::{ServerState, Spec};
use super::*;

/// A second from check to check, of which the first decides.
fn checked_at(path: &'static str) -> Spec {
    let rules = CheckRules { unhealthy_after: 1, healthy_after: 1 };
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(3));
    let health = HealthSpec { path: PathAndQuery::from_static(path), interval, timeout, rules };
    Spec { health: Some(health), ..spec() }
}

fn state(pool: &Pool) -> ServerState {
    pool.standing().state(pool.clock.now())
}

/// Lets so many seconds pass, in which the pool is tended.
async fn tended(pool: &Arc<Pool>, seconds: u64) {
    for _ in 0..seconds {
        pool.tend(pool.clock.now());
        tokio::time::sleep(Duration::from_millis(1101)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_not_the_last_one() {
    let (pool, begun) = panicking_once(&checked_at("/"));
    tended(&pool, 1).await;
    assert_eq!((begun.load(Ordering::Relaxed), state(&pool)), (1, ServerState::Healthy));
    tended(&pool, 2).await;
    assert_eq!((begun.load(Ordering::Relaxed), state(&pool)), (3, ServerState::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn a_check_from_before_a_reload_says_nothing_after_it() {
    for after in [spec(), checked_at("/new")] {
        // Nothing is answered: a check fails after three seconds.
        let pool = pool("http://a", &checked_at("/old"), silent);
        tended(&pool, 2).await;
        pool.reconfigure(&after);
        tended(&pool, 2).await;
        assert_eq!(state(&pool), ServerState::Healthy, "{:?}", after.health);
        tended(&pool, 4).await;
        let expected = if after.health.is_some() { ServerState::Unhealthy } else { ServerState::Healthy };
        assert_eq!(state(&pool), expected);
    }
}
