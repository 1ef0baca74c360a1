//! The deserializer's sentences, told in the words of the file.

use std::ops::Range;

use super::problem::{Problem, closest};

/// Keys of features that this version does not have.
const LATER: [&str; 6] = ["client_js", "currency", "push", "redis", "savings", "telemetry"];

/// A problem from what the deserializer said about a span.
pub(super) fn problem(message: &str, span: Range<usize>) -> Problem {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut words = quoted(rest);
        let key = words.next().unwrap_or_default();
        let problem = Problem::at(span, format!("unknown key `{key}`"));
        return if LATER.contains(&key) {
            problem.help("this version of forebay does not have it")
        } else {
            propose(problem, key, &words.collect::<Vec<_>>())
        };
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let mut words = quoted(rest);
        let value = words.next().unwrap_or_default();
        return propose(
            Problem::at(span, format!("unknown value `{value}`")),
            value,
            &words.collect::<Vec<_>>(),
        );
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return Problem::at(span, format!("this table needs {rest}"));
    }
    Problem::at(span, reworded(message))
}

fn propose(problem: Problem, word: &str, allowed: &[&str]) -> Problem {
    match closest(word, allowed.iter().copied()) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None if allowed.is_empty() => problem,
        None => problem.help(format!("allowed here: {}", allowed.join(", "))),
    }
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// `invalid type: integer `5`, expected a boolean` becomes `expected true or false, found integer `5``.
fn reworded(message: &str) -> String {
    let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: "))
    else {
        return message.into();
    };
    // What was found comes first and may hold anything; what was expected is our own text, without that phrase.
    let Some((found, expected)) = rest.rsplit_once(", expected ") else {
        return message.into();
    };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        structure if structure.starts_with("struct ") => "a table",
        other => other,
    };
    let found = match found {
        "map" => "a table",
        "sequence" => "a list",
        other => other,
    };
    format!("expected {expected}, found {found}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_about_types_are_told_in_the_words_of_the_file() {
        for (said, told) in [
            ("invalid type: string \"x\", expected u32", "expected a whole number, found string \"x\""),
            ("invalid value: integer `-1`, expected usize", "expected a whole number, found integer `-1`"),
            ("invalid type: integer `1`, expected a boolean", "expected true or false, found integer `1`"),
            ("invalid type: map, expected a string", "expected a string, found a table"),
            ("invalid type: sequence, expected struct Route", "expected a table, found a list"),
            ("something else", "something else"),
        ] {
            assert_eq!(reworded(said), told);
        }
    }

    #[test]
    fn a_key_of_a_later_version_is_told_from_a_slip_of_the_finger() {
        let help = |message: &str| problem(message, 0..1).help.unwrap_or_default();
        assert_eq!(
            help("unknown field `redis`, expected `a` or `b`"),
            "this version of forebay does not have it"
        );
        assert_eq!(help("unknown field `wach`, expected one of `watch`, `log`"), "did you mean `watch`?");
        assert_eq!(help("unknown field `x`, expected one of `watch`, `log`"), "allowed here: watch, log");
    }
}
