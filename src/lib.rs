//! forebay: a reverse-proxy sidecar that evens out what reaches a slow, expensive HTTP backend.
//!
//! The modules, in the order in which a request meets them; `proxy` is the file to read first.

// The command line, and a file for each subcommand.
pub mod cli;

// The process: binds, serves, reloads, drains; the only part that knows all parts.
pub mod app;

// The public listener: accepts connections, bounds them, hands each request to the proxy.
pub mod server;

// One request from top to bottom: where the stages below meet.
pub mod proxy;

// Which route it takes.
pub mod router;

// Who is asking: address, identity, partition key.
pub mod client;

// Starts that are the same: one is made.
pub mod dedupe;

// How often a client may ask.
pub mod rate_limit;

// Stored responses.
pub mod cache;

// Many requests for one thing, one fetch.
pub mod collapse;

// How many are in flight at once; who waits, who is turned away.
pub mod admission;

// Work that goes on after its answer: who holds a permit until it is over.
pub mod jobs;

// The servers behind, and the connections to them.
pub mod upstream;

// Every reason to answer in place of the origin.
pub mod refusal;

// The configuration compiled, and the state that survives a reload.
pub mod policy;

// The configuration as written: one schema struct a file.
pub mod config;

// The operator's listener: health, metrics, figures, purging.
pub mod admin;

// Certificates, keys and roots out of files.
pub mod tls;

// The program's own log and the access log.
pub mod logging;

// Counters, gauges, histograms.
pub mod metrics;

// Protocol helpers that know nothing of forebay: targets, fields, bodies.
pub mod http;

// Names for things whose text is not kept.
pub mod digest;

// Who is called when something happens.
pub mod bell;

// The one source of time.
pub mod clock;

// Boxes for what is large and hardly filled at first.
pub mod boxed;

// Tests in every order of their threads.
#[cfg(test)]
mod checker;
