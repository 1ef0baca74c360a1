//! What a pool waits by, in one place: `tests/interleavings.rs` puts a model checker's own there.

pub(super) use parking_lot::{Mutex, MutexGuard};
pub(super) use tokio::time::timeout_at;
