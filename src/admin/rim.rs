//! The rim around the endpoints: what holds for every answer, and what refuses before they are asked.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower::{BoxError, Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::Admin;
use super::endpoints::answer;
use super::reply::{Reply, problem};

/// For a request's body and its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that one connection asks, from the outermost layer to the endpoints.
pub(super) fn service<B>(
    admin: Arc<Admin>,
) -> impl Service<
    Request<B>,
    Response = Response<impl Body<Data = Bytes, Error = BoxError> + Send>,
    Error = BoxError,
    Future: Send,
> + Clone
+ Send
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let always = |name, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    ServiceBuilder::new()
        .layer(always(CACHE_CONTROL, "no-store"))
        .layer(always(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(always(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .layer(CatchPanicLayer::custom(panicked))
        .map_result(in_time)
        .timeout(ANSWER_TIMEOUT)
        .layer(CsrfLayer::new().with_rejection_response(|_| cross_site()))
        .service_fn(move |request| {
            let admin = Arc::clone(&admin);
            async move { Ok::<_, BoxError>(answer(admin, request).await) }
        })
}

fn panicked(_: Box<dyn Any + Send>) -> Reply {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "this answer failed; the log says why")
}

fn in_time(result: Result<Reply, BoxError>) -> Result<Reply, BoxError> {
    Ok(result.unwrap_or_else(|_| problem(StatusCode::SERVICE_UNAVAILABLE, "there was no answer in time")))
}

fn cross_site() -> Reply {
    problem(StatusCode::FORBIDDEN, "pages of other sites may not change anything here")
}
