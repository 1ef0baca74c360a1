//! A write: once it is sent it is let finish, with its permit, whether its client waits or not; what it has changed is
//! dropped from the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::asked::Asked;
use super::direct::Obtained;
use super::job::{Starting, read_on};
use super::post::ForGet;
use crate::admission::Permit;
use crate::cache::Fence;
use crate::dedupe::Ticket;
use crate::http::body::{RequestBody, UploadOutcome};
use crate::http::reference::{self, Target};
use crate::http::target::host;
use crate::policy::{Policy, Route, State};
use crate::refusal::Refusal;
use crate::upstream::{self, Commitment, Patience, ResponseBody};

/// What of an answer that nobody waits for is read, so that the server is not cut off.
const READ_ALONE: usize = 64 * 1024;

type Outcome = Result<Obtained, upstream::Error>;

/// Sends a write. A client that leaves or is told 504 ends nothing.
pub(super) async fn write(
    route: Arc<Route>,
    request: Box<Request<RequestBody>>,
    upload: Option<UploadOutcome>,
    permit: Option<Permit>,
    writing: Writing,
    starting: Option<Box<Starting>>,
    tasks: TaskTracker,
) -> Outcome {
    let patience = route.upstream.patience();
    let commitment = Commitment::default();
    let made = commitment.clone();
    let work = async move {
        match route.upstream.send(request, Some(&commitment), writing.at).await {
            Ok(response) => {
                let for_get = writing.ended(&response);
                let (permit, birth) = match starting {
                    Some(starting) => {
                        let mut wait = starting.wait();
                        let (permit, birth) = starting.answered(&response, permit);
                        if birth.is_none() {
                            // Named by the head: what the client knows, a restart will know.
                            wait.written_down().await;
                        }
                        (permit, birth)
                    }
                    None => (permit, None),
                };
                Ok(Obtained { response, permit, birth, for_get })
            }
            Err(error) => {
                writing.failed(&commitment);
                if let Some(starting) = starting.filter(|_| commitment.is_made()) {
                    starting.lost(permit);
                }
                Err(error)
            }
        }
    };
    let overdue = overdue(upload, made.clone(), patience);
    let sent = Unstoppable { work: Some(Box::pin(work)), commitment: made, tasks };
    tokio::select! {
        biased;
        outcome = sent => outcome,
        () = overdue => Err(upstream::Error::ResponseTimeout),
    }
}

/// A write on its way. Dropped past the point of no return, it finishes in a task of its own.
struct Unstoppable {
    /// Here until it is done.
    work: Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    /// The point of no return.
    commitment: Commitment,
    tasks: TaskTracker,
}

impl Future for Unstoppable {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let poll = work.as_mut().poll(cx);
        if poll.is_ready() {
            self.work = None;
        }
        poll
    }
}

impl Drop for Unstoppable {
    fn drop(&mut self) {
        if let Some(work) = self.work.take().filter(|_| self.commitment.is_made()) {
            self.tasks.spawn(async move { read_alone(work.await).await });
        }
    }
}

/// An answer that nobody waits for: read so far that the server is not cut off in the middle of a usual one.
async fn read_alone(outcome: Outcome) {
    let Ok(Obtained { response, permit, birth, .. }) = outcome else { return };
    let body = response.into_body();
    if let Some(birth) = birth {
        return read_on(body, birth).await;
    }
    read_rest(body).await;
    drop(permit);
}

/// Reads an answer's body for nobody, so far as to do the server no harm.
pub(super) async fn read_rest(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut left = READ_ALONE;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => break,
        }
    }
}

/// Waits until the upstream has had its time, counted from the last chunk of the upload that it took.
async fn overdue(upload: Option<UploadOutcome>, commitment: Commitment, patience: Patience) {
    commitment.made().await;
    let progress = || upload.as_ref().and_then(UploadOutcome::progress);
    loop {
        let seen = progress();
        tokio::time::sleep(patience.after(seen)).await;
        if progress() == seen {
            return;
        }
    }
}

