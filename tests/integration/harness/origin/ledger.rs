//! The origin's memory: every request that reached it, and which were at work at the same time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::harness::wire::Head;

/// One request as the origin saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) method: String,
    /// The request target, as it stood in the request line.
    pub(crate) target: String,
    pub(crate) body: Body,
    /// The first 256 KiB of the body.
    pub(crate) body_start: Vec<u8>,
    pub(crate) body_length: u64,
    pub(crate) trailers: Vec<(String, String)>,
    /// On which connection it came, counted from 0.
    pub(crate) connection: usize,
    /// How many requests of the same method and path came before it.
    pub(crate) nth: usize,
    /// The peer went away before the answer was sent.
    pub(crate) abandoned: bool,
}

/// How far a request's body got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Unread,
    Whole,
    Broken,
}

const KEPT_BODY: usize = 256 * 1024;

impl Seen {
    pub(crate) fn new(head: Head, connection: usize) -> Self {
        let mut words = head.start.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Self {
            head,
            method,
            target,
            body: Body::Unread,
            body_start: Vec::new(),
            body_length: 0,
            trailers: Vec::new(),
            connection,
            nth: 0,
            abandoned: false,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn matches(&self, pattern: &str) -> bool {
        let (method, path) = pattern.split_once(' ').unwrap_or((&self.method, pattern));
        let matches_path = match path.strip_suffix('*') {
            Some(prefix) => self.path().starts_with(prefix),
            None => self.path() == path,
        };
        method == self.method && matches_path
    }

    pub(crate) fn add_body(&mut self, data: &[u8]) {
        self.body_length += data.len() as u64;
        let room = KEPT_BODY - self.body_start.len();
        self.body_start.extend_from_slice(&data[..data.len().min(room)]);
    }

    pub(crate) fn picture(&self) -> String {
        serde_json::json!({
            "method": self.method,
            "target": self.target,
            "version": self.head.start.rsplit(' ').next(),
            "fields": self.head.fields,
            "body": String::from_utf8_lossy(&self.body_start),
            "body_length": self.body_length,
            "trailers": self.trailers,
        })
        .to_string()
    }
}

/// All requests, by the number they got when their head came in.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    requests: BTreeMap<usize, Seen>,
    /// How many there were, those that are forgotten included.
    numbered: usize,
    events: Vec<Event>,
    by_path: HashMap<(String, String), usize>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Begin(usize),
    End(usize),
}

/// A request at work; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AtWork<'l> {
    ledger: &'l Ledger,
    number: usize,
}

impl Ledger {
    /// Enters a request; fills in its `nth`.
    pub(crate) fn begin(&self, seen: &mut Seen) -> AtWork<'_> {
        let mut pages = self.0.lock().unwrap();
        let number = pages.numbered;
        pages.numbered += 1;
        let same = pages.by_path.entry((seen.method.clone(), seen.path().to_owned())).or_default();
        seen.nth = *same;
        *same += 1;
        pages.requests.insert(number, seen.clone());
        pages.events.push(Event::Begin(number));
        AtWork { ledger: self, number }
    }

    pub(crate) fn seen(&self, pattern: &str) -> Vec<Seen> {
        let wanted = |seen: &&Seen| pattern == "*" || seen.matches(pattern);
        self.0.lock().unwrap().requests.values().filter(wanted).cloned().collect()
    }

    /// Forgets all requests, none of which may be at work.
    pub(crate) fn forget(&self) {
        assert_eq!(self.at_once("*").0, 0, "requests at work");
        *self.0.lock().unwrap() = Pages::default();
    }

    /// Forgets the requests that are over, and gives them back; those at work stay, and their number is the most so far.
    pub(crate) fn take_finished(&self) -> Vec<Seen> {
        let mut pages = self.0.lock().unwrap();
        let mut at_work = BTreeMap::new();
        let mut finished = Vec::new();
        for event in std::mem::take(&mut pages.events) {
            match event {
                Event::Begin(number) => at_work.extend(pages.requests.remove_entry(&number)),
                Event::End(number) => finished.extend(at_work.remove(&number)),
            }
        }
        pages.events = at_work.keys().map(|number| Event::Begin(*number)).collect();
        pages.requests = at_work;
        finished
    }

    /// How many are at work now, and how many were at most.
    pub(crate) fn at_once(&self, pattern: &str) -> (usize, usize) {
        let pages = self.0.lock().unwrap();
        let wanted = |number: usize| pattern == "*" || pages.requests[&number].matches(pattern);
        let (mut now, mut most) = (0, 0);
        for event in &pages.events {
            match *event {
                Event::Begin(number) if wanted(number) => now += 1,
                Event::End(number) if wanted(number) => now -= 1,
                Event::Begin(_) | Event::End(_) => {}
            }
            most = most.max(now);
        }
        (now, most)
    }
}

impl AtWork<'_> {
    /// Writes down what has become known of the request since it began.
    pub(crate) fn update(&self, seen: &Seen) {
        self.ledger.0.lock().unwrap().requests.insert(self.number, seen.clone());
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.ledger.0.lock().unwrap().events.push(Event::End(self.number));
    }
}
