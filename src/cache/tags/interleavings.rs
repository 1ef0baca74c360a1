//! Reads, writes and purges of one resource in every order: what a finished write has overtaken is never stored, never
//! joined, never served.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

/// One step of one of the actors; a step that has no meaning at its time is left out.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A request comes: it is served from the store, joins a fetch, or begins one.
    Ask(usize),
    /// The origin answers a fetch with what it has now.
    Answer(usize),
    /// A fetch ends: its answer is stored if it may be.
    Store(usize),
    /// A write begins.
    Write(usize),
    /// The origin carries a write out.
    Commit(usize),
    /// A write ends, well or not.
    End(usize, bool),
    Purge,
}

#[derive(Debug)]
struct Read {
    provenance: Provenance,
    /// The version that the origin answered with.
    brought: Option<u64>,
}

#[derive(Debug)]
struct Write {
    fence: Fence,
    /// The version that it made.
    made: Option<u64>,
}

/// The world: an origin with a version, a store, fetches and writes under way.
struct World {
    registry: Arc<Registry>,
    version: u64,
    /// What every request that comes from now on must at least get.
    promised: u64,
    stored: Option<(u64, Membership)>,
    reads: [Option<Read>; 3],
    writes: [Option<Write>; 2],
}

impl World {
    fn new() -> Self {
        Self {
            registry: Arc::new(Registry::new()),
            version: 0,
            promised: 0,
            stored: None,
            reads: Default::default(),
            writes: Default::default(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(number) => self.ask(number),
            Step::Answer(number) => {
                let version = self.version;
                if let Some(read) = &mut self.reads[number] {
                    read.brought.get_or_insert(version);
                }
            }
            Step::Store(number) => {
                let Some(Read { provenance, brought: Some(version) }) = self.reads[number].take() else {
                    return;
                };
                if !provenance.is_overtaken() {
                    assert!(
                        version >= self.promised,
                        "stored {version} after {} was promised",
                        self.promised
                    );
                    self.stored = Some((version, Membership::new(provenance, 1)));
                }
            }
            Step::Write(number) => {
                let fence = self.registry.fence("host/path", &["tag"]);
                self.writes[number].get_or_insert(Write { fence, made: None });
            }
            Step::Commit(number) => {
                if let Some(write) = &mut self.writes[number]
                    && write.made.is_none()
                {
                    self.version += 1;
                    write.made = Some(self.version);
                }
            }
            Step::End(number, is_good) => self.end(number, is_good),
            Step::Purge => {
                self.registry.purge_tag("tag");
                self.promised = self.version;
            }
        }
    }

    fn ask(&mut self, number: usize) {
        if let Some((version, stored)) = &self.stored
            && stored.is_valid(&self.registry.sequence)
        {
            assert!(*version >= self.promised, "served {version} after {} was promised", self.promised);
        }
        let may_join = |read: &&Read| !read.provenance.is_overtaken();
        if let Some(read) = self.reads.iter().flatten().find(may_join) {
            let version = read.brought.unwrap_or(self.version);
            assert!(version >= self.promised, "joined {version} after {} was promised", self.promised);
        } else if self.reads[number].is_none() {
            let provenance = self.registry.begin("route", "host/path", &["tag"]);
            self.reads[number] = Some(Read { provenance, brought: None });
        }
    }

    fn end(&mut self, number: usize, is_good: bool) {
        let Some(Write { fence, made }) = self.writes[number].take() else { return };
        let under_way: Vec<_> = self.reads.iter().flatten().map(|read| read.provenance.clone()).collect();
        match made {
            Some(made) if is_good => {
                fence.succeeded(&[]);
                self.promised = self.promised.max(made);
            }
            _ => drop(fence),
        }
        assert!(under_way.iter().all(Provenance::is_overtaken), "whatever became of the write");
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Ask),
        3 => (0..3_usize).prop_map(Step::Answer),
        3 => (0..3_usize).prop_map(Step::Store),
        1 => (0..2_usize).prop_map(Step::Write),
        1 => (0..2_usize).prop_map(Step::Commit),
        1 => (0..2_usize, any::<bool>()).prop_map(|(number, is_good)| Step::End(number, is_good)),
        1 => Just(Step::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_overtaken_is_stored_joined_or_served(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
    }
}

#[test]
fn a_purge_costs_the_same_however_much_it_drops() {
    let time = |entries: usize| {
        let registry = Registry::new();
        let stored: Vec<_> = (0..entries)
            .map(|number| Membership::new(registry.begin("route", &format!("host/{number}"), &["tag"]), 1))
            .collect();
        let clock = Clock::start();
        let began = clock.now();
        assert_eq!(registry.purge_tag("tag"), entries as u64);
        let took = clock.now().saturating_duration_since(began);
        assert!(stored.iter().all(|stored| !stored.is_valid(&registry.sequence)));
        took
    };
    let best = |entries| (0..3).map(|_| time(entries)).min().unwrap();
    let (one, many) = (best(1), best(100_000));
    // 100,000 of anything would be a millisecond at the very least.
    assert!(many < one * 20 + Duration::from_micros(200), "1: {one:?}, 100,000: {many:?}");
}
