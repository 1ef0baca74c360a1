//! What became of starts that may be the same as others.

/// What a route's `dedupe` made of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupeResult {
    /// It was made.
    First,
    /// It got the answer of an equal one.
    Shared,
    /// Its key was used for another request, or the answer to that could not be kept.
    Refused,
    /// It could not be compared: no key, too large a body, too many at once, or an answer for one client only.
    Skipped,
    /// Only observed: it would have got another's answer.
    WouldShare,
    /// Only observed: it would have been refused.
    WouldRefuse,
}

impl DedupeResult {
    /// In the order of declaration, which is the order of the counters.
    pub const ALL: [Self; 6] =
        [Self::First, Self::Shared, Self::Refused, Self::Skipped, Self::WouldShare, Self::WouldRefuse];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Shared => "shared",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::WouldShare => "would_share",
            Self::WouldRefuse => "would_refuse",
        }
    }
}
