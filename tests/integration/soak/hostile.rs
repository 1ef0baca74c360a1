//! Everything at once, compressed: `script/soak --hostile [SECONDS]`.
//!
//! Good visitors, random clients and attackers come together, in front of an origin that fails in every way and of
//! one that dies and comes back, while the configuration changes every 20 s. The visitors get what is theirs, each time.
//! After the first minute memory stays where it is; at the end descriptors are as many as at the start, nothing is held,
//! nothing has panicked, and forebay has counted what the origins have seen and the visitors have got.

mod attackers;
mod books;
mod configs;
mod floods;
mod memory;
mod outages;
mod visitors;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use self::books::Books;
use self::memory::Memory;
use self::outages::{Mortal, Outages};
use self::visitors::Visits;
use super::{Owners, client, faults, nothing_is_held, variable};
use crate::harness::{Origin, Proxy, wait_until};

const VISITORS: usize = 8;
const RANDOM_CLIENTS: usize = 16;
const ATTACKERS: usize = 16;
const RELOAD_EVERY: Duration = Duration::from_secs(20);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where they all meet.
#[derive(Debug, Clone)]
struct World {
    proxy: SocketAddr,
    seed: u64,
    began: Instant,
    end: Instant,
    outages: Arc<Outages>,
    visits: Arc<Visits>,
    /// How many uploads attackers have begun that cannot be read to their end.
    broken_uploads: Arc<AtomicU64>,
}

impl World {
    /// All who come; each says in the end how much it did.
    fn crowd(&self) -> JoinSet<usize> {
        let mut crowd = JoinSet::new();
        let owners = Owners::default();
        for number in 0..VISITORS {
            crowd.spawn(visitors::visitor(number, self.clone()));
        }
        for number in 0..RANDOM_CLIENTS {
            crowd.spawn(client(number, self.seed, self.proxy, self.end, Arc::clone(&owners)));
        }
        for number in 0..ATTACKERS {
            crowd.spawn(attackers::attacker(number, self.clone()));
        }
        crowd
    }
}

/// What happens at its time, again and again.
struct Every(Duration, Instant);

impl Every {
    fn new(period: Duration, from: Instant) -> Self {
        Self(period, from + period)
    }

    fn is_due(&mut self) -> bool {
        let is_due = Instant::now() >= self.1;
        if is_due {
            self.1 += self.0;
        }
        is_due
    }
}

/// Gives forebay the other configuration, by a signal or by the admin listener, and sees that it has it.
async fn reload(proxy: &Proxy, mortal: &Mortal, nth: usize) {
    proxy.rewrite(&configs::nth(mortal.origin.address(), nth));
    if nth % 4 < 2 {
        proxy.signal("HUP");
    } else {
        let answer = proxy.admin_post("/api/reload", "").await.json();
        assert_eq!((&answer["changed"], &answer["needs_restart"]), (&true.into(), &serde_json::json!([])));
    }
    proxy.wait_for_metric("forebay_config_reloads_total", &["result=\"success\""], nth as f64).await;
    assert_eq!(proxy.metric("forebay_config_reloads_total", &["result=\"failure\""]).await, 0.0);
    let expected = if configs::has_odd_route(nth) { 200 } else { 404 };
    assert_eq!(proxy.get("/odd/plain/1").await.status(), expected, "reload {nth} has taken the new file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "goes on for as long as FOREBAY_SOAK says: script/soak --hostile"]
async fn a_hostile_world_in_front_and_a_faulty_one_behind_leave_no_trace() {
    let length = Duration::from_secs(variable("FOREBAY_SOAK", 60));
    let faulty = faults::origin();
    let mut mortal = Mortal::start();
    let proxy = Proxy::start(&faulty, &configs::nth(mortal.origin.address(), 0)).await;
    let descriptors = proxy.descriptors();
    let began = Instant::now();
    let world = World {
        proxy: proxy.address,
        seed: variable("FOREBAY_SEED", 1),
        began,
        end: began + length,
        outages: Arc::clone(&mortal.outages),
        visits: Arc::default(),
        broken_uploads: Arc::default(),
    };
    visitors::warm(&world).await;
    let (mut memory, mut books, mut reloads) = (Memory::new(began), Books::default(), 0);
    let (mut reloading, mut reporting) = (Every::new(RELOAD_EVERY, began), Every::new(REPORT_EVERY, began));
    let (mut crowd, mut done) = (world.crowd(), 0);
    while !crowd.is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
        memory.look(&proxy);
        mortal.live(world.end);
        if reloading.is_due() && Instant::now() < world.end {
            reloads += 1;
            reload(&proxy, &mortal, reloads).await;
        }
        while let Some(finished) = crowd.try_join_next() {
            done += finished.expect("one of the crowd");
        }
        if reporting.is_due() {
            books.enter_all(&faulty, &mortal.origin);
            let (descriptors, visits, reached) = (proxy.descriptors(), world.visits.count(), books.count());
            eprintln!(
                "{:>5} s: {visits} answers to good visitors, {reached} requests reached the origins, {} outages, \
                 {reloads} reloads, {memory}, {descriptors} descriptors",
                began.elapsed().as_secs(),
                mortal.outages.count(),
            );
        }
    }
    nothing_is_left(&proxy, [&faulty, &mortal.origin], descriptors).await;
    memory.rest(&proxy);
    books.enter_all(&faulty, &mortal.origin);
    books.compare(&proxy, &world).await;
    world.visits.compare(&proxy).await;
    assert_eq!(created(&proxy, &["origin", "steady"]).await, faulty.connections() as u64);
    assert!(proxy.metric("forebay_http2_floods_total", &[]).await > 0.0, "attackers are seen");
    eprintln!("{done} requests and attacks by {} clients; {memory}", VISITORS + RANDOM_CLIENTS + ATTACKERS);
    eprintln!("{books}");
}

/// Everybody has gone: so has all that was held for them.
async fn nothing_is_left(proxy: &Proxy, origins: [&Origin; 2], descriptors: usize) {
    nothing_is_held(proxy).await;
    for origin in origins {
        wait_until("the origins are left alone", || async {
            origin.active("/*") - origin.active("/health") == 0
        })
        .await;
    }
    proxy.wait_for_metric("forebay_connections", &["listener=\"public\""], 0.0).await;
    proxy.wait_for_metric("forebay_upstream_connections", &[], 0.0).await;
    wait_until("descriptors are as many as at the start", || async { proxy.descriptors() <= descriptors })
        .await;
}

/// How many connections forebay has opened for these upstreams.
async fn created(proxy: &Proxy, upstreams: &[&str]) -> u64 {
    let stats = proxy.admin_get("/api/pool/stats").await.json();
    let all = stats["upstreams"].as_array().unwrap().iter();
    let wanted = all.filter(|one| upstreams.iter().any(|name| one["name"] == *name));
    wanted
        .flat_map(|one| one["servers"].as_array().unwrap())
        .map(|server| server["created"].as_u64().unwrap())
        .sum()
}
