//! The addresses of one server: its name is looked up anew from time to time.
//!
//! Promises: a look-up that fails, or finds nothing, keeps the last good addresses; connections to an address that has
//! vanished are not used again. Addresses take turns, so that a name with several spreads its connections over them.

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
    is_under_way: bool,
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
        let schedule = Schedule { period, last: None, next: None, is_under_way: false };
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
    /// [`Error::Dns`] when none was ever found.
    pub(super) async fn to_try(&self, now: Instant) -> Result<Vec<Route>, Error> {
        if self.known.load().is_empty() {
            let _first = self.first.lock().await;
            if self.known.load().is_empty() {
                self.look_up(now).await;
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

    /// Whether a look-up is due, and when to ask again. One that is due counts as under way until it has ended.
    pub(super) fn due(&self, now: Instant) -> (bool, Option<Instant>) {
        let mut schedule = self.schedule.lock();
        let Some(next) = schedule.next else { return (false, None) };
        if next > now || schedule.is_under_way {
            return (false, Some(next.max(now + SOON / 10)));
        }
        schedule.is_under_way = true;
        let next = now + jittered(schedule.period);
        schedule.next = Some(next);
        (true, Some(next))
    }

    /// Looks the name up; whether the addresses have changed.
    pub(super) async fn look_up(&self, now: Instant) -> bool {
        let Some(name) = &self.name else { return false };
        let found = self.resolver.clone().oneshot(name.clone()).await;
        let mut schedule = self.schedule.lock();
        schedule.is_under_way = false;
        schedule.last = Some(now);
        schedule.next = Some(now + jittered(schedule.period));
        drop(schedule);
        let reason = match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.found.inc();
                return self.take(addresses.into_iter().take(MAX_ADDRESSES).map(Address::Tcp).collect());
            }
            Ok(_) => "it has no addresses".to_owned(),
            Err(error) => error.to_string(),
        };
        self.failed.inc();
        let kept = self.known.load().len();
        tracing::warn!(name = %name.host, reason, kept, "a name did not resolve; the last good addresses are kept");
        false
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
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use tower::util::BoxCloneSyncService;

    use super::*;
    use crate::clock::Clock;

    type Answers = Arc<Mutex<io::Result<Vec<SocketAddr>>>>;

    /// The addresses of a name of which `answers` says what it resolves to.
    fn resolving_to(answers: &Answers) -> Addresses {
        let answers = Arc::clone(answers);
        let resolver = tower::service_fn(move |_: Name| {
            let answer = match &*answers.lock() {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(error.kind().into()),
            };
            async move { answer }
        });
        let server = "http://scan:8000".parse().unwrap();
        Addresses::new(&server, BoxCloneSyncService::new(resolver), Duration::from_secs(30))
    }

    fn found(texts: &[&str]) -> io::Result<Vec<SocketAddr>> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    async fn tried(addresses: &Addresses) -> Vec<String> {
        let routes = addresses.to_try(Clock::start().now()).await.unwrap_or_default();
        routes.iter().map(|route| route.address().to_string()).collect()
    }

    #[tokio::test]
    async fn addresses_take_turns() {
        let addresses = resolving_to(&Arc::new(Mutex::new(found(&["10.0.0.1:1", "10.0.0.2:1"]))));
        assert_eq!(tried(&addresses).await, ["10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(tried(&addresses).await, ["10.0.0.2:1", "10.0.0.1:1"]);
        assert_eq!(addresses.found.value(), 1, "looked up once");
    }

    #[tokio::test]
    async fn a_failure_keeps_the_last_good_addresses_and_a_new_answer_replaces_them() {
        let answers = Arc::new(Mutex::new(found(&["10.0.0.1:1"])));
        let (addresses, now) = (resolving_to(&answers), Clock::start().now());
        let mut route = addresses.to_try(now).await.unwrap().remove(0);
        for failure in [Err(io::ErrorKind::NotFound.into()), Ok(Vec::new())] {
            *answers.lock() = failure;
            assert!(!addresses.look_up(now).await);
            assert_eq!(tried(&addresses).await, ["10.0.0.1:1"]);
        }
        *answers.lock() = found(&["10.0.0.2:1", "10.0.0.1:1"]);
        assert!(addresses.look_up(now).await && addresses.are_of(&mut route));
        *answers.lock() = found(&["10.0.0.2:1"]);
        assert!(addresses.look_up(now).await && !addresses.are_of(&mut route));
        assert_eq!((tried(&addresses).await.len(), addresses.failed.value()), (1, 2));
    }

    #[tokio::test]
    async fn a_name_that_never_resolved_is_looked_up_for_each_connection() {
        let answers: Answers = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound.into())));
        let addresses = resolving_to(&answers);
        assert!(tried(&addresses).await.is_empty());
        *answers.lock() = found(&["10.0.0.1:1"]);
        assert_eq!(tried(&addresses).await, ["10.0.0.1:1"]);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_in_its_time_and_sooner_when_nothing_could_be_reached() {
        let addresses = resolving_to(&Arc::new(Mutex::new(found(&["10.0.0.1:1"]))));
        let now = Clock::start().now();
        let is_due = |after| addresses.due(now + Duration::from_secs(after)).0;
        assert!(!is_due(100), "nobody has asked for it yet");
        addresses.to_try(now).await.unwrap();
        assert!(!is_due(26) && is_due(34) && !is_due(100), "one at a time");
        addresses.look_up(now).await;
        addresses.doubt();
        assert!(is_due(2));
    }

    #[test]
    fn what_is_no_name_is_never_looked_up() {
        for (text, address) in [
            ("http://127.0.0.1:8", "127.0.0.1:8"),
            ("http://[::1]:8", "[::1]:8"),
            ("unix:/a.sock", "unix:/a.sock"),
        ] {
            let resolver = BoxCloneSyncService::new(tower::service_fn(|_: Name| async { found(&[]) }));
            let addresses = Addresses::new(&text.parse().unwrap(), resolver, Duration::from_secs(1));
            assert!(addresses.name.is_none());
            assert_eq!(addresses.known.load().first().unwrap().to_string(), address);
        }
    }
}
