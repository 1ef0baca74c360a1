use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::advance;

use super::*;
use crate::clock::Clock;

fn spec(max: usize) -> Spec {
    Spec {
        name: "scans".into(),
        max,
        auto: None,
        per: None,
        queue: None,
        status: StatusCode::TOO_MANY_REQUESTS,
        observe: false,
    }
}

fn queued(max: usize, size: usize) -> Spec {
    Spec { queue: Some(QueueSpec { size, timeout: seconds(10) }), ..spec(max) }
}

fn pool(spec: Spec) -> Arc<Pool> {
    Arc::new(Pool::new(spec, Clock::start()))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn asking(client: u128) -> Asking {
    Asking { per_key: Some(PartitionKey(client)), client: PartitionKey(client), priority: 5 }
}

fn urgent(client: u128, priority: u8) -> Asking {
    Asking { priority, ..asking(client) }
}

/// A request on its way into the pool.
struct Request<'p>(Pin<Box<dyn Future<Output = Result<Permit, Shed>> + 'p>>);

impl<'p> Request<'p> {
    fn new(pool: &'p Arc<Pool>, asking: Asking) -> Self {
        Self(Box::pin(pool.admit(asking)))
    }

    /// Polled once, and still waiting.
    fn waiting(pool: &'p Arc<Pool>, asking: Asking) -> Self {
        let mut request = Self::new(pool, asking);
        assert!(request.poll().is_none());
        request
    }

