//! Protocol helpers that know nothing of forebay: fields, targets, bodies, writes.

pub mod body;
pub mod coding;
pub mod date;
pub mod encoder;
pub mod fields;
pub mod host;
pub mod io;
pub mod json;
pub mod readings;
pub mod reference;
pub mod scheme;
pub mod segment;
pub mod tap;
pub mod target;
pub mod websocket;
