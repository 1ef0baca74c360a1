//! No byte of a body reaches a request that the rules do not allow, in whatever order users ask, leave, and meet faults.
//!
//! Every body that the origin makes names the request it was made for and what its head said. What a client gets is
//! judged by rules of its own, written from the contract and not from the code.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use hyper::body::Frame;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;

/// What the origin does with one request.
#[derive(Debug, Clone)]
struct Behaviour {
    after: u64,
    says: Says,
    /// Pieces of 10 KB.
    pieces: usize,
    between: u64,
    ending: Ending,
}

/// What the head says of whom the response is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    MaxAge,
    NoStore,
    Public,
    SharedMaxAge,
    Private,
    SetCookie,
    PublicWithSetCookie,
    VaryLanguage,
    VaryCookie,
    VaryAnything,
    Failure,
    TooMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    /// The connection ends in the middle of the body.
    BreaksOff,
    /// The head never comes.
    Silent,
}

/// What one client does.
#[derive(Debug, Clone)]
struct Wish {
    at: u64,
    user: &'static str,
    language: &'static str,
    path: &'static str,
    insists: bool,
    /// When it goes away, counted from `at`.
    leaves: Option<u64>,
}

fn behaviours() -> impl Strategy<Value = Vec<Behaviour>> {
    use Says::*;
    let says = prop::sample::select(vec![
        Nothing,
        MaxAge,
        NoStore,
        Public,
        SharedMaxAge,
        Private,
        SetCookie,
        PublicWithSetCookie,
        VaryLanguage,
        VaryCookie,
        VaryAnything,
        Failure,
        TooMany,
    ]);
    let ending =
        prop_oneof![8 => Just(Ending::Whole), 1 => Just(Ending::BreaksOff), 1 => Just(Ending::Silent)];
    let one = (0_u64..60, says, prop_oneof![4 => 1_usize..4, 1 => Just(70)], 0_u64..20, ending).prop_map(
        |(after, says, pieces, between, ending)| Behaviour { after, says, pieces, between, ending },
    );
    prop::collection::vec(one, 1..6)
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let user = prop::sample::select(vec![
        "",
        "",
        "authorization: anna",
        "authorization: ben",
        "cookie: sid=anna",
        "cookie: sid=ben",
        "x-api-key: anna",
    ]);
    let leaves = prop_oneof![3 => Just(None), 1 => (0_u64..100).prop_map(Some)];
    let language = prop::sample::select(vec!["de", "en"]);
    let path = prop::sample::select(vec!["/one", "/two"]);
    let one = (0_u64..150, user, language, path, prop::bool::weighted(0.2), leaves).prop_map(
        |(at, user, language, path, insists, leaves)| Wish { at, user, language, path, insists, leaves },
    );
    prop::collection::vec(one, 1..24)
}

/// How a route treats its requests; whether it shares across identities by the operator's word.
const ROUTES: [(&str, bool); 5] = [
    ("", false),
    ("cache = { mode = 'standard', ttl = '1s', stale_while_revalidate = '1s' }", false),
    ("cache = { mode = 'force', ttl = '50ms', stale_while_revalidate = '1s', stale_if_error = '1s' }", false),
    ("collapse = 'off'\ncache = { mode = 'force', ttl = '1s' }", false),
    ("collapse = 'shared'", true),
];

/// The identity that a request's fields name, as the origin and the judge see it.
fn identity(headers: &HeaderMap) -> String {
    let named = ["authorization", "cookie", "x-api-key"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}: {}", headers.get(name)?.to_str().ok()?)));
    named.collect()
}

fn language(headers: &HeaderMap) -> String {
    headers["accept-language"].to_str().unwrap().to_owned()
}

/// What the origin remembers of each body it made.
#[derive(Debug)]
struct Made {
    says: Says,
    identity: String,
    language: String,
    path: String,
    length: usize,
}

type Ledger = Arc<Mutex<Vec<Made>>>;

/// A body in pieces, each at its time.
struct Pieces(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}

