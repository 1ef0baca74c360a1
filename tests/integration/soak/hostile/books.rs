//! What the origins have seen, to be compared with what forebay has counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::Ordering;

use super::{VISITORS, World};
use crate::harness::origin::{Body, Seen};
use crate::harness::{Origin, Proxy};
use crate::soak::faults;

/// What an upstream was asked.
#[derive(Debug, Default)]
struct Page {
    requests: u64,
    /// By the status that was answered, where it can have been read.
    statuses: BTreeMap<String, u64>,
    /// Whose bodies broke off, or that were answered too late.
    excused: u64,
}

/// By upstream, and what must not be among it.
#[derive(Debug, Default)]
pub(super) struct Books {
    pages: BTreeMap<&'static str, Page>,
    steady: u64,
    limited: u64,
    writes: HashSet<String>,
}

impl Books {
    pub(super) fn count(&self) -> u64 {
        self.pages.values().map(|page| page.requests).sum()
    }

    /// Takes over what is over by now.
    pub(super) fn enter_all(&mut self, faulty: &Origin, mortal: &Origin) {
        for seen in [faulty.take_finished(), mortal.take_finished()].into_iter().flatten() {
            self.enter(&seen);
        }
    }

    fn enter(&mut self, seen: &Seen) {
        let path = seen.path();
        let upstream = match path.split('/').nth(1).unwrap_or_default() {
            // Checks are nobody's requests.
            "health" => return,
            "steady" | "echo" | "odd" => "steady",
            "mortal" | "stale" => "mortal",
            "standard" | "force" | "off" | "abandoned" | "limited" => "origin",
            _ => panic!("smuggled in: {seen:?}"),
        };
        assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"), "{seen:?}");
        let page = self.pages.entry(upstream).or_default();
        page.requests += 1;
        match faults::status(seen) {
            _ if seen.body == Body::Broken || faults::is_late(seen) => page.excused += 1,
            Some(status) => *page.statuses.entry(status.to_string()).or_default() += 1,
            None => {}
        }
        self.steady += u64::from(path.starts_with("/steady/"));
        self.limited += u64::from(path.starts_with("/limited/"));
        if path.starts_with("/mortal/write/") {
            assert!(self.writes.insert(path.to_owned()), "a write was sent twice: {path}");
        }
    }

    /// Panics unless forebay has counted the same.
    pub(super) async fn compare(&self, proxy: &Proxy, world: &World) {
        let metrics = proxy.metrics().await;
        let counted = |upstream: &str| {
            let label = format!("upstream=\"{upstream}\"");
            figures(&metrics, "forebay_upstream_requests_total", &label, "status")
        };
        let steady = counted("steady");
        assert_eq!(steady, self.pages["steady"].statuses, "the steady upstream");
        // Of an upload that breaks off at once not even the head has to have been sent.
        self.pages["origin"].compare(&counted("origin"), world.broken_uploads.load(Ordering::Relaxed));
        // What is cut off in the moment of death has not been read; what nobody accepts has not been sent. That is at
        // most what everybody has under way, each once again, and what the breaker lets through until it opens and while
        // it tries.
        let at_stake = 2 * VISITORS as u64 + 20;
        self.pages["mortal"].compare(&counted("mortal"), world.outages.count() as u64 * at_stake);
        let of_route =
            |name: &str| figures(&metrics, name, "route=\"steady\"", "route").values().sum::<u64>();
        let (asked, saved) =
            (of_route("forebay_requests_total"), of_route("forebay_upstream_requests_saved_total"));
        assert_eq!(asked - saved, self.steady, "what was not saved was sent");
        assert!(saved > 0);
        let windows = world.began.elapsed().as_secs() / 10 + 1;
        assert!((1..=50 * windows).contains(&self.limited), "{} in {windows} windows", self.limited);
    }
}

impl Page {
    /// Each attempt is counted once, and what was not answered by a fault of the origin's or the client's has a status,
    /// unless nobody waited for it any more. So many attempts may not have reached the origin.
    fn compare(&self, counted: &BTreeMap<String, u64>, lost: u64) {
        let of = |status: &str| counted.get(status).copied().unwrap_or_default();
        let attempts: u64 = counted.values().sum();
        let what = format!("{self:?} and {counted:?}");
        assert!((self.requests..=self.requests + lost).contains(&attempts), "{what}");
        let mut missing = 0;
        for (status, answered) in &self.statuses {
            let read = of(status);
            assert!(read <= answered + self.excused, "{status}: {what}");
            missing += answered.saturating_sub(read);
        }
        assert!(missing <= of("cancelled") + lost, "{missing} answers are not counted: {what}");
        let is_known = |status: &String| {
            self.statuses.contains_key(status) || matches!(&**status, "error" | "cancelled")
        };
        assert!(counted.keys().all(is_known), "{what}");
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (upstream, page) in &self.pages {
            writeln!(f, "{upstream}: {} requests; answered {:?}", page.requests, page.statuses)?;
        }
        Ok(())
    }
}

/// The samples of `name` that have a label such as `route="steady"`, summed up by the value of another one.
#[expect(clippy::cast_possible_truncation, reason = "counts are whole numbers, and small ones")]
pub(super) fn figures(
    metrics: &HashMap<String, f64>,
    name: &str,
    label: &str,
    by: &str,
) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (sample, value) in metrics {
        let (found, labels) = sample.split_once('{').unwrap_or((sample, ""));
        if found == name && labels.contains(label) {
            let of = labels.split_once(&format!("{by}=\"")).map_or("", |(_, rest)| rest);
            let of = of.split('"').next().unwrap_or_default();
            *sums.entry(of.to_owned()).or_default() += *value as u64;
        }
    }
    sums.retain(|_, sum| *sum > 0);
    sums
}
