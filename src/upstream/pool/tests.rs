//! The books of a pool when requests come and go, and servers say things, at the wrong moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tower::util::BoxCloneSyncService;

use super::super::standing::BreakerRules;
use super::super::testing::{panicking_once, pool, silent, spec};
use super::super::{Address, Io, Name};
use super::limits::scattered;
use super::queue::Need;
use super::*;
use crate::http::body::RequestBody;

const ANY: Need = Need { offer: Offer::All, must_be_new: false };

/// A pool of at most one connection, to a server that never says anything.
fn pool_of_one() -> Arc<Pool> {
    pool("http://a", &spec(), silent)
}

fn limits() -> Limits {
    Limits { acquire_timeout: Duration::from_secs(1), ..Limits::from(&spec()) }
}

#[tokio::test(start_paused = true)]
async fn a_connection_given_to_one_who_leaves_at_that_moment_is_not_lost() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits, ANY).await.unwrap();
    let mut leaving = Box::pin(pool.wait_for_one(&limits, ANY));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(leaving.as_mut().poll(cx)));
    assert!(polled.await.is_pending());
    lease.give_back();
    drop(leaving);
    assert_eq!((pool.stats().open, pool.busy()), (0, 0));
    assert!(pool.wait_for_one(&limits, ANY).await.is_ok());
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
        [pool.wait_for_one(&limits, ANY).await.unwrap(), pool.wait_for_one(&limits, ANY).await.unwrap()];
    idle.give_back();
    assert_eq!(pool.dialer.addresses.look_up(clock.now()).await, Ok(true));
    pool.sweep(clock.now());
    assert_eq!((pool.stats().open, pool.stats().idle), (1, 0));
    leased.give_back();
    assert!(pool.take_kept(ANY, &limits, clock.now()).is_none());
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
    let lease = pool.wait_for_one(&limits, ANY).await.unwrap();
    assert!(matches!(pool.wait_for_one(&limits, ANY).await, Err(Error::AcquireTimeout)));
    let (next, ()) = tokio::join!(pool.wait_for_one(&limits, ANY), async { lease.give_back() });
    assert_eq!((next.is_ok(), pool.stats().open, pool.stats().created), (true, 1, 1));
}

/// Answers each request with these pieces, and waits so long behind each.
async fn in_pieces(mut stream: DuplexStream, pieces: [(&str, u64); 2]) {
    let mut head = [0; 1024];
    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
        for (piece, seconds) in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }
}

