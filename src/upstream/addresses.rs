//! The addresses of one server: its name is looked up anew from time to time.
//!
//! Promises: a look-up that fails, or finds nothing, keeps the last good addresses; connections to an address that has
//! vanished are not used again. Addresses take turns, so that a name with several spreads its connections over them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::connect::{Address, Name, Resolver};
use super::server::Place;
use super::{Error, Server};
use crate::clock::jitter::jittered;
use crate::metrics::Counter;

/// How soon a name is looked up again when none of its addresses could be reached.
const SOON: Duration = Duration::from_secs(1);
/// What the system's resolver takes at most, where three name servers do not answer two questions within five seconds each.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(30);
/// More addresses than this are not kept of one name.
const MAX_ADDRESSES: usize = 64;

/// The addresses of one server.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `None` for an address that is no name.
    name: Option<Name>,
    resolver: Resolver,
    /// Empty until the first look-up.
    known: ArcSwap<Vec<Address>>,
    /// Raised when they change.
    version: AtomicU32,
    turn: AtomicUsize,
    schedule: Mutex<Schedule>,
    /// Held by the first look-up, which all who dial wait for.
    first: tokio::sync::Mutex<()>,
    pub(super) found: Counter,
    pub(super) failed: Counter,
}

#[derive(Debug)]
struct Schedule {
    period: Duration,
    last: Option<Instant>,
    next: Option<Instant>,
    /// Shared with the look-up that was due, while it is under way.
    token: Arc<()>,
}

/// A look-up that was due; whatever ends it, the next one may begin.
#[derive(Debug)]
pub(super) struct UnderWay {
    _token: Arc<()>,
}

/// Where a connection leads, and when that was last seen to be among the server's addresses.
#[derive(Debug)]
pub(super) struct Route {
    address: Address,
    version: u32,
}

impl Addresses {
    pub(super) fn new(server: &Server, resolver: Resolver, period: Duration) -> Self {
        let (name, known) = match server.place() {
            Place::Socket(path) => (None, vec![Address::Unix(Arc::clone(path))]),
            Place::Network { host, port } => match host.parse::<IpAddr>() {
                Ok(address) => (None, vec![Address::Tcp((address, *port).into())]),
                Err(_) => (Some(Name { host: Arc::clone(host), port: *port }), Vec::new()),
            },
        };
        let schedule = Schedule { period, last: None, next: None, token: Arc::default() };
        Self {
            name,
            resolver,
            known: ArcSwap::from_pointee(known),
            version: AtomicU32::new(0),
            turn: AtomicUsize::new(0),
            schedule: Mutex::new(schedule),
            first: tokio::sync::Mutex::default(),
            found: Counter::default(),
            failed: Counter::default(),
        }
    }

    pub(super) fn reconfigure(&self, period: Duration) {
        let mut schedule = self.schedule.lock();
        if schedule.period != period {
            schedule.period = period;
            schedule.next = schedule.last.map(|last| last + period);
        }
    }

    /// All addresses in the order in which this connection should try them.
    ///
    /// # Errors
    /// [`Error::Dns`] when none was ever found, and [`Error::NoDescriptors`] where that was the reason.
    pub(super) async fn to_try(&self, now: Instant) -> Result<Vec<Route>, Error> {
        if self.known.load().is_empty() {
            let _first = self.first.lock().await;
            if self.known.load().is_empty() {
                let looked_up = self.look_up(now).await;
                // Another look-up may have found some meanwhile.
                if self.known.load().is_empty() {
                    looked_up?;
                }
            }
        }
        let (version, known) = (self.version.load(Ordering::Acquire), self.known.load());
        if known.is_empty() {
            return Err(Error::Dns);
        }
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % known.len();
        let (before, after) = known.split_at_checked(start).unwrap_or((&[], &known));
        let in_turn = after.iter().chain(before);
        Ok(in_turn.map(|address| Route { address: address.clone(), version }).collect())
    }

    /// Whether a connection leads to one of them still.
    pub(super) fn are_of(&self, route: &mut Route) -> bool {
        let version = self.version.load(Ordering::Relaxed);
        if route.version == version {
            return true;
        }
        let is_known = self.known.load().contains(&route.address);
        if is_known {
            route.version = version;
        }
        is_known
    }

    /// None of them could be reached: perhaps there are new ones.
    pub(super) fn doubt(&self) {
        let mut schedule = self.schedule.lock();
        let soon = schedule.last.map(|last| last + SOON);
        schedule.next = schedule.next.zip(soon).map(|(next, soon)| next.min(soon));
    }

    /// The look-up that is due, if one is, and when to ask again.
    pub(super) fn due(&self, now: Instant) -> (Option<UnderWay>, Option<Instant>) {
        let mut schedule = self.schedule.lock();
        let Some(next) = schedule.next else { return (None, None) };
        if next > now || Arc::strong_count(&schedule.token) > 1 {
            return (None, Some(next.max(now + SOON / 10)));
        }
        let next = now + jittered(schedule.period);
        schedule.next = Some(next);
        (Some(UnderWay { _token: Arc::clone(&schedule.token) }), Some(next))
    }

    /// Looks the name up; whether the addresses have changed.
    ///
    /// # Errors
    /// [`Error::Dns`], or [`Error::NoDescriptors`], where it finds none.
    pub(super) async fn look_up(&self, now: Instant) -> Result<bool, Error> {
        let Some(name) = &self.name else { return Ok(false) };
        let asked = self.resolver.clone().oneshot(name.clone());
        let found = tokio::time::timeout(LONGEST_LOOK_UP, asked).await;
        let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        {
            let mut schedule = self.schedule.lock();
            schedule.last = Some(now);
            schedule.next = Some(now + jittered(schedule.period));
        }
        let (error, reason) = match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.found.inc();
                return Ok(self.take(addresses.into_iter().take(MAX_ADDRESSES).map(Address::Tcp).collect()));
            }
            Ok(_) => (Error::Dns, "it has no addresses".to_owned()),
            Err(error) => (Error::Dns.unless_none_are_left(&error), error.to_string()),
        };
        self.failed.inc();
        let kept = self.known.load().len();
        tracing::warn!(name = %name.host, reason, kept, "a name did not resolve; the last good addresses are kept");
        Err(error)
    }

    fn take(&self, found: Vec<Address>) -> bool {
        let known = self.known.load();
        let is_same = known.len() == found.len() && found.iter().all(|address| known.contains(address));
        if is_same {
            return false;
        }
        let is_news = !known.is_empty();
        self.known.store(Arc::new(found));
        self.version.fetch_add(1, Ordering::Release);
        is_news
    }
}

impl Route {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

#[cfg(test)]
mod tests;
