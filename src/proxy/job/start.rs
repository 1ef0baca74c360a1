//! A start: its answer is read while it streams, and the permit moves to the job that it names.
//!
//! Whether a client reads the answer or not: what it leaves is read on, so that the job is known. Where jobs survive a
//! restart, the end of the answer waits until this one does: who knows its name can rely on it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::is_readable;
use crate::admission::Permit;
use crate::client::KeySpec;
use crate::http::tap::Tap;
use crate::http::target::host;
use crate::jobs::{self, By, Start, StartReading};
use crate::policy::{JobPolicy, JobRole, State};
use crate::proxy::asked::Asked;
use crate::router::Pattern;
use crate::upstream::{BodyError, ResponseBody};

/// What the end of its answer waits for.
type JobWait = jobs::Wait<Option<Permit>>;

/// A start that is about to be sent, or was.
#[derive(Debug)]
pub(in crate::proxy) struct Starting {
    job: Arc<JobPolicy>,
    state: Arc<State>,
    start: Start,
    host: String,
    /// What its own path has captured.
    captures: Vec<(String, String)>,
    noted: jobs::Starting<Option<Permit>>,
}

/// A job that a good answer is about to name.
#[derive(Debug)]
pub(in crate::proxy) struct Birth {
    starting: Starting,
    permit: Option<Permit>,
    /// None where the body cannot be read.
    tap: Option<Tap>,
}

impl Starting {
    /// `None` for everything else than a start.
    pub(in crate::proxy) fn of(state: &Arc<State>, asked: &Asked) -> Option<Box<Self>> {
        let Some(JobRole::Start(job)) = &asked.route().job else { return None };
        if asked.parts.method.is_safe() {
            return None;
        }
        let names = job.patterns.iter().flat_map(Pattern::captures);
        let captures =
            names.filter_map(|name| Some((name.to_owned(), asked.capture(name)?.to_owned()))).collect();
        let start = Start {
            starter: By::Poller {
                identity: asked.identity_by(&job.identity),
                client: asked.partition(&KeySpec::client_ip()),
            },
            url: None,
            credentials: job.probes_as_starter.then(|| credentials(job, &asked.parts.headers)),
        };
        Some(Box::new(Self {
            noted: job.table.starting(),
            job: Arc::clone(job),
            state: Arc::clone(state),
            start,
            host: host(&asked.parts.headers).to_owned(),
            captures,
        }))
    }

    /// Waits until a restart would know of it; to be called before it is sent.
    pub(in crate::proxy) async fn written_down(&mut self) {
        self.noted.written_down().await;
    }

    /// What the end of its answer waits for.
    pub(in crate::proxy) fn wait(&self) -> JobWait {
        self.noted.wait()
    }

    /// It was answered. The job that a `Location` names holds the permit from now on; one that the body is to name gives
    /// a [`Birth`]; otherwise the permit comes back.
    pub(in crate::proxy) fn answered(
        self,
        response: &Response<ResponseBody>,
        permit: Option<Permit>,
    ) -> (Option<Permit>, Option<Box<Birth>>) {
        if !response.status().is_success() {
            return (permit, None);
        }
        if let Some(id) = self.named_by_location(response.headers()) {
            self.begun(&id, permit);
            return (None, None);
        }
        let tap = is_readable(response.status(), response.headers()).then(Tap::default);
        (None, Some(Box::new(Birth { starting: self, permit, tap })))
    }

    /// It was sent, and there is no answer, or none that names a job: whether one has begun nobody knows.
    pub(in crate::proxy) fn lost(self, mut permit: Option<Permit>) {
        if let Some(permit) = &mut permit {
            permit.pass_to_job();
        }
        self.job.table.start_unknown(permit);
    }

    fn named_by_location(&self, headers: &HeaderMap) -> Option<String> {
        let location: Uri = headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
        self.job.id_at(location.path())
    }

