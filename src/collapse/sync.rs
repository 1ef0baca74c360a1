//! What flights wait by, in one place: a model checker puts its own there.

pub(super) use parking_lot::{Mutex, MutexGuard};
pub(super) use tokio::time::timeout;
