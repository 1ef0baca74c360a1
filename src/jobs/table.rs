//! The books of a kind of job: who is at work, who is over, and whose time comes next.
//!
//! What is given back is handed out, to be dropped when the lock is free again: giving it back lets others go.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::job::{Job, Key, Over, Phase, Verdict};
use super::{JobStats, Outcome, Probe, Reading, Seen, Spec, Standing, Start};

/// Jobs of one kind that can be at work; further ones are not kept track of.
pub(super) const MAX_ACTIVE: usize = 65_536;
/// Jobs that are over and remembered; beyond it the oldest are forgotten.
const MAX_OVER: usize = 10_000;
/// How long a job that is over is remembered after it was last heard of: longer than an answer is under way.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What the lock of [`super::Jobs`] protects.
#[derive(Debug)]
pub(super) struct Table<P> {
    pub(super) spec: Spec,
    jobs: HashMap<Key, Phase<P>>,
    /// When each job at work is due: its lease ends, or it is to be asked for.
    agenda: BTreeSet<(Instant, Key)>,
    /// Those that are over, by the time at which to think of forgetting them.
    over: VecDeque<(Instant, Key)>,
    nameless: u64,
}

/// What came of a status answer.
#[derive(Debug)]
pub(super) struct Observed<P> {
    pub(super) standing: Standing,
    /// How a job ended by it, and what it held.
    pub(super) ended: Option<(Outcome, P)>,
    /// Whether there is one job more or less.
    pub(super) has_changed: bool,
    /// Whether there was no room for a job.
    pub(super) is_full: bool,
}

/// What came of a start.
#[derive(Debug)]
pub(super) struct Started<P> {
    /// What the job held before, or what there was no room for.
    pub(super) given_back: Option<P>,
    pub(super) is_full: bool,
}

/// What time has brought.
#[derive(Debug)]
pub(super) struct Tended<P> {
    pub(super) expired: Vec<P>,
    pub(super) probes: Vec<Probe>,
}

impl<P> Table<P> {
    pub(super) fn new(spec: Spec) -> Self {
        Self { spec, jobs: HashMap::new(), agenda: BTreeSet::new(), over: VecDeque::new(), nameless: 0 }
    }

    /// Takes on other settings; returns what the jobs held, where they now hold something else.
    pub(super) fn reconfigure(&mut self, spec: Spec, mut hold: impl FnMut() -> P) -> Vec<P> {
        let holds_another = self.spec.holds != spec.holds;
        self.spec = spec;
        self.agenda.clear();
        let mut given_back = Vec::new();
        for (key, phase) in &mut self.jobs {
            let Phase::Running(job) = phase else { continue };
            if holds_another {
                given_back.push(std::mem::replace(&mut job.held, hold()));
            }
            self.agenda.insert((due(&self.spec, key, job), key.clone()));
        }
        given_back
    }

    pub(super) fn start(&mut self, id: &str, start: Start, held: P, now: Instant) -> Started<P> {
        let key = Key::named(id);
        let mut job = Job::started(start, held, now, self.spec.probe);
        if let Some(Phase::Running(before)) = self.jobs.get_mut(&key) {
            job.url = job.url.or(before.url.take());
            let due_before = due(&self.spec, &key, before);
            let before = std::mem::replace(&mut **before, job);
            self.agenda.remove(&(due_before, key.clone()));
            self.enter_agenda(key);
            return Started { given_back: Some(before.held), is_full: false };
        }
        match self.insert(key, job) {
            Ok(()) => Started { given_back: None, is_full: false },
            Err(held) => Started { given_back: Some(held), is_full: true },
        }
    }

    /// A start that named no job; gives back what is not to be kept.
    pub(super) fn start_nameless(&mut self, held: P, now: Instant) -> Option<P> {
        if self.spec.unknown_hold.is_zero() {
            return Some(held);
        }
        self.nameless += 1;
        self.insert(Key::Nameless(self.nameless), Job::adopted(held, now, now, now)).err()
    }

    /// A job that was at work before this process was, to be asked for at once.
    pub(super) fn restore(
        &mut self,
        id: &str,
        url: Option<super::Url>,
        began: Instant,
        held: P,
        now: Instant,
    ) -> Option<P> {
        let job = Job::restored(held, began, now, url);
        let key = Key::named(id);
        if matches!(self.jobs.get(&key), Some(Phase::Running(_))) {
            return Some(job.held);
        }
        self.insert(key, job).err()
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.jobs.contains_key(&Key::named(id))
    }

    pub(super) fn observe(
        &mut self,
        id: &str,
        seen: &Seen,
        hold: impl FnOnce() -> P,
        now: Instant,
    ) -> Observed<P> {
        let key = Key::named(id);
        let verdict = Phase::verdict(self.jobs.get(&key), seen);
        match self.jobs.get_mut(&key) {
            Some(Phase::Running(job)) => job.polled(seen, now),
            Some(Phase::Over(over)) => over.last_seen = now,
            None => {}
        }
        match verdict {
            Verdict::Ends(outcome) => {
                let ended = self.end(key, outcome, now).map(|held| (outcome, held));
                let standing = if outcome == Outcome::Done { Standing::Final } else { Standing::Unknown };
                Observed { ended, has_changed: true, ..Observed::nothing(standing) }
            }
            Verdict::GoesOn => {
                let began = self.heard_of(key, seen, now);
                Observed::nothing(Standing::Running(now.saturating_duration_since(began)))
            }
            Verdict::IsNew => self.adopt(key, seen, hold(), now),
            Verdict::WasLetGo(began) => {
                Observed::nothing(Standing::Running(now.saturating_duration_since(began)))
            }
            Verdict::IsOver => Observed::nothing(Standing::Final),
            Verdict::Nothing => Observed::nothing(Standing::Unknown),
        }
    }

