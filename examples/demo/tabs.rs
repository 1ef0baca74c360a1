//! A hundred browser tabs with the frontend as it was: each asks for the status of its scan once a second as long as it is open. Ten
//! tabs look at each scan. The first ten scans are completed from the start; one tab of each ten starts the next as soon as forebay
//! lets it.
//!
//! Every tab has an address of its own (all of 127.0.0.0/8 is this machine), as the tabs of different users have.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::clock::Clock;
use forebay::metrics::Counter;
use http::header::{HOST, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

/// Scans that are looked at.
pub(crate) const SCANS: u8 = 10;
/// Tabs that look at each.
pub(crate) const TABS_EACH: u8 = 10;
/// How often a tab asks.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How often somebody without patience presses the button.
const IMPATIENCE: Duration = Duration::from_secs(4);
/// Polls whose times are kept: those of the last ten seconds or so.
const REMEMBERED: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What the tabs have asked, and what came back.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) polls: Counter,
    pub(crate) starts: Counter,
    pub(crate) started: Counter,
    /// Answered from the cache.
    pub(crate) hits: Counter,
    /// Answered together with another one.
    pub(crate) joined: Counter,
    /// Told to come back later.
    pub(crate) limited: Counter,
    pub(crate) failed: Counter,
    /// How long the last polls took.
    took: Mutex<VecDeque<Duration>>,
}

impl Tally {
    fn took(&self, time: Duration) {
        let mut took = self.took.lock();
        took.truncate(REMEMBERED - 1);
        took.push_front(time);
    }

    /// Half of the last polls took that long or less.
    pub(crate) fn p50(&self) -> Option<Duration> {
        let mut took: Vec<_> = self.took.lock().iter().copied().collect();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }
}

/// The scan that ten tabs look at.
#[derive(Clone)]
struct Shown {
    /// How many they have looked at before.
    round: u64,
    id: Arc<str>,
}

/// Opens all tabs, and lets somebody without patience at the button.
pub(crate) fn open(server: SocketAddr, tally: &Arc<Tally>, clock: Clock) -> JoinSet<()> {
    let mut tabs = JoinSet::new();
    let browser = |address| Browser { address, server, tally: Arc::clone(tally), clock, connection: None };
    for scan in 1..=SCANS {
        let shown = Arc::new(Mutex::new(Shown { round: 0, id: scan.to_string().into() }));
        for number in 0..TABS_EACH {
            let tab = Tab { number: number.into(), shown: Arc::clone(&shown) };
            let after = INTERVAL * u32::from(number) / u32::from(TABS_EACH)
                + INTERVAL * u32::from(scan) / u32::from(SCANS) / u32::from(TABS_EACH);
            let browser = browser(Ipv4Addr::new(127, 0, scan, number + 1));
            tabs.spawn(async move {
                tokio::time::sleep(after).await;
                tab.run(browser).await;
            });
        }
    }
    let mut impatient = browser(Ipv4Addr::new(127, 0, 100, 1));
    tabs.spawn(async move {
        let mut presses = tokio::time::interval(IMPATIENCE);
        loop {
            presses.tick().await;
            let _ = impatient.start().await;
        }
    });
    tabs
}

struct Tab {
    number: u64,
    shown: Arc<Mutex<Shown>>,
}

impl Tab {
    async fn run(self, mut browser: Browser) {
        let mut polls = tokio::time::interval(INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut may_start = browser.clock.now();
        loop {
            let now = polls.tick().await;
            let Shown { round, id } = self.shown.lock().clone();
            let is_over = browser.poll(&id).await;
            if is_over && round % u64::from(TABS_EACH) == self.number && may_start <= now {
                match browser.start().await {
                    Ok(id) => *self.shown.lock() = Shown { round: round + 1, id: id.into() },
                    Err(wait) => may_start = now + wait,
                }
            }
        }
    }
}

/// A client with one connection, opened when it is needed.
struct Browser {
    address: Ipv4Addr,
    server: SocketAddr,
    tally: Arc<Tally>,
    clock: Clock,
    connection: Option<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>)>,
}

impl Browser {
    /// Asks for a status; whether there is nothing more to wait for.
    async fn poll(&mut self, id: &str) -> bool {
        self.tally.polls.inc();
        let began = self.clock.now();
        let answer = self.ask(Method::GET, &format!("/api/scan/status/{id}")).await;
        let Some((answer, body)) = answer else { return false };
        self.tally.took(self.clock.now().saturating_duration_since(began));
        let cache = answer.headers().get("cache-status").and_then(|value| value.to_str().ok());
        match cache.unwrap_or_default() {
            says if says.contains("; hit") => self.tally.hits.inc(),
            says if says.contains("; collapsed") => self.tally.joined.inc(),
            _ => {}
        }
        answer.status() == StatusCode::NOT_FOUND
            || body.get("status").is_some_and(|status| status == "completed")
    }

    /// Starts a scan.
    ///
    /// # Errors
    /// How long to wait before the next try.
    async fn start(&mut self) -> Result<String, Duration> {
        self.tally.starts.inc();
        let answer = self.ask(Method::POST, "/api/scan/execute").await;
        let (answer, body) = answer.ok_or(INTERVAL)?;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            self.tally.limited.inc();
        }
        let id = body.get("scan_id").and_then(Value::as_str);
        if let Some(id) = id.filter(|_| answer.status() == StatusCode::ACCEPTED) {
            self.tally.started.inc();
            return Ok(id.to_owned());
        }
        let wait = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Duration::from_secs(wait.unwrap_or(1)))
    }

    async fn ask(&mut self, method: Method, path: &str) -> Option<(Response<()>, Value)> {
        let answer =
            tokio::time::timeout(TIMEOUT, self.exchange(method, path)).await.ok().and_then(Result::ok);
        match &answer {
            Some((answer, _)) if !answer.status().is_server_error() => {}
            _ => self.tally.failed.inc(),
        }
        if answer.is_none() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, method: Method, path: &str) -> anyhow::Result<(Response<()>, Value)> {
        let host = self.server.to_string();
        let request = Request::builder().method(method).uri(path).header(HOST, host);
        let request = request.body(Full::default())?;
        let connection = match self.connection.take().filter(|(sender, _)| !sender.is_closed()) {
            Some(connection) => self.connection.insert(connection),
            None => {
                let connection = self.connect().await?;
                self.connection.insert(connection)
            }
        };
        connection.0.ready().await?;
        let (head, body) = connection.0.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(anyhow::Error::from_boxed)?;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        Ok((Response::from_parts(head, ()), body))
    }

    async fn connect(&self) -> anyhow::Result<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>)> {
        let socket = TcpSocket::new_v4()?;
        // Where a machine has 127.0.0.1 alone, all tabs are one client.
        let _ = socket.bind((self.address, 0).into());
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok((sender, AbortOnDropHandle::new(task)))
    }
}
