//! Boxes for what is large: a future before its first poll, a head, a body.

/// A box with what `make` makes. There is room for it before it is made, so that an optimised build makes it in its place;
/// with `Box::new` the whole, the empty part included, is copied from the stack.
pub fn in_place<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::write(Box::new_uninit(), make())
}
