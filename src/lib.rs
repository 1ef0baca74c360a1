//! forebay: a reverse-proxy sidecar that evens out what reaches a slow, expensive HTTP backend.
//!
//! The modules, in the order in which a request meets them; `proxy` is the file to read first.

pub mod admin;
pub mod clock;
pub mod digest;
pub mod logging;
pub mod metrics;
