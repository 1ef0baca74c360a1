//! The books of a pool when requests come and go at the wrong moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tower::util::BoxCloneSyncService;

use super::super::{Address, Balance, HostHeader, Io, Name};
use super::limits::scattered;
use super::*;

/// A pool of at most one connection, to a server that never says anything.
fn pool_of_one() -> Arc<Pool> {
    let connector = BoxCloneSyncService::new(tower::service_fn(|_: Address| async {
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let _far = far;
            std::future::pending::<()>().await;
        });
        Ok::<_, std::io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>)
    }));
    Arc::new(Pool::new("http://a".parse().unwrap(), &spec(), Network::in_memory(connector), Clock::start()))
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
        dns_refresh: hour,
        idle_timeout: hour,
        max_age: hour,
        retries: 0,
        retry_budget: 0.0,
        breaker: None,
        tls: None,
        health: None,
        host: HostHeader::Preserve,
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_to_one_who_leaves_at_that_moment_is_not_lost() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits, false).await.unwrap();
    let mut leaving = Box::pin(pool.wait_for_one(&limits, false));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(leaving.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    lease.give_back();
    drop(leaving);
    assert_eq!((pool.stats().open, pool.busy()), (0, 0));
    assert!(pool.wait_for_one(&limits, false).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_an_address_that_has_vanished_is_not_used_again() {
    let turn = Arc::new(std::sync::atomic::AtomicU16::new(0));
    let other_each_time = tower::service_fn(move |_: Name| {
        let port = turn.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, std::io::Error>(vec![([10, 0, 0, 1], port).into()]) }
    });
    let connector = pool_of_one().dialer.connector();
    let network = Network { connector, resolver: BoxCloneSyncService::new(other_each_time) };
    let (clock, limits) = (Clock::start(), limits());
    let spec = Spec { max_connections: 2, ..spec() };
    let pool = Arc::new(Pool::new("http://a".parse().unwrap(), &spec, network, clock));
    let [leased, idle] =
        [pool.wait_for_one(&limits, false).await.unwrap(), pool.wait_for_one(&limits, false).await.unwrap()];
    idle.give_back();
    assert!(pool.dialer.addresses.look_up(clock.now()).await);
    pool.sweep(clock.now());
    assert_eq!((pool.stats().open, pool.stats().idle), (1, 0));
    leased.give_back();
    assert_eq!(pool.stats().open, 0);
}

#[test]
fn connections_end_a_tenth_earlier_or_later_than_their_age() {
    let (hour, born) = (Duration::from_secs(3600), Clock::start().now() + Duration::from_secs(7200));
    let ends: Vec<_> = (0..100).map(|_| scattered(born, hour) + hour).collect();
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*first >= born + hour * 9 / 10 && *last <= born + hour * 11 / 10 && last > first);
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_what_is_given_back() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits, false).await.unwrap();
    assert!(matches!(pool.wait_for_one(&limits, false).await, Err(Error::AcquireTimeout)));
    let (next, ()) = tokio::join!(pool.wait_for_one(&limits, false), async { lease.give_back() });
    assert_eq!((next.is_ok(), pool.stats().open, pool.stats().created), (true, 1, 1));
}