/// The answer to a request, by these limits.
async fn answer(pool: &Arc<Pool>, limits: &Limits) -> http::Response<ResponseBody> {
    let mut request = Request::new(RequestBody::Empty);
    request.headers_mut().insert("host", "a".parse().unwrap());
    let mut sending = Sending::new(Box::new(request), None, pool.clock.now());
    pool.exchange(&mut sending, None, limits).await.unwrap();
    sending.into_answer()
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_since_the_end_of_its_answer_or_the_head_that_it_came_with() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1";
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n12";
    for (pieces, idle_since) in [([(head, 40), ("2", 0)], 40), ([(whole, 0), ("", 0)], 0)] {
        let spec = Spec { idle_timeout: Duration::from_secs(30), ..spec() };
        let pool = pool("http://a", &spec, move |stream| in_pieces(stream, pieces));
        let response = answer(&pool, &Limits::from(&spec)).await;
        let began = response.body().received();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(response.collect().await.unwrap().to_bytes(), "12");
        for (waited, is_kept) in [(29, 1), (31, 0)] {
            pool.sweep(began + Duration::from_secs(idle_since + waited));
            assert_eq!(pool.stats().idle, is_kept, "{pieces:?} {waited}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_fails_by_rules_that_are_gone_is_not_out_for_ever() {
    let rules = BreakerRules { failures: 2, open: Duration::from_secs(1) };
    let before = Spec { breaker: Some(rules), ..spec() };
    let sick = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    for (after, is_out) in [(before.clone(), true), (Spec { breaker: None, ..before.clone() }, false)] {
        let pool = pool("http://a", &before, move |stream| in_pieces(stream, [(sick, 0), ("", 0)]));
        pool.reconfigure(&after);
        for _ in 0..3 {
            assert_eq!(answer(&pool, &Limits::from(&before)).await.status(), 503);
        }
        assert_eq!(pool.standing().is_doubted(), is_out);
    }
}

#[tokio::test(start_paused = true)]
async fn who_must_have_a_new_connection_gets_one_where_all_are_in_use() {
    let (pool, limits) = (pool_of_one(), limits());
    let mut lease = pool.wait_for_one(&limits, ANY).await.unwrap();
    let Channel::Own(connection) = lease.channel() else { panic!("it speaks HTTP/1.1") };
    connection.is_used = true;
    let sent_again = pool.wait_for_one(&limits, Need { must_be_new: true, ..ANY });
    let give_back = async { lease.give_back() };
    let (sent_again, behind_it, ()) =
        tokio::join!(biased; sent_again, pool.wait_for_one(&limits, ANY), give_back);
    assert!(sent_again.is_ok() && matches!(behind_it, Err(Error::AcquireTimeout)), "{behind_it:?}");
    assert_eq!((pool.stats().open, pool.stats().created), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_where_all_who_waited_have_left() {
    let (pool, limits) = (pool_of_one(), limits());
    let mut lease = pool.wait_for_one(&limits, ANY).await.unwrap();
    let Channel::Own(connection) = lease.channel() else { panic!("it speaks HTTP/1.1") };
    connection.is_used = true;
    assert!(matches!(pool.wait_for_one(&limits, ANY).await, Err(Error::AcquireTimeout)));
    lease.give_back();
    assert_eq!((pool.stats().open, pool.stats().idle), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_free_place_is_for_the_connection_of_all_before_it_is_for_an_upgrade() {
    let (pool, limits) = (pool_of_one(), limits());
    let lease = pool.wait_for_one(&limits, ANY).await.unwrap();
    let upgrade = pool.wait_for_one(&limits, Need { offer: Offer::Http1, ..ANY });
    let place_is_free = async {
        drop(lease);
        let state = pool.state.lock();
        (state.line.dialing, state.upgrades.dialing)
    };
    let (_, _, dialing) = tokio::join!(biased; upgrade, pool.wait_for_one(&limits, ANY), place_is_free);
    assert_eq!(dialing, (1, 0));
}

/// A SETTINGS frame that allows so many streams (RFC 9113 section 6.5.2).
fn allowing(streams: u8) -> [u8; 15] {
    [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// Sweeps a pool every second, as the process does.
fn swept(pool: &Arc<Pool>) {
    let pool = Arc::clone(pool);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pool.sweep(pool.clock.now());
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_allows_no_streams_is_sent_no_storm_of_connections() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let serve = move |mut stream: DuplexStream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            stream.write_all(&allowing(0)).await.unwrap();
            silent(stream).await;
        }
    };
    let spec = Spec { max_connections: 0, acquire_timeout: Duration::from_secs(10), ..spec() };
    let (pool, limits) = (pool("h2c://a", &spec, serve), Arc::new(Limits::from(&spec)));
    swept(&pool);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (pool, limits) = (Arc::clone(&pool), Arc::clone(&limits));
        waiting.spawn(async move { pool.wait_for_one(&limits, ANY).await.err() });
    }
    let outcomes = waiting.join_all().await;
    assert_eq!(outcomes, vec![Some(Error::AcquireTimeout); 100]);
    let opened = opened.load(Ordering::Relaxed);
    assert!((2..=11).contains(&opened), "{opened} connections within ten seconds");
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_a_stream_when_the_server_allows_more() {
    let serve = |mut stream: DuplexStream| async move {
        stream.write_all(&allowing(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        stream.write_all(&allowing(3)).await.unwrap();
        silent(stream).await;
    };
    let pool = pool("h2c://a", &spec(), serve);
    let limits = Limits { acquire_timeout: Duration::from_secs(8), ..limits() };
    swept(&pool);
    let _first = pool.wait_for_one(&limits, ANY).await.unwrap();
    let both = tokio::join!(pool.wait_for_one(&limits, ANY), pool.wait_for_one(&limits, ANY));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert!(matches!(pool.wait_for_one(&limits, ANY).await, Err(Error::AcquireTimeout)), "three, no more");
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_used_though_none_is_ever_kept() {
    let serve = |mut stream: DuplexStream| async move {
        stream.write_all(&allowing(10)).await.unwrap();
        silent(stream).await;
    };
    let spec = Spec { idle_timeout: Duration::ZERO, ..spec() };
    let pool = pool("h2c://a", &spec, serve);
    assert!(pool.wait_for_one(&Limits::from(&spec), ANY).await.is_ok());
    assert_eq!(pool.stats().created, 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_lost_before_the_settings_come_is_told_at_once() {
    let closes = |stream: DuplexStream| async move { drop(stream) };
    let speaks_http_1 = |mut stream: DuplexStream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        silent(stream).await;
    };
    for pool in [pool("h2c://a", &spec(), closes), pool("h2c://a", &spec(), speaks_http_1)] {
        let began = pool.clock.now();
        let outcome = pool.wait_for_one(&Limits::from(&spec()), ANY).await;
        assert!(matches!(outcome, Err(Error::ConnectionRefused)), "{outcome:?}");
        assert!(pool.clock.now() - began < Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_settings_of_a_server_come_within_the_time_for_connecting() {
    let slow = tower::service_fn(|_: Address| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(silent(far));
        Ok::<_, std::io::Error>(Box::new(TokioIo::new(near)) as Box<dyn Io>)
    });
    let network = Network::in_memory(BoxCloneSyncService::new(slow));
    let spec = Spec { connect_timeout: Duration::from_secs(3), ..spec() };
    let pool = Arc::new(Pool::new("h2c://a".parse().unwrap(), &spec, network, Clock::start()));
    let began = pool.clock.now();
    assert!(matches!(pool.wait_for_one(&Limits::from(&spec), ANY).await, Err(Error::ConnectTimeout)));
    assert!(pool.clock.now() - began < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_opening_keeps_no_place() {
    let (pool, opened) = panicking_once(&spec());
    assert!(matches!(pool.wait_for_one(&limits(), ANY).await, Err(Error::ConnectionRefused)));
    assert_eq!(pool.stats().open, 0);
    assert!(pool.wait_for_one(&limits(), ANY).await.is_ok(), "the one place is free");
    assert_eq!(opened.load(Ordering::Relaxed), 2);
}