    fn poll(&mut self) -> Option<Result<Permit, Shed>> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_one_too_many_is_refused_at_once() {
    let pool = pool(spec(2));
    let first = pool.admit(asking(1)).await.unwrap();
    let second = pool.admit(asking(2)).await.unwrap();
    let shed = pool.admit(asking(3)).await.unwrap_err();
    assert_eq!((shed.reason, shed.status), (ShedReason::Full, StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(shed.retry_after, seconds(1));
    drop(first);
    let third = pool.admit(asking(3)).await.unwrap();
    assert_eq!(pool.stats().in_flight, 2);
    drop((second, third));
    assert_eq!(pool.stats().in_flight, 0);
    assert_eq!(pool.shed_by(ShedReason::Full), 1);
}

#[tokio::test(start_paused = true)]
async fn one_key_gets_no_more_than_its_share() {
    let pool = pool(Spec { per: Some((KeySpec::client_ip(), 1)), ..spec(3) });
    let one = pool.admit(asking(1)).await.unwrap();
    assert_eq!(pool.admit(asking(1)).await.unwrap_err().reason, ShedReason::PerKey);
    let other = pool.admit(asking(2)).await.unwrap();
    drop(one);
    let again = pool.admit(asking(1)).await.unwrap();
    drop((other, again));
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_more_important_go_first_and_clients_take_turns() {
    let pool = pool(queued(1, 20));
    let mut holder = Some(pool.admit(asking(0)).await.unwrap());
    let arrivals = [(1, 5), (1, 5), (1, 5), (1, 9), (2, 5), (3, 1), (2, 5), (2, 9)];
    let mut waiting: Vec<_> = arrivals
        .into_iter()
        .map(|(client, priority)| (client, Request::waiting(&pool, urgent(client, priority))))
        .collect();
    let mut served = Vec::new();
    while !waiting.is_empty() {
        drop(holder.take());
        let ready =
            |(at, (_, request)): (usize, &mut (u128, Request<'_>))| Some((at, request.poll()?.unwrap()));
        let (at, permit) = waiting.iter_mut().enumerate().find_map(ready).unwrap();
        served.push(waiting.remove(at).0);
        holder = Some(permit);
    }
    assert_eq!(served, [1, 2, 1, 2, 1, 2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_rises_with_time() {
    let pool = pool(queued(1, 20));
    let holder = pool.admit(asking(0)).await.unwrap();
    let mut last = Request::waiting(&pool, urgent(1, 0));
    advance(seconds(9)).await;
    let mut first = Request::waiting(&pool, urgent(2, 9));
    drop(holder);
    assert!(first.poll().is_none());
    let permit = last.poll().unwrap().unwrap();
    assert_eq!(permit.waited(), seconds(9));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline_with_503() {
    let pool = pool(queued(1, 1));
    let _holder = pool.admit(asking(0)).await.unwrap();
    let shed = pool.admit(asking(1)).await.unwrap_err();
    assert_eq!((shed.reason, shed.status), (ShedReason::Timeout, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(shed.retry_after, seconds(10), "the holder has had its permit for that long");
    assert_eq!(pool.stats().queued, 0);
    assert_eq!(pool.wait.snapshot().sum, seconds(10));
}

#[tokio::test(start_paused = true)]
async fn the_stated_wait_is_the_mean_hold_times_the_place_in_line() {
    let pool = pool(queued(1, 2));
    let permit = pool.admit(asking(0)).await.unwrap();
    advance(seconds(60)).await;
    drop(permit);
    assert_eq!(pool.stats().mean_hold, Some(seconds(60)));
    let _holder = pool.admit(asking(0)).await.unwrap();
    let _waiting = (Request::waiting(&pool, asking(1)), Request::waiting(&pool, asking(2)));
    let shed = pool.admit(asking(3)).await.unwrap_err();
    assert_eq!((shed.reason, shed.retry_after), (ShedReason::QueueFull, seconds(180)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_held_back_by_its_own_key_holds_back_nobody() {
    let pool = pool(Spec { per: Some((KeySpec::client_ip(), 1)), ..queued(2, 20) });
    let one = pool.admit(asking(1)).await.unwrap();
    let mut blocked = Request::waiting(&pool, urgent(1, 9));
    let two = pool.admit(asking(2)).await.unwrap();
    let mut three = Request::waiting(&pool, urgent(3, 0));
    drop(two);
    assert!(blocked.poll().is_none());
    let three = three.poll().unwrap().unwrap();
    drop(one);
    let blocked = blocked.poll().unwrap().unwrap();
    drop((three, blocked));
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_is_forgotten_and_an_unread_grant_goes_to_the_next() {
    let pool = pool(queued(1, 20));
    let holder = pool.admit(asking(0)).await.unwrap();
    let left = Request::waiting(&pool, asking(1));
    let unread = Request::waiting(&pool, asking(2));
    let mut next = Request::waiting(&pool, asking(3));
    drop(left);
    assert_eq!(pool.stats().queued, 2);
    drop(holder);
    assert!(next.poll().is_none(), "the grant is on its way to the one before");
    drop(unread);
    let permit = next.poll().unwrap().unwrap();
    assert_eq!((pool.stats().in_flight, pool.stats().queued), (1, 0));
    drop(permit);
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_cannot_be_served_in_time_is_told_so_at_once() {
    let pool = pool(queued(2, 20));
    for _ in 0..8 {
        let permit = pool.admit(asking(0)).await.unwrap();
        advance(seconds(6)).await;
        drop(permit);
    }
    let _holders = [pool.admit(asking(0)).await.unwrap(), pool.admit(asking(0)).await.unwrap()];
    let _waiting: Vec<_> = (1..=4).map(|client| Request::waiting(&pool, asking(client))).collect();
    let shed = pool.admit(asking(5)).await.unwrap_err();
    assert_eq!((shed.reason, shed.status), (ShedReason::TooLong, StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(shed.retry_after, seconds(18), "three rounds of two");
    let _urgent = Request::waiting(&pool, urgent(6, 6));
    let line = pool.line(9);
    let clients: Vec<_> = line.iter().map(|waiting| waiting.client.0).collect();
    assert_eq!(clients, [6, 1, 2, 3, 4], "nobody of them waits for two whole rounds");
    assert_eq!(line[2].expected, Some(seconds(9)));
}

#[tokio::test(start_paused = true)]
async fn one_request_waits_for_one_turn_of_a_hundred() {
    let pool = pool(queued(1, 200));
    let holder = pool.admit(asking(0)).await.unwrap();
    let mut greedy: Vec<_> = (0..100).map(|_| Request::waiting(&pool, asking(1))).collect();
    advance(seconds(3)).await;
    let mut modest = Request::waiting(&pool, asking(2));
    drop(holder);
    drop(greedy[0].poll().unwrap().unwrap());
    assert!(modest.poll().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_stood_aside_for_its_key_goes_when_the_key_has_room() {
    let shared = |client, priority| Asking { per_key: Some(PartitionKey(7)), ..urgent(client, priority) };
    let pool = pool(Spec { per: Some((KeySpec::client_ip(), 1)), ..queued(4, 20) });
    let holder = pool.admit(shared(1, 5)).await.unwrap();
    let mut waiting: Vec<_> = [(1, 5), (1, 5), (2, 5), (3, 9)]
        .map(|(client, priority)| Request::waiting(&pool, shared(client, priority)))
        .into();
    assert_eq!((pool.stats().held_back, pool.line(9).len()), (4, 0));
    let mut holder = Some(holder);
    for expected in [3, 0, 1, 0] {
        drop(holder.take());
        let at = waiting.iter_mut().position(|request| {
            holder = request.poll().map(Result::unwrap);
            holder.is_some()
        });
        assert_eq!(at, Some(expected));
        drop(waiting.remove(expected));
    }
    drop(holder);
    assert_eq!((pool.stats().in_flight, pool.stats().queued, pool.stats().held_back), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_room_for_the_important_and_for_the_modest() {
    let pool = pool(queued(1, 3));
    let _holder = pool.admit(asking(0)).await.unwrap();
    let mut greedy: Vec<_> = (0..3).map(|_| Request::waiting(&pool, asking(1))).collect();
    assert_eq!(pool.admit(asking(1)).await.unwrap_err().reason, ShedReason::QueueFull);
    let _modest = Request::waiting(&pool, asking(2));
    assert_eq!(greedy[2].poll().unwrap().unwrap_err().reason, ShedReason::QueueFull);
    let _important = Request::waiting(&pool, urgent(1, 9));
    assert_eq!(greedy[1].poll().unwrap().unwrap_err().reason, ShedReason::QueueFull);
    assert_eq!(pool.admit(urgent(3, 4)).await.unwrap_err().reason, ShedReason::QueueFull);
    assert_eq!(pool.stats().queued, 3);
}

#[tokio::test(start_paused = true)]
async fn more_permits_serve_the_queue_at_once_and_fewer_take_none_away() {
    let pool = pool(queued(1, 20));
    let first = pool.admit(asking(0)).await.unwrap();
    let mut waiting = [Request::waiting(&pool, asking(1)), Request::waiting(&pool, asking(2))];
    pool.reconfigure(queued(3, 20));
    let permits: Vec<Permit> = waiting.iter_mut().map(|request| request.poll().unwrap().unwrap()).collect();
    pool.reconfigure(queued(1, 20));
    let mut late = Request::waiting(&pool, asking(3));
    assert_eq!(pool.stats().in_flight, 3);
    drop(permits);
    assert!(late.poll().is_none());
    drop(first);
    assert!(late.poll().is_some());
}

#[tokio::test(start_paused = true)]
async fn adopted_work_counts_beyond_the_cap_and_the_next_waits_until_enough_came_back() {
    let pool = pool(queued(2, 20));
    let [first, second, third] = [pool.adopt(), pool.adopt(), pool.adopt()];
    assert_eq!(pool.stats().in_flight, 3);
    let mut next = Request::waiting(&pool, asking(1));
    drop((first, second));
    assert!(next.poll().is_some(), "one of two permits is held");
    drop(third);
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cap_that_finds_itself_takes_nothing_from_jobs_and_lets_in_who_waits_when_it_grows() {
    let bounds = Auto { min: 1, max: 9 };
    let pool = pool(Spec { auto: Some(bounds), ..queued(4, 20) });
    let heard = |verdict| {
        for _ in 0..8 {
            pool.learn(Sample { began: Clock::start().now(), verdict, target: None });
        }
        pool.stats().max
    };
    let jobs = [pool.adopt(), pool.adopt()];
    assert_eq!([heard(Verdict::Failed), heard(Verdict::Failed), heard(Verdict::Failed)], [3, 2, 2]);
    let mut waiting = Request::waiting(&pool, asking(1));
    assert_eq!(heard(Verdict::Answered(seconds(1))), 3);
    let permit = waiting.poll().unwrap().unwrap();
    pool.reconfigure(Spec { auto: Some(Auto { min: 6, ..bounds }), ..queued(4, 20) });
    assert_eq!(pool.stats().max, 6, "what was found stays, within the new bounds");
    drop((jobs, permit));
    assert_eq!([heard(Verdict::Failed), pool.stats().in_flight], [6, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_observed_pool_counts_and_never_refuses() {
    let pool = pool(Spec { observe: true, ..queued(1, 1) });
    let permits = [pool.admit(asking(1)).await.unwrap(), pool.admit(asking(1)).await.unwrap()];
    assert_eq!((pool.stats().in_flight, pool.shed_by(ShedReason::WouldQueue)), (2, 1));
    let beyond = pool.admit(asking(2)).await.unwrap();
    assert_eq!(pool.shed_by(ShedReason::WouldRefuse), 1, "one could have waited, not two");
    drop((permits, beyond));
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test]
async fn a_permit_comes_back_from_a_task_that_panics() {
    let pool = pool(spec(1));
    let permit = pool.admit(asking(0)).await.unwrap();
    let task = tokio::spawn(async move {
        let _permit = permit;
        panic!("as intended");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(pool.stats().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_come_and_go_leave_nothing_behind() {
    let pool = pool(Spec { per: Some((KeySpec::client_ip(), 2)), ..queued(4, 64) });
    let tasks: Vec<_> = (0..64_u128)
        .map(|client| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move {
                for round in 0..100 {
                    let admit = pool.admit(urgent(client % 7, (round % 10) as u8));
                    if round % 3 == 0 {
                        let _ = tokio::time::timeout(Duration::from_micros(50), admit).await;
                    } else if let Ok(permit) = admit.await {
                        assert!(pool.stats().in_flight <= 4);
                        tokio::task::yield_now().await;
                        drop(permit);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((pool.stats().in_flight, pool.stats().queued), (0, 0));
}

mod interleavings;
mod schedules;
