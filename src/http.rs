//! Protocol helpers that know nothing of forebay: fields, targets, bodies, writes.

pub mod body;
pub mod date;
pub mod fields;
pub mod io;
pub mod json;
pub mod reference;
pub mod tap;
pub mod target;