    fn begun(mut self, id: &str, mut permit: Option<Permit>) {
        let known = |name: &str| {
            self.captures.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        self.start.url = self.job.status_url(id, &self.host, known);
        if let Some(url) = &self.start.url {
            // Under this name there may have been another job, or none.
            self.state.cache.purge_url(&format!("{}{}", url.host, url.path));
        }
        if let Some(permit) = &mut permit {
            permit.pass_to_job();
        }
        self.job.table.start(id, self.start, permit);
    }
}

impl Birth {
    /// The answer has come to its end, or breaks off.
    fn settle(self, is_whole: bool) {
        let body = self.tap.as_ref().and_then(Tap::whole).filter(|_| is_whole);
        match self.starting.job.spec.read_start(body) {
            StartReading::Begun(id) => self.starting.begun(&id, self.permit),
            // It was over before it was answered: the permit goes back.
            StartReading::Final => {}
            StartReading::Nameless => {
                let job = Arc::clone(&self.starting.job);
                self.starting.lost(self.permit);
                if job.table.is_first_warning() {
                    tracing::warn!(
                        job = %job.spec.name,
                        route = %job.spec.routes.0,
                        hold = ?job.spec.unknown_hold,
                        "a start was answered without a job's name where `id` says: it holds its permit no longer than that"
                    );
                }
            }
        }
    }

    /// Whether more of the body can still name the job.
    fn is_open(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.whole().is_some())
    }

    fn push(&mut self, data: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.push(data);
        }
    }
}

/// Reads an answer that nobody else reads, as far as it can name the job.
pub(in crate::proxy) async fn read_on(mut body: ResponseBody, mut birth: Box<Birth>) {
    let mut is_whole = body.is_end_stream();
    while !is_whole && birth.is_open() {
        match body.frame().await {
            Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| birth.push(data)),
            Some(Err(_)) => break,
            None => is_whole = true,
        }
    }
    birth.settle(is_whole);
}

/// A start's answer on its way to the client.
#[derive(Debug)]
pub(in crate::proxy) struct StartBody {
    /// None once it is dropped.
    body: Option<ResponseBody>,
    /// None once it is settled.
    birth: Option<Box<Birth>>,
    /// What is held back until a restart would know of the job: the end of the body.
    held_back: Option<HeldBack>,
    state: Arc<State>,
}

/// The end of a body, and what it waits for.
struct HeldBack {
    frame: Option<Result<Frame<Bytes>, BodyError>>,
    written: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBack").finish_non_exhaustive()
    }
}

impl StartBody {
    pub(in crate::proxy) fn new(body: ResponseBody, birth: Box<Birth>) -> Self {
        let state = Arc::clone(&birth.starting.state);
        let mut start = Self { body: Some(body), birth: Some(birth), held_back: None, state };
        drop(start.settle_at_end());
        start
    }

    /// As soon as the last byte is here, before the client has it: its first question finds the job. What the end waits
    /// for then.
    fn settle_at_end(&mut self) -> Option<JobWait> {
        if self.body.as_ref().is_some_and(|body| !body.is_end_stream()) {
            return None;
        }
        self.settle(true)
    }

    fn settle(&mut self, is_whole: bool) -> Option<JobWait> {
        let birth = self.birth.take()?;
        let wait = birth.starting.wait();
        birth.settle(is_whole);
        Some(wait)
    }
}

impl Body for StartBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.held_back.is_none() {
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let frame = ready!(Pin::new(body).poll_frame(cx));
            let settled = match &frame {
                Some(Ok(frame)) => {
                    if let (Some(data), Some(birth)) = (frame.data_ref(), &mut self.birth) {
                        birth.push(data);
                    }
                    self.settle_at_end()
                }
                Some(Err(_)) | None => self.settle(frame.is_none()),
            };
            let Some(mut wait) = settled else { return Poll::Ready(frame) };
            let written = Box::pin(async move { wait.written_down().await });
            self.held_back = Some(HeldBack { frame, written });
        }
        let Some(held) = &mut self.held_back else { return Poll::Ready(None) };
        ready!(held.written.as_mut().poll(cx));
        Poll::Ready(self.held_back.take().and_then(|held| held.frame))
    }

    fn is_end_stream(&self) -> bool {
        self.held_back.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.held_back) {
            (Some(body), None) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for StartBody {
    /// The client has left in the middle.
    fn drop(&mut self) {
        if let (Some(body), Some(birth)) = (self.body.take(), self.birth.take()) {
            self.state.afterlife.tasks.spawn(read_on(body, birth));
        }
    }
}

fn credentials(job: &JobPolicy, headers: &HeaderMap) -> HeaderMap {
    let cookie = Some(header::COOKIE).filter(|_| !job.identity.cookies().is_empty());
    let names = job.identity.headers().iter().cloned().chain(cookie);
    let mut kept = HeaderMap::new();
    for name in names {
        if !kept.contains_key(&name) {
            for value in headers.get_all(&name) {
                kept.append(name.clone(), value.clone());
            }
        }
    }
    kept
}
