//! "So many in so long": `2/minute`, `10/hour`, `20/60s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest window; beyond it a table of timestamps is no longer a limit but a ledger.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// How many requests in how long; both are more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: u32,
    window: Duration,
}

impl Quota {
    /// `limit` requests in any `window`. What is out of bounds (1 request, 1 ms to 366 days) is brought into them.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit: limit.max(1), window: window.clamp(Duration::from_millis(1), LONGEST) }
    }

    /// How many.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// In how long.
    pub fn window(&self) -> Duration {
        self.window
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |what: &'static str| QuotaError { text: text.to_owned(), what };
        let (limit, window) = text.split_once('/').ok_or_else(|| error("it needs a slash"))?;
        let limit: u32 = limit.trim().parse().map_err(|_| error("the number before the slash is not one"))?;
        let window =
            parse_window(window.trim()).ok_or_else(|| error("what follows the slash is no period"))?;
        if limit == 0 {
            return Err(error("it would allow nothing"));
        }
        if window > LONGEST || window.is_zero() {
            return Err(error("the period is between 1 ms and 366 days"));
        }
        Ok(Self { limit, window })
    }
}

fn parse_window(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match (number.is_empty(), unit) {
        (false, "ms") => Duration::from_millis(1),
        (true, "second") | (_, "s") => Duration::from_secs(1),
        (true, "minute") | (_, "m") => Duration::from_mins(1),
        (true, "hour") | (_, "h") => Duration::from_hours(1),
        (true, "day") | (_, "d") => Duration::from_hours(24),
        _ => return None,
    };
    let number = if number.is_empty() { 1 } else { number.parse().ok()? };
    unit.checked_mul(number)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window.as_secs() {
            _ if self.window.subsec_nanos() != 0 => write!(f, "{}/{}ms", self.limit, self.window.as_millis()),
            1 => write!(f, "{}/second", self.limit),
            60 => write!(f, "{}/minute", self.limit),
            3600 => write!(f, "{}/hour", self.limit),
            86_400 => write!(f, "{}/day", self.limit),
            seconds => write!(f, "{}/{seconds}s", self.limit),
        }
    }
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaError {
    text: String,
    what: &'static str,
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a rate like `2/minute`, `10/hour` or `20/60s`: {}", self.text, self.what)
    }
}

impl std::error::Error for QuotaError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        let cases = [
            ("2/minute", 2, 60_000, "2/minute"),
            ("10/hour", 10, 3_600_000, "10/hour"),
            ("20/60s", 20, 60_000, "20/minute"),
            (" 5 / 90s", 5, 90_000, "5/90s"),
            ("1/250ms", 1, 250, "1/250ms"),
            ("7/2d", 7, 172_800_000, "7/172800s"),
            ("3/s", 3, 1_000, "3/second"),
        ];
        for (text, limit, millis, written) in cases {
            let quota: Quota = text.parse().unwrap();
            assert_eq!((quota.limit(), quota.window()), (limit, Duration::from_millis(millis)), "{text}");
            assert_eq!(quota.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "2",
            "/minute",
            "0/minute",
            "-1/minute",
            "2/",
            "2/0s",
            "2/fortnight",
            "2/5minute",
            "2/9999d",
            "2/ms",
            "1.5/s",
            "2/99999999999s",
        ] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
    }
}
