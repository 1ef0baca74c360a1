//! forebay: a reverse-proxy sidecar that evens out what reaches a slow, expensive HTTP backend.
//!
//! The modules, in the order in which a request meets them; `proxy` is the file to read first.

pub mod cli;

pub mod app;

pub mod admin;
pub mod server;

pub mod proxy;

pub mod policy;
pub mod refusal;

pub mod router;

pub mod client;
pub mod rate_limit;

pub mod cache;

pub mod collapse;

pub mod admission;

pub mod upstream;

pub mod config;

pub mod logging;
pub mod metrics;

pub mod clock;
pub mod digest;
pub mod http;
