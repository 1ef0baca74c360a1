//! The only test servers and clients of the project.
//!
//! `origin` is what forebay forwards to: a scripted server that can also break the protocol. `proxy` runs the real
//! binary. `client`, `h2`, `frames` (HTTP/2 by hand) and `tls` ask it, `backend` runs the FastAPI example, `wait` waits for facts instead of sleeping.

pub(crate) mod backend;
pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod frames;
pub(crate) mod h2;
pub(crate) mod modern;
pub(crate) mod origin;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod scratch;
pub(crate) mod script;
pub(crate) mod tls;
pub(crate) mod wait;
pub(crate) mod websocket;
pub(crate) mod wire;

pub(crate) use client::{Connection, Request, Response, concurrently, request};
pub(crate) use command::forebay;
pub(crate) use h2::H2;
pub(crate) use origin::Origin;
pub(crate) use proxy::Proxy;
pub(crate) use scratch::Scratch;
pub(crate) use script::{Gate, Script};
pub(crate) use wait::{seconds, wait_until, within};
