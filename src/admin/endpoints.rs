//! What can be asked.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};
use serde::Serialize;
use tower::BoxError;

use super::reply::{Reply, json, method_not_allowed, problem, problem_with};
use super::{Admin, VERSION, cache, config, health, jobs, limits, metrics, performance, pool, reload, warm};

/// A request body beyond this is refused.
const MAX_BODY: usize = 64 * 1024;

/// Every endpoint. The order is that of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Index,
    Healthz,
    Readyz,
    Metrics,
    Performance,
    CacheStats,
    CacheClear,
    CacheWarm,
    PoolStats,
    Limits,
    Jobs,
    Job,
    Config,
    Reload,
}

impl Endpoint {
    const ALL: [(Self, &str, &str); 14] = [
        (Self::Index, "/", "this list"),
        (Self::Healthz, "/healthz", "whether the process runs"),
        (Self::Readyz, "/readyz", "whether it takes new work"),
        (Self::Metrics, "/metrics", "figures for Prometheus"),
        (Self::Performance, "/api/performance", "response times, load and savings"),
        (Self::CacheStats, "/api/cache/stats", "stored responses and their use"),
        (Self::CacheClear, "/api/cache/clear", "removes stored responses"),
        (Self::CacheWarm, "/api/cache/warm", "fetches URLs into the store"),
        (Self::PoolStats, "/api/pool/stats", "upstream servers and their connections"),
        (Self::Limits, "/api/limits", "rate limits and in-flight pools"),
        (Self::Jobs, "/api/jobs", "jobs at work"),
        (Self::Job, "/api/jobs/{id}", "lets a job go"),
        (Self::Config, "/api/config", "the effective configuration as TOML"),
        (Self::Reload, "/api/reload", "reads the configuration again"),
    ];

    fn at(path: &str) -> Option<Self> {
        let exact = Self::ALL.iter().find(|(_, at, _)| *at == path).map(|(endpoint, ..)| *endpoint);
        exact.or_else(|| job_in(path).map(|_| Self::Job))
    }

    /// Whether it needs no token: it tells nothing but that something is here.
    fn is_open(self) -> bool {
        matches!(self, Self::Index | Self::Healthz | Self::Readyz)
    }

    fn allow(self) -> &'static str {
        match self {
            Self::CacheClear | Self::CacheWarm | Self::Reload => "POST",
            Self::Job => "DELETE",
            _ => "GET, HEAD",
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// Answers one request.
pub(super) async fn answer<B>(admin: Arc<Admin>, request: Request<B>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let endpoint = Endpoint::at(head.uri.path());
    if let Err(refused) = admin.guard.load().check(&head, endpoint.is_some_and(Endpoint::is_open)) {
        return refused.reply();
    }
    let Some(endpoint) = endpoint else {
        let detail = "there is no such endpoint; these are the ones there are";
        return problem_with(StatusCode::NOT_FOUND, detail, Some(listing().collect()));
    };
    if !endpoint.takes(&head.method) {
        return method_not_allowed(endpoint.allow());
    }
    let snapshot = || (admin.sources.snapshot)();
    match endpoint {
        Endpoint::Index => index(),
        Endpoint::Healthz => health::healthz(),
        Endpoint::Readyz => health::readyz(&snapshot()),
        Endpoint::Metrics => metrics::render(snapshot(), admin.connections.value(), &head.headers),
        Endpoint::Performance => performance::render(&snapshot()),
        Endpoint::CacheStats => cache::stats(&snapshot()),
        Endpoint::CacheClear => match read(body).await {
            Ok(body) => cache::clear(&body, &admin.sources.purge),
            Err(refusal) => refusal,
        },
        Endpoint::CacheWarm => match read(body).await {
            Ok(body) => warm::warm(&body, async |urls| (admin.sources.warm)(urls).await).await,
            Err(refusal) => refusal,
        },
        Endpoint::PoolStats => pool::render(&snapshot()),
        Endpoint::Limits => limits::render(&snapshot()),
        Endpoint::Jobs => jobs::list(&admin.sources.jobs),
        Endpoint::Job => {
            let in_path = job_in(head.uri.path()).unwrap_or_default();
            jobs::release(in_path, head.uri.query(), &admin.sources.jobs)
        }
        Endpoint::Config => config::render((admin.sources.config)()),
        Endpoint::Reload => reload::render((admin.sources.reload)().await),
    }
}

/// What stands for a job in a path.
fn job_in(path: &str) -> Option<&str> {
    path.strip_prefix("/api/jobs/").filter(|rest| !rest.is_empty())
}

fn index() -> Reply {
    #[derive(Serialize)]
    struct Index {
        name: &'static str,
        version: &'static str,
        endpoints: Vec<Line>,
    }
    #[derive(Serialize)]
    struct Line {
        method: &'static str,
        path: &'static str,
        answers: &'static str,
    }
    let line = |&(endpoint, path, answers): &(Endpoint, _, _)| Line {
        method: first_method(endpoint),
        path,
        answers,
    };
    json(&Index { name: "forebay", version: VERSION, endpoints: Endpoint::ALL.iter().map(line).collect() })
}

fn listing() -> impl Iterator<Item = String> {
    Endpoint::ALL.iter().map(|(endpoint, path, _)| format!("{} {path}", first_method(*endpoint)))
}

fn first_method(endpoint: Endpoint) -> &'static str {
    endpoint.allow().split(',').next().unwrap_or_default()
}

async fn read<B>(body: B) -> Result<Bytes, Reply>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let whole = std::pin::pin!(Limited::new(body, MAX_BODY)).collect().await;
    whole.map(Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB")
        } else {
            problem(StatusCode::BAD_REQUEST, "the body could not be read")
        }
    })
}
