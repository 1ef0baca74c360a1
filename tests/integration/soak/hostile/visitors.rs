//! Good clients: each has an identity, does nothing wrong, and gets what is its own, each time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use super::World;
use super::books::figures;
use crate::harness::client::Request;
use crate::harness::websocket::{handshake, text_frame};
use crate::harness::{Connection, H2, Proxy, Response, request, seconds};
use crate::soak::Dice;
use crate::soak::faults::Mark;

/// Routes that nobody else uses.
const ROUTES: [&str; 4] = ["steady", "echo", "mortal", "stale"];
/// Of what may be stored for all, so many.
const STORED: usize = 3;

/// What visitors got, by route and status.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Visits {
    fn enter(&self, route: &'static str, status: u16) {
        *self.0.lock().unwrap().entry((route, status)).or_default() += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }

    /// Panics unless forebay has counted the same.
    pub(super) async fn compare(&self, proxy: &Proxy) {
        let metrics = proxy.metrics().await;
        for route in ROUTES {
            let got = self.0.lock().unwrap().clone().into_iter().filter(|((of, _), _)| *of == route);
            let got: BTreeMap<_, _> = got.map(|((_, status), count)| (status.to_string(), count)).collect();
            let label = format!("route=\"{route}\"");
            assert_eq!(figures(&metrics, "forebay_requests_total", &label, "status"), got, "{route}");
        }
    }
}

/// Has stored what has to be there when its origin dies.
pub(super) async fn warm(world: &World) {
    for number in 0..STORED {
        let answer = request(&format!("GET /stale/plain/{number}")).send(world.proxy).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        world.visits.enter("stale", 200);
    }
}

/// One visitor until the end; how many answers it got.
pub(super) async fn visitor(number: usize, world: World) -> usize {
    let dice = Dice(world.seed.wrapping_mul(15_485_863).wrapping_add(number as u64));
    let mut visitor = Visitor { user: format!("visitor-{number}"), dice, made: 0, world };
    while Instant::now() < visitor.world.end {
        match visitor.dice.below(12) {
            0 => visitor.socket().await,
            1 => visitor.events().await,
            2 => visitor.upload().await,
            3 => visitor.over_http_2().await,
            4 => visitor.in_a_row().await,
            5 | 6 => visitor.stale().await,
            7 | 8 => visitor.mortal().await,
            _ => visitor.steady().await,
        }
        visitor.made += 1;
        tokio::time::sleep(seconds(0.001 * visitor.dice.below(30) as f64)).await;
    }
    visitor.made
}

struct Visitor {
    user: String,
    dice: Dice,
    made: usize,
    world: World,
}

impl Visitor {
    fn proxy(&self) -> SocketAddr {
        self.world.proxy
    }

    /// The path of something that all may share, or of the visitor's own; whether it is its own.
    fn choose(&mut self) -> (String, bool) {
        let number = self.dice.below(STORED);
        match self.dice.below(6) {
            0 | 1 => (format!("/steady/fresh/{number}"), false),
            // The same for whoever asks within a fifth of a second.
            2 => (format!("/steady/slow/{}", self.world.began.elapsed().as_millis() / 200), false),
            3 => (format!("/steady/private/{number}"), true),
            4 => (format!("/steady/cookie/{number}"), true),
            _ => (format!("/steady/plain/{number}"), true),
        }
    }

    fn get(&self, path: &str, is_own: bool) -> Request {
        let request = request(&format!("GET {path}"));
        if is_own { request.field("Authorization", &self.user) } else { request }
    }

    /// It is whole, about this path, and made for this visitor or for all.
    fn check(&self, route: &'static str, answer: &Response, path: &str, is_own: bool) {
        assert_eq!(answer.status(), 200, "{path} for {}: {answer:?}", self.user);
        let (_, mark, rest) = Mark::read(answer.text()).expect("a mark");
        let user = if is_own { &self.user } else { "" };
        assert_eq!((mark.path, mark.user, rest), (path, user, ""), "{answer:?}");
        self.world.visits.enter(route, 200);
    }