    /// A job at work says so: it need not be asked for so soon. When it began.
    fn heard_of(&mut self, key: Key, seen: &Seen, now: Instant) -> Instant {
        let Some(Phase::Running(job)) = self.jobs.get_mut(&key) else { return now };
        if let Reading::Running(state) = &seen.reading {
            job.state.clone_from(state);
        }
        self.agenda.remove(&(due(&self.spec, &key, job), key.clone()));
        job.probe_at = now + self.spec.probe;
        let began = job.began;
        self.enter_agenda(key);
        began
    }

    pub(super) fn release(&mut self, id: &str, now: Instant) -> Option<P> {
        let released = self.end(Key::named(id), Outcome::Released, now);
        released.or_else(|| self.end(Key::of_nameless(id)?, Outcome::Released, now))
    }

    pub(super) fn tend(&mut self, now: Instant) -> Tended<P> {
        let mut tended = Tended { expired: Vec::new(), probes: Vec::new() };
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, key)) = self.agenda.pop_first() else { break };
            let Some(Phase::Running(job)) = self.jobs.get_mut(&key) else { continue };
            if lease_end(&self.spec, &key, job) <= now {
                tended.expired.extend(self.end(key, Outcome::Expired, now));
                continue;
            }
            job.probe_at = now + self.spec.probe;
            if let (Key::Named(id), Some(url)) = (&key, &job.url) {
                let credentials = job.credentials.clone();
                tended.probes.push(Probe { id: Arc::clone(id), url: url.clone(), credentials });
            }
            self.enter_agenda(key);
        }
        self.forget(now);
        tended
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    pub(super) fn active(&self) -> usize {
        self.agenda.len()
    }

    pub(super) fn list(&self, now: Instant) -> Vec<JobStats> {
        let mut list: Vec<_> = self
            .running()
            .map(|(key, job)| job.stats(key.text(), lease_end(&self.spec, key, job), now))
            .collect();
        list.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.id.cmp(&b.id)));
        list
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (&Key, &Job<P>)> {
        self.jobs.iter().filter_map(|(key, phase)| match phase {
            Phase::Running(job) => Some((key, &**job)),
            Phase::Over(_) => None,
        })
    }

    /// Entries of every kind, for tests of their bound.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.jobs.len(), self.agenda.len(), self.over.len()]
    }

    fn adopt(&mut self, key: Key, seen: &Seen, held: P, now: Instant) -> Observed<P> {
        let mut job = Job::adopted(held, now, seen.asked, now + self.spec.probe);
        job.polled(seen, now);
        if let Reading::Running(state) = &seen.reading {
            job.state.clone_from(state);
        }
        let is_full = self.insert(key, job).is_err();
        Observed { has_changed: !is_full, is_full, ..Observed::nothing(Standing::Running(Duration::ZERO)) }
    }

    /// Puts a job in that is not there, or over; gives back what it holds where there is no room.
    fn insert(&mut self, key: Key, job: Job<P>) -> Result<(), P> {
        if self.agenda.len() >= MAX_ACTIVE {
            return Err(job.held);
        }
        self.jobs.insert(key.clone(), Phase::Running(Box::new(job)));
        self.enter_agenda(key);
        Ok(())
    }

    fn enter_agenda(&mut self, key: Key) {
        if let Some(Phase::Running(job)) = self.jobs.get(&key) {
            self.agenda.insert((due(&self.spec, &key, job), key));
        }
    }

    /// A job is over; what it held.
    fn end(&mut self, key: Key, outcome: Outcome, now: Instant) -> Option<P> {
        let phase = self.jobs.get_mut(&key)?;
        let Phase::Running(job) = phase else { return None };
        self.agenda.remove(&(due(&self.spec, &key, job), key.clone()));
        let over = Over { outcome, at: now, began: job.began, last_seen: now };
        let Phase::Running(job) = std::mem::replace(phase, Phase::Over(over)) else { return None };
        if matches!(key, Key::Nameless(_)) {
            self.jobs.remove(&key);
        } else {
            self.over.push_back((now + REMEMBERED, key));
            self.forget(now);
        }
        Some(job.held)
    }

    /// Lets go of what is over for long enough, and of the oldest where there are too many.
    fn forget(&mut self, now: Instant) {
        while let Some((at, key)) = self.over.front() {
            let (is_due, is_crowded) = (*at <= now, self.over.len() > MAX_OVER);
            if !is_due && !is_crowded {
                return;
            }
            let key = key.clone();
            self.over.pop_front();
            let Some(Phase::Over(over)) = self.jobs.get(&key) else { continue };
            let until = over.last_seen + REMEMBERED;
            if until > now && !is_crowded {
                self.over.push_back((until, key));
            } else {
                self.jobs.remove(&key);
            }
        }
    }
}

/// When a job's time is up, or it is to be asked for.
fn due<P>(spec: &Spec, key: &Key, job: &Job<P>) -> Instant {
    match key {
        Key::Named(_) => lease_end(spec, key, job).min(job.probe_at),
        Key::Nameless(_) => lease_end(spec, key, job),
    }
}

fn lease_end<P>(spec: &Spec, key: &Key, job: &Job<P>) -> Instant {
    job.began
        + match key {
            Key::Named(_) => spec.lease,
            Key::Nameless(_) => spec.unknown_hold,
        }
}

impl<P> Observed<P> {
    fn nothing(standing: Standing) -> Self {
        Self { standing, ended: None, has_changed: false, is_full: false }
    }
}
