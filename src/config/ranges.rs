//! Numbers that have bounds; a number outside of them is refused where it stands.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::in_flight::{AutoWord, Cap};
use super::values::Period;

fn within<'de, D, N>(deserializer: D, range: &RangeInclusive<N>, expected: &str) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + PartialOrd + fmt::Display,
{
    let number = N::deserialize(deserializer)?;
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(D::Error::custom(format_args!("expected {expected}, found `{number}`")))
    }
}

/// A number that is not 0.
pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    within(deserializer, &(1..=usize::MAX), "at least 1")
}

/// The cap of a pool. An absent one is found out later, with the place of the table.
pub(super) fn cap<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    within(deserializer, &(1..=1 << 24), "a cap between 1 and 16777216").map(Some)
}

/// As [`cap`], or `auto`.
pub(super) fn cap_or_auto<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cap>, D::Error> {
    deserializer.deserialize_any(CapVisitor).map(Some)
}

struct CapVisitor;

impl Visitor<'_> for CapVisitor {
    type Value = Cap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cap between 1 and 16777216, or \"auto\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cap, E> {
        match usize::try_from(number) {
            Ok(number @ 1..=0x100_0000) => Ok(Cap::Fixed(number)),
            _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Cap, E> {
        match word {
            "auto" => Ok(Cap::Auto(AutoWord::Auto)),
            _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
        }
    }
}

/// A place in the queue.
pub(super) fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, &(0..=9), "a priority between 0 (last) and 9 (first)")
}

/// A status that refuses.
pub(super) fn refusal_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    within(deserializer, &(400..=599), "a status between 400 and 599")
}

/// A part of something, 1 being all of it.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    within(deserializer, &(0.0..=1.0), "a share between 0 and 1")
}

/// A growth from one to the next, 1 being none.
pub(super) fn growth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    within(deserializer, &(1.0..=10.0), "a factor between 1 and 10")
}

/// The length of an IPv6 prefix.
pub(super) fn ipv6_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    within(deserializer, &(1..=128), "a prefix length between 1 and 128")
}

/// How often something happens in a row before it counts.
pub(super) fn times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, &(1..=u32::MAX), "at least 1")
}

/// How often something is tried again.
pub(super) fn retries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(deserializer, &(0..=10), "at most 10 retries")
}

/// A time in which something can happen.
pub(super) fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    match Period::deserialize(deserializer)? {
        Period(time) if time.is_zero() => Err(D::Error::custom("expected a duration longer than zero")),
        period => Ok(period),
    }
}

/// As [`some_time`], of a key that may be absent.
pub(super) fn some_time_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Period>, D::Error> {
    some_time(deserializer).map(Some)
}
