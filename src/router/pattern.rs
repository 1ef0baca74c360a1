//! A route's `match`: `"[METHOD[,METHOD]] [HOST]/PATH"`.
//!
//! `{name}` takes one segment that is not empty, `{*name}` the rest of the path, even nothing, but not the slash before
//! it: `/a/{*rest}` takes `/a/` and not `/a`. A trailing slash counts. A pattern is brought into the canonical form that
//! request paths have, so `/caf%c3%a9`, `/caf%C3%A9` and `/café` are one pattern.

mod parse;

pub use parse::PatternError;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use http::Method;

use super::explain::Miss;

/// How many captures one pattern may have.
pub const MAX_CAPTURES: usize = 8;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Box<str>,
    /// Empty: any method.
    methods: Vec<Method>,
    /// Lower case, without a default port.
    host: Option<Box<str>>,
    segments: Vec<Segment>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text.
    Static(Box<str>),
    /// Any text but none.
    Capture(Box<str>),
    /// Everything from here on.
    Rest(Box<str>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong, and at which byte of `text`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse::pattern(text)
    }

    /// The names of the captures, in the order of the path.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Static(_) => None,
            Segment::Capture(name) | Segment::Rest(name) => Some(&**name),
        })
    }

    /// The methods it is limited to; none means any.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Whether it takes a method that may change something (RFC 9110 section 9.2.1).
    pub fn takes_unsafe(&self) -> bool {
        self.methods.is_empty() || !self.methods.iter().all(Method::is_safe)
    }

    /// The host it is limited to.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether method and host fit; the path is the tree's business.
    pub(super) fn fits(&self, method: &Method, host: &str) -> bool {
        self.takes_method(method) && self.takes_host(host)
    }

    /// Whether requests of this method can be meant.
    pub fn takes_method(&self, method: &Method) -> bool {
        self.methods.is_empty()
            || self.methods.contains(method)
            || (method == Method::HEAD && self.methods.contains(&Method::GET))
    }

    pub(super) fn takes_host(&self, host: &str) -> bool {
        let Some(wanted) = &self.host else { return true };
        without_default_port(host).eq_ignore_ascii_case(wanted)
    }

    /// The text of a capture in a path that matches; `None` where it does not.
    pub fn capture<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let captures = self.match_path(path).ok()?;
        captures.value(path, self.captures().position(|known| known == name)?)
    }

    /// A path that matches, its captures filled by what `value` gives; `None` where it lacks one.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> Option<String> {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Static(text) => path.push_str(text),
                Segment::Capture(name) | Segment::Rest(name) => path.push_str(&value(name)?),
            }
        }
        Some(path)
    }

    /// Matches a path alone, one pattern at a time: what `explain` tells and the tree must agree with.
    pub(super) fn match_path(&self, path: &str) -> Result<Captures, Miss> {
        let mut captures = Captures::default();
        let mut at = 1;
        let Some(rest) = path.strip_prefix('/') else { return Err(Miss::NotAPath) };
        let mut rest = Some(rest);
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(text) = rest else { return Err(Miss::TooShort { missing: segment.to_string() }) };
            let (found, following) = match text.split_once('/') {
                Some((found, following)) => (found, Some(following)),
                None => (text, None),
            };
            match segment {
                Segment::Rest(_) => return Ok(captures.with(at, at + text.len())),
                Segment::Static(wanted) if **wanted == *found => {}
                Segment::Capture(_) if !found.is_empty() => captures = captures.with(at, at + found.len()),
                Segment::Static(_) | Segment::Capture(_) => {
                    return Err(Miss::Segment { index, wanted: segment.to_string(), found: found.into() });
                }
            }
            at += found.len() + 1;
            rest = following;
        }
        rest.map_or(Ok(captures), |surplus| Err(Miss::TooLong { surplus: surplus.into() }))
    }

    /// How specific two patterns are; less is more specific, and goes first. Total for patterns that match one request
    /// and do not conflict.
    pub(super) fn precedence(&self, other: &Self, method: &Method) -> Ordering {
        let steps = self.segments.iter().map(Segment::generality);
        steps
            .cmp(other.segments.iter().map(Segment::generality))
            .then_with(|| self.host.is_none().cmp(&other.host.is_none()))
            .then_with(|| self.method_generality(method).cmp(&other.method_generality(method)))
    }

    /// The order of patterns of one shape: with a host first, then with a method.
    pub(super) fn leaf_order(&self, other: &Self) -> Ordering {
        let key = |p: &Self| (p.host.is_none(), p.methods.is_empty());
        key(self).cmp(&key(other))
    }

    /// The order of patterns of one shape for one method; less goes first.
    pub(super) fn rank(&self, method: &Method) -> (bool, u8) {
        (self.host.is_none(), self.method_generality(method))
    }

    fn method_generality(&self, method: &Method) -> u8 {
        match (self.methods.is_empty(), self.methods.contains(method)) {
            (false, true) => 0,
            (false, false) => 1,
            (true, _) => 2,
        }
    }

    /// Whether the two have the same shape and host and a method in common.
    pub(super) fn is_equal_to(&self, other: &Self) -> bool {
        let methods = match (self.methods.is_empty(), other.methods.is_empty()) {
            (true, true) => true,
            (false, false) => self.methods.iter().any(|method| other.methods.contains(method)),
            _ => false,
        };
        methods
            && self.host == other.host
            && self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|(a, b)| a.is_same_shape(b))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    pub(super) fn generality(&self) -> u8 {
        match self {
            Self::Static(_) => 0,
            Self::Capture(_) => 1,
            Self::Rest(_) => 2,
        }
    }

    fn is_same_shape(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Static(a), Self::Static(b)) => a == b,
            (Self::Capture(_), Self::Capture(_)) | (Self::Rest(_), Self::Rest(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(text) => f.write_str(text),
            Self::Capture(name) => write!(f, "{{{name}}}"),
            Self::Rest(name) => write!(f, "{{*{name}}}"),
        }
    }
}

/// Where the captures of a match are in its path. Small and `Copy`: a request carries it without an allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Captures {
    ranges: [(u32, u32); MAX_CAPTURES],
    len: u8,
}

impl Captures {
    /// The text of the capture number `index` (in the order of [`Pattern::captures`]) in the path that was matched.
    pub fn value<'p>(&self, path: &'p str, index: usize) -> Option<&'p str> {
        let (start, end) = self.ranges.get(..usize::from(self.len))?.get(index)?;
        path.get(*start as usize..*end as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// With one more. A place beyond 4 GiB cannot occur (a request head is bounded far below).
    pub(super) fn with(mut self, start: usize, end: usize) -> Self {
        if let (Some(range), Ok(start), Ok(end)) =
            (self.ranges.get_mut(usize::from(self.len)), u32::try_from(start), u32::try_from(end))
        {
            *range = (start, end);
            self.len += 1;
        }
        self
    }
}

/// An authority without `:80` and `:443`: which of the two is the default depends on a scheme that a pattern has not.
pub(super) fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host)
}
