//! `POST /api/cache/warm`: has URLs stored before anybody asks for them.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::reply::{Reply, json, problem};
use crate::proxy::{Proxy, Warmed};

/// URLs of one order.
const MOST: usize = 1000;

/// Fetched at the same time: enough to be quick, too few to be a burden.
const AT_ONCE: usize = 4;

/// For the whole order; below the time in which the admin listener has to answer.
const DEADLINE: Duration = Duration::from_secs(25);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    urls: Vec<String>,
}

/// What has become of one URL.
#[derive(Debug, Serialize)]
pub struct WarmedUrl {
    url: String,
    /// Of the answer; null where none came.
    status: Option<u16>,
    stored: bool,
    /// For how long it is fresh.
    ttl_seconds: Option<i64>,
    /// Why it is not stored.
    because: Option<String>,
    seconds: f64,
}

/// `{"stored": N, "results": [...]}`, the results in the order of the URLs.
pub(super) async fn warm<F>(body: &[u8], fetch: F) -> Reply
where
    F: AsyncFnOnce(Vec<String>) -> Vec<WarmedUrl>,
{
    #[derive(Serialize)]
    struct Answer {
        stored: usize,
        results: Vec<WarmedUrl>,
    }
    let order: Order = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => {
            let why =
                format!("the body is a JSON object such as {{\"urls\":[\"http://HOST/PATH\"]}}: {error}");
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    };
    if order.urls.len() > MOST {
        return problem(StatusCode::BAD_REQUEST, "at most 1000 URLs at a time");
    }
    let results = fetch(order.urls).await;
    let stored = results.iter().filter(|line| line.stored).count();
    tracing::info!(urls = results.len(), stored, "cache warmed");
    json(&Answer { stored, results })
}

/// Fetches the URLs, a few at a time. What is not through at the deadline is given up.
pub(super) async fn fetch(proxy: Arc<Proxy>, urls: Vec<String>) -> Vec<WarmedUrl> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut lines: Vec<WarmedUrl> = Vec::with_capacity(urls.len());
    for (index, url) in urls.into_iter().enumerate() {
        let uri = target(&url);
        lines.push(WarmedUrl::refused(url, "it was not reached in time"));
        let line = lines.last_mut();
        match (uri, line) {
            (Ok(uri), _) => {
                let (proxy, places) = (Arc::clone(&proxy), Arc::clone(&places));
                tasks.spawn(async move {
                    let _place = places.acquire().await;
                    (index, proxy.warm(&uri).await)
                });
            }
            (Err(why), Some(line)) => line.because = Some(why.to_owned()),
            (Err(_), None) => {}
        }
    }
    let all = async {
        while let Some(done) = tasks.join_next().await {
            if let Ok((index, warmed)) = done
                && let Some(line) = lines.get_mut(index)
            {
                line.tell(warmed);
            }
        }
    };
    let _ = tokio::time::timeout(DEADLINE, all).await;
    lines
}

/// The host is part of what a response is stored under: a path alone names none.
fn target(url: &str) -> Result<Uri, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is not a URL")?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some() => Ok(uri),
        _ => Err("write it with the host that clients use: http://HOST/PATH"),
    }
}

impl WarmedUrl {
    fn refused(url: String, why: &str) -> Self {
        let because = Some(why.to_owned());
        Self { url, status: None, stored: false, ttl_seconds: None, because, seconds: 0.0 }
    }

    fn tell(&mut self, Warmed { status, stored, took }: Warmed) {
        self.status = Some(status.as_u16());
        self.stored = stored.is_ok();
        self.ttl_seconds = stored.as_ref().ok().copied();
        self.because = stored.err();
        self.seconds = (took.as_secs_f64() * 1e6).round() / 1e6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_url_with_a_host_can_be_fetched() {
        for (url, is_good) in [
            ("http://scan.example/api/scans?page=2", true),
            ("https://scan.example", true),
            ("/api/scans", false),
            ("scan.example", false),
            ("ftp://scan.example/", false),
            ("http://", false),
            ("", false),
        ] {
            assert_eq!(target(url).is_ok(), is_good, "{url}");
        }
    }

    #[tokio::test]
    async fn an_order_that_cannot_be_understood_fetches_nothing() {
        for body in ["", "[]", "{}", r#"{"urls":"/a"}"#, r#"{"urls":[],"url":"/a"}"#] {
            let reply = warm(body.as_bytes(), async |_| panic!("nothing to fetch")).await;
            assert_eq!(reply.status(), 400, "{body}");
        }
        let many = serde_json::json!({ "urls": vec!["http://h/"; 1001] }).to_string();
        assert_eq!(warm(many.as_bytes(), async |_| panic!("too many")).await.status(), 400);
    }
}