    async fn steady(&mut self) {
        let (path, is_own) = self.choose();
        let answer = self.get(&path, is_own).send(self.proxy()).await;
        self.check("steady", &answer, &path, is_own);
    }

    async fn in_a_row(&mut self) {
        let mut connection = Connection::open(self.proxy()).await;
        for _ in 0..5 {
            let (path, is_own) = self.choose();
            let answer = connection.ask(&self.get(&path, is_own)).await;
            self.check("steady", &answer, &path, is_own);
        }
    }

    async fn over_http_2(&mut self) {
        let connection = H2::open(self.proxy()).await;
        for _ in 0..5 {
            let (path, is_own) = self.choose();
            let fields = [("authorization", &*self.user)];
            let answer = connection.get(&path, if is_own { &fields } else { &[] }).await;
            self.check("steady", &answer, &path, is_own);
        }
    }

    async fn upload(&mut self) {
        let body = self.user.repeat(1 + self.dice.below(2000));
        let line = format!("POST /steady/echo/{}", self.dice.below(STORED));
        let upload = request(&line).field("Authorization", &self.user);
        let upload = if self.dice.below(2) == 0 { upload.body(&*body) } else { upload.chunked(&*body) };
        let answer = upload.send(self.proxy()).await;
        assert_eq!(answer.status(), 200, "{line}: {answer:?}");
        let picture = answer.json();
        assert_eq!((picture["body"].as_str(), &picture["method"]), (Some(&*body), &"POST".into()));
        let fields = picture["fields"].as_array().unwrap();
        assert!(fields.contains(&serde_json::json!(["authorization", self.user])), "{picture}");
        self.world.visits.enter("steady", 200);
    }

    async fn events(&mut self) {
        let path = format!("/steady/events/{}", self.dice.below(STORED));
        let asked = self.get(&path, true).field("Accept", "text/event-stream");
        let answer = asked.send(self.proxy()).await;
        let events: Vec<_> = answer.text().split("\n\n").collect();
        assert_eq!((answer.status(), events.len(), events[4]), (200, 5, ""), "{answer:?}");
        for event in &events[..4] {
            let mark = Mark::read(event.strip_prefix("data: ").unwrap()).unwrap().1;
            assert_eq!((mark.path, mark.user), (&*path, &*self.user));
        }
        self.world.visits.enter("steady", 200);
    }

    async fn socket(&mut self) {
        let mut socket = Connection::open(self.proxy()).await;
        socket.send(handshake("/echo/socket").field("Authorization", &self.user).bytes()).await;
        assert_eq!(socket.head("GET").await.status(), 101);
        for number in 0..=self.dice.below(5) {
            let frame = text_frame(&format!("{} {number}", self.user));
            socket.send(&frame).await;
            assert_eq!(socket.wire.exactly(frame.len()).await.expect("its echo"), frame);
        }
        self.world.visits.enter("echo", 101);
    }

    /// What is stored is had whether its origin lives or not.
    async fn stale(&mut self) {
        let path = format!("/stale/plain/{}", self.dice.below(STORED));
        let answer = self.get(&path, false).send(self.proxy()).await;
        self.check("stale", &answer, &path, false);
    }

    /// Right, or refused because the origin has died and forebay has not yet found that it is back. A write is not like
    /// any other, so that one that is sent twice is found.
    async fn mortal(&mut self) {
        let began = Instant::now();
        let (method, kind) = if self.dice.below(3) == 0 { ("POST", "write") } else { ("GET", "plain") };
        let path = format!("/mortal/{kind}/{}/{}", self.user, self.made);
        let asked = request(&format!("{method} {path}")).field("Authorization", &self.user);
        let answer = asked.send(self.proxy()).await;
        if answer.status() == 200 && answer.cut_short.is_none() {
            return self.check("mortal", &answer, &path, true);
        }
        assert!(matches!(answer.status(), 200 | 502..=504), "{answer:?}");
        assert!(self.world.outages.explain(began), "no origin was away: {answer:?}");
        self.world.visits.enter("mortal", answer.status());
    }
}
