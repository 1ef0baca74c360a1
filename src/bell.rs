//! A bell for one who waits: it rings for the last who asked to be called, each time.
//!
//! Promises: who has asked once need not ask again until somebody else waits. A waker that is taken when it is woken, as
//! the usual cells do, must be put back by a poll that may just have been: between the two a call finds nobody.

use std::task::Waker;

use parking_lot::Mutex;

/// A bell; silent until somebody asks to be called.
#[derive(Debug, Default)]
pub struct Bell(
    /// Wakers are called under the lock: those of the runtime and our own queue a task and poll nothing, so that none comes back
    /// here. To call a clone would cost two atomic operations more.
    Mutex<Option<Waker>>,
);

impl Bell {
    /// Calls this one from now on. Who then looks at what the bell is rung for misses nothing: what came before is seen, what
    /// comes later rings.
    pub fn call(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.0.lock().replace(waker);
        drop(before);
    }

    /// Something has happened.
    pub fn ring(&self) {
        if let Some(waiting) = &*self.0.lock() {
            waiting.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Calls(AtomicU32);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_rings_for_the_last_who_asked_each_time() {
        let (bell, calls) = (Bell::default(), [(); 2].map(|()| Arc::<Calls>::default()));
        bell.ring();
        for who in &calls {
            bell.call(&Waker::from(Arc::clone(who)));
            (0..3).for_each(|_| bell.ring());
        }
        assert_eq!(calls.map(|calls| calls.0.load(Ordering::Relaxed)), [3, 3]);
    }
}
