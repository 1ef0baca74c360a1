//! Carrying a record over to other tiers: a reload must neither fill a limited client's allowance up again nor fine it.
//!
//! Timestamps are kept as far as the new windows reach back. A GCRA tier keeps its debt if there was one of the same
//! window, else it gets the debt that the timestamps amount to. Exact tiers after a record without timestamps get
//! those that would give back what is owed at the same times.

use super::record::Record;
use super::rules::Rules;

/// `record`, written under `old`, as a record under `new`.
pub(super) fn reshape(record: &Record, old: &Rules, new: &Rules, now: u64) -> Record {
    let times: Vec<u64> = if old.exact.is_empty() {
        times_of_debt(record, old, new, now)
    } else {
        record.ticks(old).map(|tick| tick * old.tick).collect()
    };
    let tats: Vec<u64> = new
        .gcra
        .iter()
        .map(|tier| {
            let same = old.gcra.iter().position(|known| known.window == tier.window);
            let tat = match same {
                Some(nth) => record.tat(nth),
                None => {
                    times.iter().fold(0, |tat, at| tier.gcra.check(tat, *at).map_or(tat, |found| found.tat))
                }
            };
            tat.min(tier.gcra.latest(now))
        })
        .collect();
    let now = now / new.tick;
    let ticks = times.iter().map(|at| (at / new.tick).min(now));
    let kept: Vec<u64> = ticks.filter(|tick| !new.exact.is_empty() && now - tick < new.longest).collect();
    Record::with_history(&tats, &kept)
}

/// Times at which requests would have been made, oldest first, such that they leave the longest new window when the
/// debt of the longest old tier is paid off, unit by unit.
fn times_of_debt(record: &Record, old: &Rules, new: &Rules, now: u64) -> Vec<u64> {
    let longest = old.gcra.iter().enumerate().max_by_key(|(_, tier)| tier.window);
    let Some((nth, tier)) = longest else { return Vec::new() };
    let most = new.exact.iter().map(|exact| exact.allowance).max().unwrap_or(0);
    let window = new.longest * new.tick;
    let due = tier.gcra.owed(record.tat(nth), now, most);
    let mut times: Vec<u64> = due.map(|due| due.saturating_sub(window).min(now)).collect();
    times.reverse();
    times
}