async fn answer(
    request: Request<Incoming>,
    ledger: Ledger,
    behaviours: Arc<Vec<Behaviour>>,
) -> Response<Pieces> {
    let (number, behaviour) = {
        let mut ledger = ledger.lock().unwrap();
        let behaviour = behaviours[ledger.len() % behaviours.len()].clone();
        ledger.push(Made {
            says: behaviour.says,
            identity: identity(request.headers()),
            language: language(request.headers()),
            path: request.uri().path().to_owned(),
            length: behaviour.pieces * 10_000,
        });
        (ledger.len() - 1, behaviour)
    };
    tokio::time::sleep(Duration::from_millis(behaviour.after)).await;
    if behaviour.ending == Ending::Silent {
        return std::future::pending().await;
    }
    let mut response = Response::builder();
    for (name, value) in fields(behaviour.says) {
        response = response.header(*name, *value);
    }
    response = response.status(match behaviour.says {
        Says::Failure => 500,
        Says::TooMany => 429,
        _ => 200,
    });
    response.body(body(number, &behaviour)).unwrap()
}

fn fields(says: Says) -> &'static [(&'static str, &'static str)] {
    match says {
        Says::Nothing | Says::Failure | Says::TooMany => &[],
        Says::MaxAge => &[("cache-control", "max-age=5")],
        Says::NoStore => &[("cache-control", "no-store")],
        Says::Public => &[("cache-control", "public, max-age=5")],
        Says::SharedMaxAge => &[("cache-control", "s-maxage=5")],
        Says::Private => &[("cache-control", "private, max-age=5")],
        Says::SetCookie => &[("set-cookie", "sid=new"), ("cache-control", "max-age=5")],
        Says::PublicWithSetCookie => &[("set-cookie", "sid=new"), ("cache-control", "public, max-age=5")],
        Says::VaryLanguage => &[("vary", "accept-language"), ("cache-control", "public, max-age=5")],
        Says::VaryCookie => &[("vary", "cookie"), ("cache-control", "public, max-age=5")],
        Says::VaryAnything => &[("vary", "*"), ("cache-control", "public, max-age=5")],
    }
}

/// Every hundred bytes say which answer they are of.
fn body(number: usize, behaviour: &Behaviour) -> Pieces {
    let piece: Bytes = format!("{number:0>100}").repeat(100).into();
    let (between, pieces) = (Duration::from_millis(behaviour.between), behaviour.pieces);
    let is_to_break = behaviour.ending == Ending::BreaksOff;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for nth in 0..pieces {
            tokio::time::sleep(between).await;
            let breaks_off = is_to_break && nth == pieces / 2;
            let next = if breaks_off {
                Err(io::ErrorKind::BrokenPipe.into())
            } else {
                Ok(Frame::data(piece.clone()))
            };
            if sender.send(next).await.is_err() || breaks_off {
                return;
            }
        }
    });
    Pieces(receiver)
}

/// All that came of one case: each wish with what its client got.
async fn play(
    route: &str,
    wishes: &[Wish],
    behaviours: Vec<Behaviour>,
) -> (Vec<(Wish, Option<Got>)>, Ledger) {
    let ledger = Ledger::default();
    let (made, behaviours) = (Arc::clone(&ledger), Arc::new(behaviours));
    let config = format!("[[routes]]\nname = 'all'\nmatch = '/{{*rest}}'\ntimeout = '20s'\n{route}");
    let pipeline = Arc::new(Pipeline::new(&config, 0, move |request| {
        answer(request, Arc::clone(&made), Arc::clone(&behaviours))
    }));
    let clients: Vec<_> =
        wishes.iter().map(|wish| tokio::spawn(client(Arc::clone(&pipeline), wish.clone()))).collect();
    let mut outcomes = Vec::new();
    for (wish, client) in wishes.iter().zip(clients) {
        outcomes.push((wish.clone(), client.await.unwrap()));
    }
    // What still goes on is fetched for nobody, and must end by itself.
    tokio::time::sleep(Duration::from_secs(200)).await;
    let state = &pipeline.state;
    assert_eq!((state.flights.count(), state.flights.retained(), state.listener.panics.value()), (0, 0, 0));
    (outcomes, ledger)
}

