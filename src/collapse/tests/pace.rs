//! How slow readers and quick ones get along, once a body is no longer kept whole.

use super::*;

/// What an upstream's patience is by default.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Pushes a body of this many chunks as fast as the flight takes it; how long that took.
async fn stream(mut producer: Producer<Words>, chunks: usize) -> Duration {
    let clock = Clock::start();
    for _ in 0..chunks {
        if producer.push(chunk(), 0, BODY_TIMEOUT).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    producer.finish(None);
    clock.now() - clock.epoch()
}

/// Reads to the end, `pause` before each piece; how many bytes came, or that it was cut.
async fn read(mut reader: Reader<Words>, pause: Duration) -> Result<usize, Broken> {
    let mut length = 0;
    loop {
        tokio::time::sleep(pause).await;
        match reader.frame().await {
            Some(frame) => length += frame?.data_ref().map_or(0, bytes::Bytes::len),
            None => return Ok(length),
        }
    }
}

/// One reader for each pause, all in one flight; how long the fetch took, and what they got.
async fn race(pauses: &[Duration], chunks: usize) -> (Duration, Vec<Result<usize, Broken>>) {
    let (_flights, producer, seats) = flight(pauses.len() - 1);
    producer.share("head");
    let mut readers = Vec::new();
    for (seat, pause) in seats.into_iter().zip(pauses) {
        readers.push(tokio::spawn(read(reader(seat).await, *pause)));
    }
    let took = stream(producer, chunks).await;
    let mut outcomes = Vec::new();
    for reader in readers {
        outcomes.push(reader.await.unwrap());
    }
    (took, outcomes)
}

const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_is_cut_and_the_others_get_everything() {
    let (took, outcomes) = race(&[AT_ONCE, NEVER, AT_ONCE], 64).await;
    assert_eq!(outcomes, [Ok(64 * CHUNK), Err(Broken), Ok(64 * CHUNK)]);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trickling_reader_holds_the_others_up_no_longer_than_one_that_stalls() {
    // A chunk of 64 KiB a minute is 1 KiB/s: it takes something within every patience, and far too little.
    let (took, outcomes) = race(&[Duration::from_secs(25), AT_ONCE], 64).await;
    assert_eq!(outcomes, [Err(Broken), Ok(64 * CHUNK)]);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn many_that_stall_in_different_places_cost_no_more_than_one_or_two() {
    let (_flights, mut producer, seats) = flight(8);
    producer.share("head");
    let mut readers = Vec::new();
    for seat in seats {
        readers.push(reader(seat).await);
    }
    let quick = tokio::spawn(read(readers.remove(0), AT_ONCE));
    for stalled in 0..readers.len() {
        producer.push(chunk().slice(..CHUNK / 4), 0, BODY_TIMEOUT).await.unwrap();
        for reader in readers.iter_mut().skip(stalled) {
            assert!(reader.frame().await.is_some_and(|frame| frame.is_ok()));
        }
    }
    let took = stream(producer, 64).await;
    assert_eq!(quick.await.unwrap(), Ok(66 * CHUNK));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_a_little_slower_sets_the_pace_and_is_not_cut() {
    let (took, outcomes) = race(&[AT_ONCE, Duration::from_millis(500)], 64).await;
    assert_eq!(outcomes, [Ok(64 * CHUNK), Ok(64 * CHUNK)]);
    assert!((28..=33).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn where_all_are_slow_alike_nobody_is_cut() {
    let pause = Duration::from_secs(20);
    let (_, outcomes) = race(&[pause, pause], 12).await;
    assert_eq!(outcomes, [Ok(12 * CHUNK), Ok(12 * CHUNK)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_at_all_is_cut_after_the_body_timeout() {
    let (took, outcomes) = race(&[NEVER], 64).await;
    assert_eq!(outcomes, [Err(Broken)]);
    assert_eq!(took, BODY_TIMEOUT);
}
