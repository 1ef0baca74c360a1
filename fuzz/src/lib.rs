//! Whatever reads what a peer says, fed with anything: each module is one target, a function that takes bytes and panics
//! where a promise is broken.
//!
//! `cargo fuzz run NAME` searches; `tests/fuzz.rs` of the crate above includes this file and replays the corpus and
//! mutations of it with a stable compiler.

pub mod cache_control;
pub mod client_address;
pub mod config;
pub mod json;
mod pipeline;
pub mod range;
pub mod request;
pub mod response;
pub mod target;
pub mod vary;
mod wire;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A target: its name, which is that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 9] = [
    ("request", request::run),
    ("response", response::run),
    ("target", target::run),
    ("client_address", client_address::run),
    ("cache_control", cache_control::run),
    ("vary", vary::run),
    ("range", range::run),
    ("json", json::run),
    ("config", config::run),
];

/// The binary of one target: libFuzzer's under `cargo fuzz`, one that does nothing elsewhere.
#[macro_export]
macro_rules! fuzz {
    ($run:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $run(data));
        #[cfg(not(fuzzing))]
        fn main() {}
    };
}

/// The fields of lines `name: value`; lines that are none are left out.
fn fields(lines: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.split(|byte| *byte == b'\n').take(200).filter_map(field) {
        headers.append(name, value);
    }
    headers
}

/// What stands before the first empty line, and what behind it.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n");
    at.map_or((data, &[]), |at| (&data[..at], &data[at + 2..]))
}
