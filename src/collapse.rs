//! Collapse: many requests for the same thing become one fetch, and each of them streams its result.
//!
//! A [`Flight`] is one fetch for one key. It belongs to nobody: the fetch runs in a task of its own and holds the
//! [`Producer`]; the request that began it and those that join hold a [`Seat`] each and are equals but for one thing:
//! a result that must not be shared goes to the request that began the flight, and all others are sent on their own,
//! at once and together.
//!
//! ```text
//! Fetching ── head ──► share ──► streaming, kept whole (who joins late reads from byte 0) ──► finish
//!    │                   │            └─ outgrows what is kept ──► streaming through a window (nobody joins; the slow hold
//!    │                   │                                         the others up for a moment, then they are cut)
//!    │                   └─ not to be shared ──► release: to the one who began; all others fetch alone
//!    └─ no head ──► fail: the same error for everybody
//! ```
//!
//! Promises: a participant that leaves harms no other, nor does one that reads slowly, for longer than a moment; nobody
//! sees a byte before the fetch has decided at the head that it may be shared; a fetch that fails or panics ends every
//! body with an error, never early and silently; what is kept in memory is bounded by `retain` for each flight and by
//! `budget` for all.

mod flight;
mod flights;
mod reader;
mod sync;

use std::fmt::Debug;

pub use flight::{Abandoned, Flight, Outcome, Producer, Seat};
pub use flights::{Flights, Joined, Landing};
pub use reader::{Broken, Reader};

/// What two requests must have in common to share a fetch; a keyed digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlightKey(pub u128);

/// What flights carry.
pub trait Cargo {
    /// What is known of a fetch when it begins, and decides who may join it.
    type Mark: Debug;
    /// A head that may be shared.
    type Head: Debug;
    /// A response that may not.
    type Response: Debug;
    /// Why there is none.
    type Error: Debug + Clone;
}

#[cfg(test)]
mod tests;
