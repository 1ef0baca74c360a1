//! The policy: what a request is held to from start to end.

pub mod compile;
