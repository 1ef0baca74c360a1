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

mod harness;
mod harness_itself;

mod forwarding;
mod framing;
mod h2c;
mod in_flight;
mod limits;
mod memory;
mod rate_limits;
mod sse;
mod targets;
mod websocket;
