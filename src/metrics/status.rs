//! How often each status was seen.

use std::sync::OnceLock;

use http::StatusCode;

use super::Counter;

/// `http::StatusCode` is 100 to 999: nine hundreds.
const HUNDREDS: usize = 9;

/// One counter for every status there can be. A hundred of them is allocated when its first status is seen, so a
/// peer that sends odd ones can make it cost 7 KiB and no more.
#[derive(Debug, Default)]
pub struct StatusCounts([OnceLock<Box<[Counter; 100]>>; HUNDREDS]);

impl StatusCounts {
    /// Counts one.
    pub fn inc(&self, status: StatusCode) {
        let code = usize::from(status.as_u16());
        let Some(hundred) = self.0.get(code / 100 - 1) else { return };
        let counters = hundred.get_or_init(|| Box::new([const { Counter::new() }; 100]));
        if let Some(counter) = counters.get(code % 100) {
            counter.inc();
        }
    }

    /// The statuses seen so far with their numbers, in ascending order.
    pub fn seen(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let allocated =
            (1_u16..).zip(&self.0).filter_map(|(hundred, counters)| Some((hundred, counters.get()?)));
        allocated
            .flat_map(|(hundred, counters)| {
                (0_u16..)
                    .zip(counters.iter())
                    .map(move |(rest, counter)| (hundred * 100 + rest, counter.value()))
            })
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_counted_under_its_own_number() {
        let counts = StatusCounts::default();
        for code in 100..=999 {
            counts.inc(StatusCode::from_u16(code).unwrap());
        }
        counts.inc(StatusCode::OK);
        let seen: Vec<_> = counts.seen().collect();
        assert_eq!(seen.len(), 900);
        assert!(seen.iter().all(|(code, count)| *count == if *code == 200 { 2 } else { 1 }));
    }

    #[test]
    fn only_the_hundreds_that_were_seen_are_allocated() {
        let counts = StatusCounts::default();
        counts.inc(StatusCode::NOT_FOUND);
        assert_eq!(counts.0.iter().filter(|hundred| hundred.get().is_some()).count(), 1);
    }
}
