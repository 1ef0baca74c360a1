//! Resident memory: what it has come to in the first minute is all that it comes to.

use std::fmt;
use std::time::{Duration, Instant};

use crate::harness::Proxy;
use crate::soak::MIB;

/// Everything has happened at least once by its end.
const MINUTE: Duration = Duration::from_secs(60);
/// What the median of a later minute may be above that of the first, in which the stores have yet to fill: responses of
/// some MiB, and what an allocator keeps of what was freed. A leak of 300 bytes for each request and attack passes it
/// within ten minutes.
const GROWTH: u64 = 10 * MIB;
/// What the peak may be above that of the first minute: chance puts more stalled readers of large answers side by side
/// at one moment than at any before. Each holds half a MiB, and there are connections to the origin for a hundred.
const PEAK: u64 = 32 * MIB;

/// A look every now and then.
#[derive(Debug)]
pub(super) struct Memory {
    began: Instant,
    /// By minute.
    looks: Vec<Vec<u64>>,
}

impl Memory {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, looks: Vec::new() }
    }

    /// Panics where it has grown since the first minute.
    pub(super) fn look(&mut self, proxy: &Proxy) {
        let now = proxy.resident();
        if self.began.elapsed() >= MINUTE * u32::try_from(self.looks.len()).unwrap() {
            if self.looks.len() > 1 {
                assert!(self.latest() <= self.first() + GROWTH, "memory grows: {self}");
            }
            self.looks.push(Vec::new());
        }
        self.looks.last_mut().unwrap().push(now);
        assert!(self.looks.len() == 1 || now <= self.first_peak() + PEAK, "{} at once: {self}", mib(now));
    }

    /// Panics where more is kept at rest than was ever needed in the first minute: the allocator gives back what the
    /// last ones needed when it is next asked for something.
    pub(super) fn rest(&self, proxy: &Proxy) {
        assert!(proxy.resident() <= self.first_peak() + GROWTH, "{} at rest: {self}", mib(proxy.resident()));
    }

    fn first_peak(&self) -> u64 {
        self.looks[0].iter().max().copied().unwrap_or_default()
    }

    fn first(&self) -> u64 {
        median(&self.looks[0])
    }

    fn latest(&self) -> u64 {
        median(self.looks.last().unwrap())
    }
}

fn median(looks: &[u64]) -> u64 {
    let mut looks = looks.to_vec();
    looks.sort_unstable();
    looks.get(looks.len() / 2).copied().unwrap_or_default()
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = self.looks.iter().flatten().max().copied().unwrap_or_default();
        let [first, latest, peak] = [self.first(), self.latest(), peak].map(mib);
        write!(
            f,
            "resident at the median {first} in the first minute and {latest} in this one, at most {peak}"
        )
    }
}
