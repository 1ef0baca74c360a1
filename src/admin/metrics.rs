//! `GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0.0 for whoever prefers it.
//!
//! Nothing is registered anywhere: one collector writes a [`Snapshot`] down. Label values come from the configuration
//! and from closed sets, never from a client.

mod exposition;
mod families;
mod writer;

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use super::Snapshot;
use super::process::ProcessFigures;
use super::reply::{Reply, problem, typed};
use exposition::Exposition;
use families::Scrape;

/// The figures in the form that the scraper asks for.
pub(super) fn render(snapshot: Snapshot, admin_connections: i64, headers: &HeaderMap) -> Reply {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let form = Exposition::preferred(accepts);
    let scrape = Scrape { snapshot, admin_connections, process: ProcessFigures::read() };
    match form.write(scrape) {
        Ok(text) => typed(StatusCode::OK, form.content_type(), text),
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be written"),
    }
}
