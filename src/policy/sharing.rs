//! What the proxy's flights carry from a fetch to those who wait for it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Response, response};

use crate::admission::Permit;
use crate::cache::{Fetch, Forwarded, Selected, SelectingFields};
use crate::collapse::Cargo;
use crate::refusal::Refusal;
use crate::upstream::ResponseBody;

/// What the proxy's flights carry.
#[derive(Debug)]
pub enum Sharing {}

impl Cargo for Sharing {
    type Mark = Fetch;
    type Head = Fetched;
    type Response = Private;
    type Error = Refusal;
}

/// What the fetch tells everybody.
#[derive(Debug)]
pub struct Fetched {
    /// The head.
    pub head: SharedHead,
    /// How long the fetch waited for its permit; none where the route has no pool.
    pub queued: Option<Duration>,
}

/// A head that several requests get.
#[derive(Debug)]
pub enum SharedHead {
    /// The fetch ended at a stored response, validated or stale: everybody is answered from it.
    Stored(Selected, Forwarded),
    /// The response as it streams.
    Live(Box<LiveHead>),
}

impl SharedHead {
    /// Whether it is for a request with these fields.
    pub fn suits(&self, request: &HeaderMap) -> bool {
        match self {
            Self::Stored(selected, _) => selected.response().suits(request),
            Self::Live(live) => live.selecting.matches(request),
        }
    }
}

/// A response's head while its body streams.
#[derive(Debug)]
pub struct LiveHead {
    /// Status and fields, ready for a client.
    pub parts: response::Parts,
    /// The fields that only the one who began the fetch gets (RFC 9111 5.2.2.7).
    pub personal: Box<[HeaderName]>,
    /// What of the request the response depends on.
    pub selecting: SelectingFields,
    /// What `Cache-Status` tells of it.
    pub forwarded: Forwarded,
}

/// A response for one request only, with what it holds.
#[derive(Debug)]
pub struct Private {
    /// The response.
    pub response: Response<ResponseBody>,
    /// Kept until the body is gone.
    pub permit: Option<Permit>,
    /// What `Cache-Status` tells of it.
    pub forwarded: Forwarded,
}
