//! What a response says about who may have it, whether it is stored or only shared while it streams.

use http::header::{HeaderMap, HeaderName, SET_COOKIE};

use super::control::ResponseControl;
use super::vary::Vary;

/// What a response says about who may have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseFacts {
    /// Its cache directives.
    pub control: ResponseControl,
    /// Whom it suits.
    pub vary: Vary,
    /// Whether it sets a cookie.
    pub sets_cookie: bool,
}

impl ResponseFacts {
    /// Reads a response's fields.
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            control: ResponseControl::of(headers),
            vary: Vary::of(headers),
            sets_cookie: headers.contains_key(SET_COOKIE),
        }
    }

    /// Whether it is meant for one client alone, whatever the operator says.
    pub fn is_personal(&self) -> bool {
        self.sets_cookie || self.control.private.is_whole()
    }

    /// The fields that are meant for one client alone (RFC 9111 5.2.2.7); the rest may be shared.
    pub fn personal_fields(&self) -> &[HeaderName] {
        self.control.private.fields()
    }
}

/// Whether requests with credentials may have a stored response (RFC 9111 3.5). That clause takes `must-revalidate` for a
/// permission, too; who writes it thinks of staleness, hardly of who else may read the answer, so we do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// They may not.
    Anonymous,
    /// `public` or `s-maxage`.
    Everybody,
}

impl Permission {
    /// What a response says.
    pub fn of(control: &ResponseControl) -> Self {
        if control.public || control.s_maxage.is_some() { Self::Everybody } else { Self::Anonymous }
    }
}
