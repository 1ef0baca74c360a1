//! An upstream that cannot be reached at first.

use std::time::Duration;

use http_body_util::Full;

use super::*;

const QUEUED: &str = "
    [in_flight.one]
    max = 1
    queue = { size = 9, timeout = '60s' }
    [[routes]]
    name = 'all'
    match = '/{*rest}'
    in_flight = 'one'";

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "h").body(Empty::new()).unwrap()
}

async fn ok(_: Request<Incoming>) -> Response<http_body_util::combinators::BoxBody<Bytes, io::Error>> {
    Response::new(Full::from("here").map_err(|never| match never {}).boxed())
}

#[tokio::test(start_paused = true)]
async fn those_who_have_joined_are_answered_by_the_second_try() {
    for (asking, connects, statuses) in [(3, 2, [200_u16; 3].as_slice()), (1, 1, [502].as_slice())] {
        let pipeline = Arc::new(Pipeline::new(QUEUED, 1, ok));
        // All but the first find a fetch that waits for its permit.
        let pool = pipeline.state.pools.find("one").unwrap();
        let held = pool
            .admit(crate::admission::Asking {
                per_key: None,
                client: crate::client::PartitionKey(1),
                priority: 5,
            })
            .await
            .unwrap();
        let all: Vec<_> = (0..asking)
            .map(|_| {
                let pipeline = Arc::clone(&pipeline);
                tokio::spawn(async move { pipeline.ask(get("/dead")).await.unwrap() })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(held);
        for (one, status) in all.into_iter().zip(statuses) {
            let got = one.await.unwrap();
            assert_eq!(got.head.status, *status);
        }
        assert_eq!(pipeline.connects.load(Ordering::Relaxed), connects);
    }
}
