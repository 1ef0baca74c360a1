//! The books of a pool when requests come and go at the wrong moment.

use hyper_util::rt::TokioIo;
use tower::util::BoxCloneSyncService;

use super::super::{Balance, HostHeader, Io};
use super::*;

/// A pool of at most one connection, to a server that never says anything.
fn pool_of_one() -> Arc<Pool> {
    let connector = BoxCloneSyncService::new(tower::service_fn(|_: http::Uri| async {
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let _far = far;
            std::future::pending::<()>().await;
        });
        Ok::<_, std::io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>)
    }));
    Arc::new(Pool::new("http://a".parse().unwrap(), &spec(), connector, Clock::start()))
}

fn limits() -> Limits {
    Limits { acquire_timeout: Duration::from_secs(1), ..Limits::from(&spec()) }
}

fn spec() -> Spec {
    let hour = Duration::from_secs(3600);
    Spec {
        name: "one".into(),
        servers: Vec::new(),
        balance: Balance::RoundRobin,
        max_connections: 1,
        acquire_timeout: hour,
        connect_timeout: hour,
        first_byte_timeout: hour,
        body_timeout: hour,
        idle_timeout: hour,
        max_age: hour,
        retries: 0,
        retry_budget: 0.0,
        breaker: None,
        health: None,
        host: HostHeader::Preserve,
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_to_one_who_leaves_at_that_moment_is_not_lost() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits).await.unwrap();
    let mut leaving = Box::pin(pool.wait_for_one(&limits));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(leaving.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    lease.give_back();
    drop(leaving);
    assert_eq!((pool.stats().open, pool.busy()), (0, 0));
    assert!(pool.wait_for_one(&limits).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_what_is_given_back() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits).await.unwrap();
    assert!(matches!(pool.wait_for_one(&limits).await, Err(Error::AcquireTimeout)));
    let (next, ()) = tokio::join!(pool.wait_for_one(&limits), async { lease.give_back() });
    assert_eq!((next.is_ok(), pool.stats().open, pool.stats().created), (true, 1, 1));
}
