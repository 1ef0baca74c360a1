//! Cache directives, read once.
//!
//! RFC 9111 5.2: directive names are compared without case, arguments come as token or as quoted string, several field
//! lines are one list. The reader never fails: what it cannot read it takes in the sense that keeps less and asks more.
//! Of a response, a field that is meant for caches like us goes before `Cache-Control` (RFC 9213).

mod directives;
mod targeted;

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, PRAGMA};

pub use self::directives::delta_seconds;
use self::directives::{Directive, Directives};

/// What a number of seconds is capped at (RFC 9111 1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;

/// Whom or what `private` and `no-cache` are about (RFC 9111 5.2.2.4, 5.2.2.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// The directive is absent.
    #[default]
    Absent,
    /// Only these fields; the rest of the response is not touched by it.
    Fields(Vec<HeaderName>),
    /// The whole response.
    Whole,
}

impl Scope {
    /// Whether the whole response is meant.
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    /// The fields that are meant; none where the whole response is.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(names) => names,
            Self::Absent | Self::Whole => &[],
        }
    }

    /// Adds a list of fields; the whole response where there is none.
    fn widen(&mut self, listed: Option<Vec<HeaderName>>) {
        match (&mut *self, listed) {
            (Self::Whole, _) => {}
            (Self::Fields(names), Some(more)) => names.extend(more),
            (Self::Absent, Some(names)) => *self = Self::Fields(names),
            (_, None) => *self = Self::Whole,
        }
    }
}

/// The directives of a response (RFC 9111 5.2.2, RFC 5861).
///
/// Of a directive that comes twice the first counts (RFC 9111 4.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseControl {
    /// `max-age`; zero where it cannot be read.
    pub max_age: Option<Duration>,
    /// `s-maxage`; zero where it cannot be read.
    pub s_maxage: Option<Duration>,
    /// `stale-while-revalidate`; absent where it cannot be read.
    pub stale_while_revalidate: Option<Duration>,
    /// `stale-if-error`; absent where it cannot be read.
    pub stale_if_error: Option<Duration>,
    /// `no-cache`.
    pub no_cache: Scope,
    /// `private`.
    pub private: Scope,
    /// `no-store`.
    pub no_store: bool,
    /// `public`.
    pub public: bool,
    /// `must-revalidate`.
    pub must_revalidate: bool,
    /// `proxy-revalidate`.
    pub proxy_revalidate: bool,
    /// `must-understand`.
    pub must_understand: bool,
    /// `no-transform`.
    pub no_transform: bool,
    /// Whether all this was said by a targeted field, so that `Expires` says nothing (RFC 9213 2.2).
    pub is_targeted: bool,
}

impl ResponseControl {
    /// Reads the directives of a response: those of the first targeted field that has any, else all `Cache-Control` lines.
    pub fn of(headers: &HeaderMap) -> Self {
        if let Some(control) = targeted::read(headers) {
            return control;
        }
        let mut control = Self::default();
        for directive in headers.get_all(CACHE_CONTROL).iter().flat_map(Directives::of) {
            control.take(&directive);
        }
        control
    }

    /// Whether nothing at all may excuse a stale answer (RFC 9111 4.2.4). `s-maxage` is not counted here although it
    /// implies `proxy-revalidate` (5.2.2.10): beside it a response may still allow `stale-while-revalidate`.
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache.is_whole()
    }

    fn take(&mut self, directive: &Directive<'_>) {
        match () {
            () if directive.is("max-age") => first(&mut self.max_age, directive.seconds_or_stale()),
            () if directive.is("s-maxage") => first(&mut self.s_maxage, directive.seconds_or_stale()),
            () if directive.is("stale-while-revalidate") => {
                self.stale_while_revalidate = self.stale_while_revalidate.or(directive.seconds());
            }
            () if directive.is("stale-if-error") => {
                self.stale_if_error = self.stale_if_error.or(directive.seconds());
            }
            () if directive.is("no-cache") => self.no_cache.widen(directive.field_names()),
            () if directive.is("private") => self.private.widen(directive.field_names()),
            () if directive.is("no-store") => self.no_store = true,
            () if directive.is("public") => self.public = true,
            () if directive.is("must-revalidate") => self.must_revalidate = true,
            () if directive.is("proxy-revalidate") => self.proxy_revalidate = true,
            () if directive.is("must-understand") => self.must_understand = true,
            () if directive.is("no-transform") => self.no_transform = true,
            // An extension that we do not know changes nothing (RFC 9111 5.2.3).
            () => {}
        }
    }
}

/// The directives of a request (RFC 9111 5.2.1); `Copy`, read without allocating.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// `max-age`; zero where it cannot be read.
    pub max_age: Option<Duration>,
    /// `min-fresh`; ignored where it cannot be read.
    pub min_fresh: Option<Duration>,
    /// `max-stale`; without an argument any staleness will do.
    pub max_stale: Option<Duration>,
    /// `stale-if-error` (RFC 5861 4).
    pub stale_if_error: Option<Duration>,
    /// `no-cache`, or `Pragma: no-cache` where there is no `Cache-Control` (RFC 9111 5.4).
    pub no_cache: bool,
    /// `no-store`.
    pub no_store: bool,
    /// `only-if-cached`.
    pub only_if_cached: bool,
}

impl RequestControl {
    /// Reads the `Cache-Control` and `Pragma` lines of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let mut lines = headers.get_all(CACHE_CONTROL).iter().peekable();
        if lines.peek().is_none() {
            let mut pragma = headers.get_all(PRAGMA).iter().flat_map(Directives::of);
            control.no_cache = pragma.any(|directive| directive.is("no-cache"));
            return control;
        }
        for directive in lines.flat_map(Directives::of) {
            control.take(&directive);
        }
        control
    }

    /// Whether nothing will do that was asked for before.
    pub fn insists(&self) -> bool {
        self.no_cache || self.no_store || self.max_age.is_some_and(|most| most.is_zero())
    }

    fn take(&mut self, directive: &Directive<'_>) {
        match () {
            () if directive.is("max-age") => first(&mut self.max_age, directive.seconds_or_stale()),
            () if directive.is("min-fresh") => self.min_fresh = self.min_fresh.or(directive.seconds()),
            () if directive.is("max-stale") => {
                let any = directive.argument.is_none().then_some(Duration::from_secs(MAX_SECONDS));
                self.max_stale = self.max_stale.or(any).or(directive.seconds());
            }
            () if directive.is("stale-if-error") => {
                self.stale_if_error = self.stale_if_error.or(directive.seconds());
            }
            () if directive.is("no-cache") => self.no_cache = true,
            () if directive.is("no-store") => self.no_store = true,
            () if directive.is("only-if-cached") => self.only_if_cached = true,
            () => {}
        }
    }
}

fn first(slot: &mut Option<Duration>, value: Duration) {
    slot.get_or_insert(value);
}

/// A list of field names; `None` where one of them is none, or there is none.
fn field_names(text: &[u8]) -> Option<Vec<HeaderName>> {
    let names = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(HeaderName::from_bytes).collect::<Result<_, _>>().ok()?;
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests;