/// A write under way.
pub(super) struct Writing {
    fence: Fence,
    policy: Arc<Policy>,
    /// When it is sent.
    at: Instant,
    /// What it is sent to; canonical.
    host: String,
    uri: Uri,
    /// Whose answer may be stored for later GETs.
    for_get: Option<Box<ForGet>>,
    /// Of a start that may be the same as another.
    _ticket: Option<Ticket<Refusal>>,
}

impl Writing {
    /// A request that may change something begins: what is being fetched now is neither stored nor joined any more.
    /// Every method that is not known to be safe may (RFC 9111 section 4.4).
    pub(super) fn begin(state: &State, policy: &ArcSwap<Policy>, asked: &Asked) -> Option<Self> {
        if asked.parts.method.is_safe() {
            return None;
        }
        let tags: Vec<String> = asked
            .route()
            .invalidates
            .iter()
            .filter_map(|tag| tag.render(|name| asked.capture(name)))
            .collect();
        let (policy, uri) = (policy.load_full(), asked.parts.uri.clone());
        let host = host(&asked.parts.headers).to_owned();
        let fence = state.cache.fence(&policy.stored_url(&host, uri.path(), uri.query()), &tags);
        let for_get = ForGet::begin(state, &policy, asked);
        let at = state.clock.now();
        Some(Self { fence, policy, at, host, uri, for_get, _ticket: asked.ticket.clone() })
    }

    /// It was answered: what it has changed is dropped from the store, unless the answer is an error (RFC 9111 section 4.4).
    /// Returns under what the answer may be stored, where it is what a GET of the target would bring.
    fn ended(self, response: &Response<ResponseBody>) -> Option<Box<ForGet>> {
        if !(response.status().is_success() || response.status().is_redirection()) {
            return None;
        }
        let target = |name| self.same_host(response.headers().get(name)?);
        let (location, content_location) = (target(header::LOCATION), target(header::CONTENT_LOCATION));
        let is_itself = content_location.as_ref().is_some_and(|target| {
            target.path == self.uri.path() && target.query.as_deref() == self.uri.query()
        });
        let named = [location, content_location].into_iter().flatten();
        let urls: Vec<String> = named.map(|target| self.stored_url(&target)).collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        if let Some(for_get) = self.for_get.filter(|_| is_itself && response.status().is_success()) {
            return for_get.after(self.fence, &urls);
        }
        self.fence.succeeded(&urls);
        None
    }

    /// It was not answered. Once it was sent nobody knows what it has changed: what is stored may be wrong.
    fn failed(self, commitment: &Commitment) {
        if commitment.is_made() {
            self.fence.succeeded(&[]);
        }
    }

    /// What a field refers to, where that is on the same host.
    fn same_host(&self, reference: &HeaderValue) -> Option<Target> {
        let reference = std::str::from_utf8(reference.as_bytes()).ok()?;
        reference::resolve(reference, &self.host, self.uri.path(), self.uri.query())
    }

    /// Under what URL that is stored.
    fn stored_url(&self, target: &Target) -> String {
        self.policy.stored_url(&self.host, &target.path, target.query.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    static FINISHED: AtomicU32 = AtomicU32::new(0);

    #[tokio::test]
    async fn work_past_the_point_of_no_return_finishes_when_nobody_waits() {
        for (is_committed, expected) in [(false, 0), (true, 7)] {
            let (release, released) = oneshot::channel::<u32>();
            let (done, is_done) = oneshot::channel::<()>();
            let work = async move {
                FINISHED.store(released.await.unwrap_or_default(), Ordering::SeqCst);
                drop(done);
                Err(upstream::Error::ConnectionTerminated)
            };
            let (commitment, tasks) = (Commitment::default(), TaskTracker::new());
            if is_committed {
                commitment.make();
            }
            let mut sent = Unstoppable { work: Some(Box::pin(work)), commitment, tasks: tasks.clone() };
            assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut sent).poll(cx))).await.is_pending());
            drop(sent);
            let _ = release.send(7);
            let _ = is_done.await;
            tasks.close();
            tasks.wait().await;
            assert_eq!(FINISHED.load(Ordering::SeqCst), expected);
        }
    }
}
