//! Quantities as people write them: durations, sizes and rates.
//!
//! A unit is never guessed. `5M` is five months to one library and five minutes to another, `10m` ten megabytes to a
//! third; here both are errors that say what is allowed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::quantity::Quantity as _;

/// A duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`; at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes: a whole number of them, or with one of `B`, `KB`, `MB`, `GB` (powers of 1000), `KiB`, `MiB`,
/// `GiB` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// So many requests in a window of that length: `2/minute`, `20/60s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests, at least 1.
    pub limit: u32,
    /// The window they are counted in, longer than zero.
    pub window: Duration,
}

/// Long enough for every purpose, short enough that no sum of instants overflows.
const LONGEST: Duration = Duration::from_secs(3650 * DAY);
const DAY: u64 = 86_400;

const PERIOD_UNITS: [(&str, u64); 5] =
    [("d", DAY * 1000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1000),
    ("B", 1),
];
const RATE_UNITS: [(&str, u64); 4] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", DAY)];

impl Period {
    /// A duration of whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        if number.is_empty() {
            return Err(format!("`{text}` is not a duration: {}", Self::EXPECTED));
        }
        if unit.is_empty() {
            return Err(format!("the duration `{text}` has no unit: write `{number}s` or `{number}ms`"));
        }
        let Some((_, scale)) = PERIOD_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match is_compound(unit) {
                true => {
                    format!("`{text}` is not one whole number with one unit: write it like `90m` or `1500ms`")
                }
                false => format!("`{text}` has the unknown unit `{unit}`: use ms, s, m (minutes), h or d"),
            });
        };
        let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale));
        match millis.map(Duration::from_millis) {
            Some(duration) if duration <= LONGEST => Ok(Self(duration)),
            _ => Err(format!("`{text}` is longer than ten years")),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let fits = |scale: u64| millis > 0 && millis.is_multiple_of(u128::from(scale));
        match PERIOD_UNITS.iter().find(|(_, scale)| fits(*scale)) {
            Some((unit, scale)) => write!(f, "{}{unit}", millis / u128::from(*scale)),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        if number.is_empty() {
            return Err(format!("`{text}` is not a size: {}", Self::EXPECTED));
        }
        let scale = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() => 1,
            None if is_compound(unit) => {
                return Err(format!(
                    "`{text}` is not one whole number with one unit: write it like `1536KiB`"
                ));
            }
            None => {
                return Err(format!(
                    "`{text}` has the unknown unit `{unit}`: use B, KB, MB, GB (powers of 1000), KiB, MiB or GiB \
                     (powers of 1024)"
                ));
            }
        };
        match number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)) {
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is more than any machine holds: at most {}", i64::MAX)),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((number, period)) = text.split_once('/') else {
            return Err(format!("`{text}` is not a rate: {}", Self::EXPECTED));
        };
        let limit = match number.parse::<u32>() {
            Ok(0) => return Err(format!("`{text}` lets nothing through: a rate is at least 1")),
            Ok(limit) => limit,
            Err(_) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(format!("`{number}` in `{text}` is too large: at most {} requests", u32::MAX));
            }
            Err(_) => return Err(format!("`{number}` in `{text}` is not a whole number of requests")),
        };
        let window = match RATE_UNITS.iter().find(|(name, _)| *name == period) {
            Some((_, seconds)) => Duration::from_secs(*seconds),
            None if period.starts_with(|first: char| first.is_ascii_digit()) => period.parse::<Period>()?.0,
            None => {
                return Err(format!(
                    "`{period}` in `{text}` is not a period: use second, minute, hour, day, or a duration such as 60s"
                ));
            }
        };
        if window.is_zero() {
            return Err(format!("the window of `{text}` is empty"));
        }
        Ok(Self { limit, window })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RATE_UNITS.iter().find(|(_, seconds)| Duration::from_secs(*seconds) == self.window) {
            Some((name, _)) => write!(f, "{}/{name}", self.limit),
            None => write!(f, "{}/{}", self.limit, Period(self.window)),
        }
    }
}

/// Whether what follows a number goes on with one: `1.5s`, `1h30m`.
fn is_compound(unit: &str) -> bool {
    unit.contains(|c: char| c == '.' || c.is_ascii_digit())
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_lower_case_unit() {
        for (text, millis) in
            [("250ms", 250), ("5s", 5000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<Period>(), Ok(Period(Duration::from_millis(millis))), "{text}");
        }
        for text in [
            "",
            "5",
            "5M",
            "5 s",
            "s",
            "1.5s",
            "-1s",
            "5S",
            "1m30s",
            "5min",
            "99999999999999999999s",
            "3651d",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_bytes_or_has_a_unit_that_says_its_power() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("100MiB", 104_857_600),
            ("10MB", 10_000_000),
            ("3KB", 3000),
            ("1GiB", 1 << 30),
            ("7B", 7),
            ("1024", 1024),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "10m", "10M", "10k", "10mb", "10 MB", "MiB", "-1", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_counts_requests_in_a_named_period_or_a_duration() {
        for (text, limit, seconds) in [
            ("1/second", 1, 1),
            ("2/minute", 2, 60),
            ("10/hour", 10, 3600),
            ("5/day", 5, 86_400),
            ("20/60s", 20, 60),
            ("3/5m", 3, 300),
        ] {
            let window = Duration::from_secs(seconds);
            assert_eq!(text.parse::<Rate>(), Ok(Rate { limit, window }), "{text}");
        }
        for text in
            ["", "2", "0/minute", "2/0s", "2/min", "2/Minute", "-2/minute", "2 / minute", "x/s", "2/60"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        let message = |text: &str| text.parse::<Period>().unwrap_err();
        assert_eq!(message("5M"), "`5M` has the unknown unit `M`: use ms, s, m (minutes), h or d");
        assert_eq!(message("5"), "the duration `5` has no unit: write `5s` or `5ms`");
        for text in ["1.5s", "1h30m"] {
            let expected =
                format!("`{text}` is not one whole number with one unit: write it like `90m` or `1500ms`");
            assert_eq!(message(text), expected);
        }
        assert_eq!(message("99999999999999999999h"), "`99999999999999999999h` is longer than ten years");
        let message = |text: &str| text.parse::<ByteSize>().unwrap_err();
        assert!(message("10m").starts_with("`10m` has the unknown unit `m`: use B, KB, MB"));
        assert!(message("1.5GiB").contains("`1536KiB`"));
        assert!(message("99999999999999999999").contains("at most 9223372036854775807"));
        let message = |text: &str| text.parse::<Rate>().unwrap_err();
        let expected = "`99999999999` in `99999999999/second` is too large: at most 4294967295 requests";
        assert_eq!(message("99999999999/second"), expected);
        assert_eq!(message("2/60"), "the duration `60` has no unit: write `60s` or `60ms`");
    }

    proptest! {
        #[test]
        fn every_duration_reads_back_as_it_was_written(millis in 0..=3650 * DAY * 1000) {
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn every_size_reads_back_as_it_was_written(bytes in 0..=i64::MAX as u64, shift in 0u32..40) {
            let size = ByteSize(bytes >> shift << shift);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn every_rate_reads_back_as_it_was_written(limit in 1u32.., seconds in 1u64..1_000_000) {
            let rate = Rate { limit, window: Duration::from_secs(seconds) };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,24}") {
            let _ = (text.parse::<Period>(), text.parse::<ByteSize>(), text.parse::<Rate>());
        }
    }
}
