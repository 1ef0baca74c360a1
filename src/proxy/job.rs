//! Where requests meet jobs: a start's permit moves to the job that it has begun, a status answer tells how a job is.
//!
//! A status answer is read before anybody sees its head, as far as [`MAX_TAPPED`](crate::http::tap::MAX_TAPPED): its head
//! says how soon to ask again, and how long it is stored, by what the body says. A start's answer streams.

mod keep;
mod start;

pub use self::keep::{keep_jobs, restore_jobs};
pub(super) use self::start::{Birth, StartBody, Starting, read_on};

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, response};
use tokio::time::Instant;

use super::asked::Asked;
use crate::cache::CachePolicy;
use crate::client::KeySpec;
use crate::http::fields;
use crate::http::target::host;
use crate::jobs::{By, Seen, Standing, Url};
use crate::policy::{JobPolicy, JobRole};
use crate::upstream::ResponseBody;

/// A question about a job on its way to the upstream.
#[derive(Debug)]
pub(super) struct Watch {
    job: Arc<JobPolicy>,
    /// None where what stands in its place can be no job's name.
    id: Option<String>,
    by: By,
    url: Option<Url>,
}

/// What the answer has told.
#[derive(Debug)]
pub(super) struct Told {
    job: Arc<JobPolicy>,
    standing: Standing,
}

impl Watch {
    /// `None` for everything else than a question about a job.
    pub(super) fn of(asked: &Asked) -> Option<Box<Self>> {
        let Some(JobRole::Status(job)) = &asked.route().job else { return None };
        if asked.parts.method != Method::GET {
            return None;
        }
        let parts = &asked.parts;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let by = By::Poller {
            identity: asked.identity_by(&job.identity),
            client: asked.partition(&KeySpec::client_ip()),
        };
        let id = asked.capture(&job.capture).and_then(|captured| job.id_of(captured));
        Some(Box::new(Self { job: Arc::clone(job), id, by, url: Url::new(host(&parts.headers), path) }))
    }

    /// Reads the answer, which was asked for at `asked`, and tells the job's table. The body can be read again.
    pub(super) async fn read(self, asked: Instant, parts: &response::Parts, body: &mut ResponseBody) -> Told {
        let Self { job, id, by, url } = self;
        let whole = read_ahead(parts, body).await;
        let reading = job.spec.read_status(parts.status, whole.as_deref());
        let own = || job.spec.named(whole.as_deref()?);
        let standing = match id.map(|id| job.table.name(id, own)) {
            Some(id) => job.table.observe(&id, &Seen { reading, asked, by, url }, || job.hold()),
            None => {
                job.table.figures.unrecognised_statuses.inc();
                Standing::Unknown
            }
        };
        Told { job, standing }
    }

    /// The same, and tells the one who asked: of an answer that nobody else gets.
    pub(super) async fn read_and_tell(
        self,
        asked: Instant,
        response: Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let (mut parts, mut body) = response.into_parts();
        self.read(asked, &parts, &mut body).await.tell(&mut parts.headers);
        Response::from_parts(parts, body)
    }
}

impl Told {
    /// How the answer is stored: a final status is kept, and not asked for again.
    pub(super) fn cache_policy<'p>(&'p self, usual: &'p CachePolicy) -> &'p CachePolicy {
        if self.standing == Standing::Final { &self.job.done } else { usual }
    }

    /// Tells pollers when to ask again. After the answer was judged: the words are for clients, not for the store.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let Standing::Running(age) = self.standing else { return };
        let seconds = self.job.spec.pace.seconds(age);
        if let Ok(value) = HeaderValue::from_str(&format!("private, max-age={seconds}")) {
            headers.insert(header::CACHE_CONTROL, value);
        }
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// All of a good answer's body, where it is short enough and comes as it is.
async fn read_ahead(parts: &response::Parts, body: &mut ResponseBody) -> Option<Vec<u8>> {
    if !is_readable(parts.status, &parts.headers) {
        return None;
    }
    body.read_ahead().await
}

/// Whether a body may say something. A part of a document does not: its reader chose which. A coding is not undone, so that a small one cannot become a large one: it was asked
/// for without.
fn is_readable(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    status.is_success()
        && status != StatusCode::PARTIAL_CONTENT
        && headers.get(header::CONTENT_ENCODING).is_none_or(is_plain)
        && !fields::is_event_stream(headers)
}
