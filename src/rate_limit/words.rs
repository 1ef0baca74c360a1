//! A rate limit in words.

use std::time::Duration;

use crate::client::KeySource;

/// What a limit allows: "2 per minute and 10 per hour".
pub(super) fn tiers(tiers: impl IntoIterator<Item = (u32, Duration)>) -> String {
    join(tiers.into_iter().map(|(limit, window)| format!("{limit} per {}", period(window))))
}

/// And to whom: "2 per minute and 10 per hour for each client address".
pub(super) fn rule(allowed: &str, keys: &[KeySource]) -> String {
    if keys.iter().all(|key| *key == KeySource::Global) {
        return format!("{allowed} for everybody together");
    }
    format!("{allowed} for each {}", join(keys.iter().filter_map(source)))
}

fn period(window: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let seconds = window.as_secs();
    if window.subsec_nanos() != 0 || seconds == 0 {
        return format!("{} milliseconds", window.as_millis());
    }
    let unit = UNITS.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    match unit.map(|(length, name)| (seconds / length, name)) {
        Some((1, name)) => name.to_owned(),
        Some((count, name)) => format!("{count} {name}s"),
        None => format!("{seconds} seconds"),
    }
}

/// `global` beside other sources tells nobody apart.
fn source(key: &KeySource) -> Option<String> {
    Some(match key {
        KeySource::Global => return None,
        KeySource::ClientIp => "client address".to_owned(),
        KeySource::Header(name) => format!("value of the header {name}"),
        KeySource::Cookie(name) => format!("value of the cookie {name}"),
        KeySource::Query(name) => format!("value of the query parameter {name}"),
        KeySource::Path(name) => format!("{{{name}}} of the path"),
    })
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_reads_like_a_sentence() {
        let seconds = Duration::from_secs;
        for (tiers, keys, expected) in [
            (
                vec![(2, seconds(60)), (10, seconds(3600))],
                vec!["client_ip"],
                "2 per minute and 10 per hour for each client address",
            ),
            (vec![(20, seconds(120))], vec!["global"], "20 per 2 minutes for everybody together"),
            (
                vec![(5, seconds(90))],
                vec!["header:X-Api-Key", "path:workspace"],
                "5 per 90 seconds for each value of the header x-api-key and {workspace} of the path",
            ),
            (vec![(1, seconds(86_400))], vec!["cookie:sid"], "1 per day for each value of the cookie sid"),
            (
                vec![(3, Duration::from_millis(500))],
                vec!["client_ip"],
                "3 per 500 milliseconds for each client address",
            ),
        ] {
            let keys: Vec<KeySource> = keys.iter().map(|key| key.parse().unwrap()).collect();
            assert_eq!(rule(&super::tiers(tiers), &keys), expected);
        }
    }
}
