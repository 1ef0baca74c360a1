//! An origin that is killed and restarted now and then.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::Origin;
use crate::soak::faults;

const FIRST: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_secs(45);
const LASTS: Duration = Duration::from_secs(4);
/// By when forebay has found out that the origin is back: a health check comes every half second, and an open breaker
/// lets somebody try every second; the rest is for a machine that is busy with all of this.
const RECOVERY: Duration = Duration::from_secs(4);

/// When it was away.
#[derive(Debug, Default)]
pub(super) struct Outages(Mutex<Vec<(Instant, Option<Instant>)>>);

impl Outages {
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Whether what began then and is over now may have failed because of one.
    pub(super) fn explain(&self, began: Instant) -> bool {
        let is_cause = |end: Option<Instant>| end.is_none_or(|end| began <= end + RECOVERY);
        self.0.lock().unwrap().iter().any(|(_, end)| is_cause(*end))
    }
}

/// The origin with its fate.
#[derive(Debug)]
pub(super) struct Mortal {
    pub(super) origin: Origin,
    pub(super) outages: Arc<Outages>,
    next: Instant,
}

impl Mortal {
    pub(super) fn start() -> Self {
        Self { origin: faults::origin(), outages: Arc::default(), next: Instant::now() + FIRST }
    }

    /// Dies or comes back when it is time to; in the end it is there.
    pub(super) fn live(&mut self, end: Instant) {
        let now = Instant::now();
        if now < self.next && now < end {
            return;
        }
        let mut outages = self.outages.0.lock().unwrap();
        match outages.last_mut() {
            Some((_, back @ None)) => {
                self.origin.restart();
                *back = Some(Instant::now());
                self.next = now + EVERY - LASTS;
            }
            _ if now < end => {
                outages.push((Instant::now(), None));
                self.origin.stop();
                self.next = now + LASTS;
            }
            _ => {}
        }
    }
}
