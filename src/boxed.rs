//! Boxes for what is large and hardly filled at first, such as a future before its first poll.

/// A box with what `make` makes, made in its place. `Box::new` copies the whole, the empty part included, from the stack.
pub fn in_place<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}
