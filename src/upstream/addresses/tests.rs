//! Names that resolve, fail, hang, and resolve to something else.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;

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
            Err(error) => Err(error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error)),
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
        assert_eq!(addresses.look_up(now).await, Err(Error::Dns));
        assert_eq!(tried(&addresses).await, ["10.0.0.1:1"]);
    }
    *answers.lock() = found(&["10.0.0.2:1", "10.0.0.1:1"]);
    assert!(addresses.look_up(now).await == Ok(true) && addresses.are_of(&mut route));
    *answers.lock() = found(&["10.0.0.2:1"]);
    assert!(addresses.look_up(now).await == Ok(true) && !addresses.are_of(&mut route));
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
    let due = |after| addresses.due(now + Duration::from_secs(after)).0;
    assert!(due(100).is_none(), "nobody has asked for it yet");
    addresses.to_try(now).await.unwrap();
    assert!(due(26).is_none());
    let under_way = due(34).unwrap();
    assert!(due(100).is_none(), "one at a time");
    addresses.look_up(now).await.unwrap();
    drop(under_way);
    addresses.doubt();
    assert!(due(2).is_some());
}

#[tokio::test]
async fn a_look_up_for_a_dial_ends_no_other_one() {
    let answers: Answers = Arc::new(Mutex::new(Err(io::ErrorKind::NotFound.into())));
    let (addresses, now) = (resolving_to(&answers), Clock::start().now());
    let due = |after| addresses.due(now + Duration::from_secs(after)).0;
    assert!(tried(&addresses).await.is_empty());
    let under_way = due(40).unwrap();
    assert!(tried(&addresses).await.is_empty());
    assert!(due(80).is_none());
    drop(under_way);
    assert!(due(80).is_some());
}

#[tokio::test]
async fn a_look_up_for_which_there_is_no_descriptor_is_our_own_want() {
    let answers: Answers = Arc::new(Mutex::new(Err(io::Error::from_raw_os_error(24))));
    let addresses = resolving_to(&answers);
    let outcome = addresses.to_try(Clock::start().now()).await;
    assert!(matches!(outcome, Err(Error::NoDescriptors)), "{outcome:?}");
}

/// The addresses of a name that is found once; every later look-up becomes what `later` says.
fn found_once(later: impl Fn() -> Pending + Clone + Send + Sync + 'static) -> Arc<Addresses> {
    let is_known = Arc::new(AtomicBool::new(false));
    let resolver = tower::service_fn(move |_: Name| {
        if is_known.swap(true, Ordering::Relaxed) {
            later()
        } else {
            Box::pin(async { found(&["10.0.0.1:1"]) })
        }
    });
    let server = "http://scan:8000".parse().unwrap();
    Arc::new(Addresses::new(&server, BoxCloneSyncService::new(resolver), Duration::from_secs(30)))
}

type Pending = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

#[tokio::test(start_paused = true)]
async fn a_look_up_that_hangs_or_panics_is_not_the_last_one() {
    let hangs: fn() -> Pending = || Box::pin(std::future::pending());
    let panics: fn() -> Pending = || Box::pin(async { panic!("expected by this test") });
    for later in [hangs, panics] {
        let (addresses, clock) = (found_once(later), Clock::start());
        addresses.to_try(clock.now()).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(40)).await;
            let now = clock.now();
            let under_way = addresses.due(now).0.unwrap();
            let looking = Arc::clone(&addresses);
            let looked_up = tokio::spawn(async move {
                let _until_it_ends = under_way;
                looking.look_up(now).await
            });
            let _ = looked_up.await;
        }
        assert_eq!(tried(&addresses).await, ["10.0.0.1:1"]);
    }
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
