//! The fuzz targets with a stable compiler: each on its whole corpus, and on mutations of it, the same ones in every run.
//! `FUZZ_ROUNDS` sets how many, and then however long they take.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its time is bounded by the real clock"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a library elsewhere")]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Mutations of each target, unless `FUZZ_ROUNDS` says otherwise.
const ROUNDS: usize = 5000;
/// No target takes longer, however slow the machine is.
const BOUND: Duration = Duration::from_secs(5);
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"%2e",
    b"%2F",
    b"..",
    b"/",
    b"//",
    b";",
    b",",
    b"\"",
    b"\\",
    b":",
    b" ",
    b"\t",
    b"=",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"\xff",
    b"chunked",
    b"[",
    b"{",
];

/// Numbers that look random, the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of the seeds with a few changes.
fn mutation(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(8)).min(bytes.len());
        match dice.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..end, WORDS[dice.below(WORDS.len())].iter().copied())),
            2 => drop(bytes.splice(at..at, WORDS[dice.below(WORDS.len())].iter().copied())),
            3 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ => {
                let other = &seeds[dice.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
        }
    }
    bytes
}

fn replay(name: &str) {
    let asked = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let (rounds, bound) = asked.map_or((ROUNDS, BOUND), |rounds| (rounds, Duration::MAX));
    let (_, run) = targets::TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let (seeds, began, mut dice) = (corpus(name), Instant::now(), Dice(1));
    let mut broken = Vec::new();
    let mut check = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
            broken.push(format!("{:?}", String::from_utf8_lossy(input)));
        }
        broken.len() < 3
    };
    let mut goes_on = seeds.iter().all(|seed| check(seed));
    let mut played = 0;
    while goes_on && played < rounds && began.elapsed() < bound {
        goes_on = check(&mutation(&seeds, &mut dice));
        played += 1;
    }
    println!("{name}: {} seeds, {played} mutations, {:.1} s", seeds.len(), began.elapsed().as_secs_f64());
    assert!(broken.is_empty(), "{name} breaks on\n{}", broken.join("\n"));
}

macro_rules! replayed {
    ($($fact:ident: $name:literal,)*) => {
        $(#[test]
        fn $fact() {
            replay($name);
        })*
    };
}

replayed! {
    whatever_a_client_sends_the_origin_gets_one_clear_request: "request",
    whatever_an_origin_sends_the_client_gets_one_clear_answer: "response",
    every_target_has_one_spelling: "target",
    strangers_choose_no_client_address: "client_address",
    no_cache_control_takes_another_ones_word_away: "cache_control",
    selecting_fields_are_compared_both_ways_alike: "vary",
    ranges_lie_in_what_there_is: "range",
    pointers_lead_where_a_whole_tree_leads: "json",
    configurations_have_problems_or_read_back: "config",
}

#[test]
fn every_target_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut folders: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut known = targets::TARGETS.map(|(name, _)| name.to_owned());
    known.sort();
    assert_eq!(folders, known);
}
