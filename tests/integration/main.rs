//! forebay from outside: the real binary between real sockets, each test a fact about the product.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and real sockets run in real time"
)]

mod admin;
mod cache;
mod cli;
mod collapse;
mod compression;
mod dedupe;
mod documentation;
mod faulty;
mod forwarding;
mod framing;
mod h2c;
mod harness;
mod harness_itself;
mod in_flight;
mod jobs;
mod limits;
mod logs;
mod memory;
mod rate_limits;
mod real_backend;
mod reload;
mod shutdown;
mod soak;
mod sse;
mod systemd;
mod targets;
mod tls;
mod unix_sockets;
mod upstream;
mod websocket;
