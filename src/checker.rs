//! The model checker behind the tests of interleavings: it runs the threads of a test in one order after the other,
//! switching between them at every lock, and reports who waits for ever.

use std::sync::{Arc, PoisonError};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
pub(crate) use shuttle::sync::MutexGuard;
use shuttle::{Config, Runner};

/// So many orders by each of two ways of choosing them.
const ORDERS: usize = 1000;

/// Runs `test` in many orders.
pub(crate) fn in_many_orders(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    // The checker's locks are large.
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    Runner::new(RandomScheduler::new(ORDERS), config.clone()).run(move || test());
    Runner::new(PctScheduler::new(3, ORDERS), config).run(move || again());
}

/// The checker's lock with the manners of ours.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
