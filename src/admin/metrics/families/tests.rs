use std::collections::HashSet;

use super::super::exposition::Exposition;
use super::*;

fn scrape() -> Scrape {
    let process = ProcessFigures {
        cpu_seconds: 1.5,
        resident_bytes: 20_000_000,
        virtual_bytes: 90_000_000,
        open_fds: 20,
        max_fds: 1024,
        threads: 6,
    };
    Scrape { snapshot: Snapshot::example(), admin_connections: 1, process }
}

#[test]
fn names_and_labels_are_as_documented() {
    let text = Exposition::Text.write(scrape()).unwrap();
    insta::assert_snapshot!(text.replace(VERSION, "VERSION"));
}

#[test]
fn every_family_is_described_once_and_no_series_comes_twice() {
    for form in [Exposition::Text, Exposition::OpenMetrics] {
        let text = form.write(scrape()).unwrap();
        let (mut described, mut series) = (HashSet::new(), HashSet::new());
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", name, help] => {
                    assert!(described.insert(name.to_owned()) && !help.is_empty(), "{line}");
                    family = name.to_owned();
                }
                ["#", "TYPE", name, is] => {
                    assert_eq!(name, family, "HELP comes first");
                    kind = is.to_owned();
                }
                ["#", "EOF"] => assert_eq!(form, Exposition::OpenMetrics),
                _ => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    assert!(series.insert(name.to_owned()), "twice: {line}");
                    value.parse::<f64>().unwrap();
                    let name = name.split('{').next().unwrap();
                    assert!(samples(&family, &kind, form).contains(&name.to_owned()), "{line} in {family}");
                }
            }
        }
        assert_eq!(text.ends_with("# EOF\n"), form == Exposition::OpenMetrics);
    }
}

/// What samples of a family may be called.
fn samples(family: &str, kind: &str, form: Exposition) -> Vec<String> {
    match (kind, form) {
        ("counter", Exposition::OpenMetrics) => vec![format!("{family}_total")],
        ("histogram", _) => ["sum", "count", "bucket"].map(|suffix| format!("{family}_{suffix}")).into(),
        _ => vec![family.to_owned()],
    }
}

#[test]
fn buckets_ascend_to_the_count() {
    let text = Exposition::Text.write(scrape()).unwrap();
    let polls = "forebay_request_duration_seconds_bucket{le=\"";
    let counts: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with(polls) && line.contains("scan-status"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    assert!(counts.is_sorted() && counts.len() == 18);
    assert_eq!(counts.last(), Some(&6));
}
