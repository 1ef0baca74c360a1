//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers-10 has them.
//!
//! `"scan-start-60";q=2;w=60, "scan-start-3600";q=10;w=3600` is written once. Of the standing only the tier that
//! binds first is told: `"scan-start-60";r=0;t=30`, where `t` is the time until more is available (section 4.2).

use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderName;
use smallvec::SmallVec;

use super::quota::Quota;
use super::record::Standing;

/// The field that tells the quotas.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The field that tells what is left.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The fields of one limit, as far as they can be written beforehand.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) policy: HeaderValue,
    /// Up to where the numbers begin, by tier.
    starts: Vec<Box<str>>,
}

impl Fields {
    pub(super) fn new(name: &str, quotas: &[Quota], burst: u32) -> Self {
        let names: Vec<String> =
            quotas.iter().map(|quota| tier_name(name, quota, quotas.len() > 1)).collect();
        let policies = names.iter().zip(quotas).map(|(name, quota)| {
            let (quantity, window) = (quota.limit().saturating_add(burst), whole_seconds(quota.window()));
            format!("{name};q={quantity};w={window}")
        });
        let policy = policies.collect::<Vec<_>>().join(", ");
        Self {
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("")),
            starts: names.into_iter().map(|name| format!("{name};r=").into()).collect(),
        }
    }

    /// The `RateLimit` field; one allocation, the value itself.
    pub(super) fn standing(&self, standing: &Standing) -> HeaderValue {
        let mut text = SmallVec::<[u8; 96]>::new();
        // The tiers may just have changed under a request that began before a reload.
        let start = self.starts.get(standing.tier).or(self.starts.first());
        text.extend_from_slice(start.map_or(b"", |start| start.as_bytes()));
        push_number(&mut text, u64::from(standing.remaining));
        text.extend_from_slice(b";t=");
        push_number(&mut text, whole_seconds(Duration::from_nanos(standing.more_in)));
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// A quoted string (RFC 9651 3.3.3): the limit's name, and the window where there are several.
fn tier_name(name: &str, quota: &Quota, is_one_of_several: bool) -> String {
    let mut text = String::from('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            _ => text.push('?'),
        }
    }
    let window = quota.window();
    match (is_one_of_several, window.subsec_nanos()) {
        (false, _) => {}
        (true, 0) => text.push_str(&format!("-{}", window.as_secs())),
        (true, _) => text.push_str(&format!("-{}ms", window.as_millis())),
    }
    text.push('"');
    text
}

/// Rounded up: the fields know whole seconds only, and too early is refused.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn push_number(text: &mut SmallVec<[u8; 96]>, mut number: u64) {
    let mut digits = [0; 20];
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(digits.len() - count..).unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(texts: &[&str]) -> Vec<Quota> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn several_tiers_are_told_apart_by_their_window() {
        let fields = Fields::new("scan-start", &quotas(&["2/minute", "10/hour", "1/500ms"]), 1);
        assert_eq!(
            fields.policy,
            r#""scan-start-60";q=3;w=60, "scan-start-3600";q=11;w=3600, "scan-start-500ms";q=2;w=1"#
        );
        let standing = Standing { tier: 1, remaining: 9, more_in: 29_000_000_001 };
        assert_eq!(fields.standing(&standing), r#""scan-start-3600";r=9;t=30"#);
    }

    #[test]
    fn one_tier_has_the_name_of_the_limit() {
        let fields = Fields::new("a \"b\" \\ ü", &quotas(&["5/second"]), 0);
        assert_eq!(fields.policy, r#""a \"b\" \\ ?";q=5;w=1"#);
        let standing = Standing { tier: 0, remaining: u32::MAX, more_in: 0 };
        assert_eq!(fields.standing(&standing), r#""a \"b\" \\ ?";r=4294967295;t=0"#);
    }
}