async fn client(pipeline: Arc<Pipeline>, wish: Wish) -> Option<Got> {
    tokio::time::sleep(Duration::from_millis(wish.at)).await;
    let mut request = Request::get(wish.path).header("host", "h").header("accept-language", wish.language);
    if let Some((name, value)) = wish.user.split_once(": ") {
        request = request.header(name, value);
    }
    if wish.insists {
        request = request.header("cache-control", "no-cache");
    }
    let asked = pipeline.ask(request.body(Empty::new()).unwrap());
    match wish.leaves {
        Some(after) => tokio::time::timeout(Duration::from_millis(after), asked).await.ok().flatten(),
        // Longer than the route allows: a client that waits for ever would be a hang.
        None => Some(
            tokio::time::timeout(Duration::from_secs(60), asked).await.expect("an end").expect("an answer"),
        ),
    }
}

/// Whether a body made for one request may go to another; `None` where to one request at most.
fn may_have(made: &Made, wish: &Wish, is_shared_by_operator: bool) -> Option<bool> {
    let is_same = made.identity == wish.user;
    let (is_known, same_language) = (!made.identity.is_empty(), made.language == wish.language);
    match made.says {
        Says::VaryAnything => None,
        // Among those of one identity; without credentials nobody knows who is who.
        Says::Private if is_known && !is_shared_by_operator => Some(is_same),
        Says::Private | Says::SetCookie | Says::PublicWithSetCookie => None,
        Says::VaryLanguage => Some(same_language),
        Says::VaryCookie => Some(cookie_of(&made.identity) == cookie_of(wish.user)),
        Says::Public | Says::SharedMaxAge => Some(true),
        // A refusal may be the fault of the one who asked.
        Says::TooMany => None,
        Says::Nothing | Says::MaxAge | Says::NoStore | Says::Failure => {
            Some(is_same || is_shared_by_operator)
        }
    }
}

fn cookie_of(identity: &str) -> &str {
    identity.strip_prefix("cookie: ").unwrap_or_default()
}

fn judge(
    outcomes: &[(Wish, Option<Got>)],
    ledger: &[Made],
    is_shared_by_operator: bool,
) -> Result<(), TestCaseError> {
    let mut owners = HashMap::new();
    for (at, (wish, got)) in outcomes.iter().enumerate() {
        let Some(got) = got else { continue };
        if got.head.headers.contains_key("proxy-status") {
            continue;
        }
        let mut numbers: Vec<_> = got.body.chunks(100).filter(|line| line.len() == 100).collect();
        numbers.dedup();
        let Some(first) = numbers.first() else {
            prop_assert!(!got.is_whole, "a whole body has a line: {got:?}");
            continue;
        };
        prop_assert_eq!(numbers.len(), 1, "one answer, one body");
        let number: usize = std::str::from_utf8(first).unwrap().parse().unwrap();
        let made = &ledger[number];
        prop_assert!(
            !got.is_whole || got.body.len() == made.length,
            "a short body: {} of {made:?}",
            got.body.len()
        );
        prop_assert_eq!(&made.path, wish.path);
        match may_have(made, wish, is_shared_by_operator) {
            Some(may) => prop_assert!(may, "{made:?} went to {wish:?}"),
            None => {
                let owner = owners.entry(number).or_insert(at);
                prop_assert_eq!(*owner, at, "{:?} went to two", made);
                prop_assert_eq!(made.identity.as_str(), wish.user);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_body_reaches_a_request_that_the_rules_do_not_allow(
        route in prop::sample::select(ROUTES.to_vec()),
        wishes in wishes(),
        behaviours in behaviours(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (outcomes, ledger) = runtime.block_on(play(route.0, &wishes, behaviours));
        judge(&outcomes, &ledger.lock().unwrap(), route.1)?;
    }
}
