//! The deserializer's sentences, told in the words of the file.

use std::ops::Range;

use super::problem::{Problem, closest};

/// Keys of features that this version does not have.
const LATER: [&str; 6] = ["client_js", "currency", "push", "redis", "savings", "telemetry"];

/// A problem from what the deserializer said about a span, and what is written there.
pub(super) fn problem(message: &str, span: Range<usize>, written: &str) -> Problem {
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
    let Some((expected, found)) = in_words(message, written) else { return Problem::at(span, message) };
    let help = remedy(expected, found, written);
    Problem { help, ..Problem::at(span, format!("expected {expected}, found {found}")) }
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

/// What was expected and what was found, out of `invalid type: integer `5`, expected a boolean`.
fn in_words<'t>(message: &'t str, written: &str) -> Option<(&'t str, &'t str)> {
    let (rest, is_out_of_range) = match message.strip_prefix("invalid value: ") {
        Some(rest) => (rest, true),
        None => (message.strip_prefix("invalid type: ")?, false),
    };
    // What was found comes first and may hold anything; what was expected is our own text, without that phrase.
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let wide = found.strip_suffix(" as i128");
    let is_too_large = (is_out_of_range || wide.is_some()) && !found.starts_with("integer `-");
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" if is_too_large => "a smaller whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        structure if structure.starts_with("struct ") => "a table",
        other => other,
    };
    let found = match found {
        // The deserializer hands a date over as a map.
        "map" if written.starts_with(|first: char| first.is_ascii_digit()) => "a date or a time",
        "map" => "a table",
        "sequence" => "a list",
        other => wide.unwrap_or(other),
    };
    Some((expected, found))
}

/// How to write it, where that can be said from what is written.
fn remedy(expected: &str, found: &str, written: &str) -> Option<String> {
    let is_string = found.starts_with("string ");
    let bare = written.trim_matches(['"', '\'']);
    let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match expected {
        "a list" if (is_string || found == "a table") && !written.contains('\n') => {
            Some(format!("write it in brackets: [{written}]"))
        }
        "a list" | "a table" => None,
        _ if is_string && written.contains("${") => Some(
            "a variable gives a string: it can stand for texts, durations, sizes and rates, not for numbers and not \
             for true or false"
                .into(),
        ),
        _ if is_string && (is_number || matches!(bare, "true" | "false")) => {
            Some(format!("write it without quotes: {bare}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_about_types_are_told_in_the_words_of_the_file() {
        for (said, told) in [
            ("invalid type: string \"x\", expected u32", "expected a whole number, found string \"x\""),
            ("invalid value: integer `-1`, expected usize", "expected a whole number, found integer `-1`"),
            (
                "invalid value: integer `300`, expected u8",
                "expected a smaller whole number, found integer `300`",
            ),
            (
                "invalid type: integer `9` as i128, expected u32",
                "expected a smaller whole number, found integer `9`",
            ),
            ("invalid type: integer `1`, expected a boolean", "expected true or false, found integer `1`"),
            ("invalid type: map, expected a string", "expected a string, found a table"),
            ("invalid type: sequence, expected struct Route", "expected a table, found a list"),
            ("something else", "something else"),
        ] {
            assert_eq!(problem(said, 0..1, "").message, told);
        }
        let date = problem("invalid type: map, expected a string", 0..1, "2020-01-01");
        assert_eq!(date.message, "expected a string, found a date or a time");
    }

    #[test]
    fn what_is_written_in_another_form_is_told_with_the_right_one() {
        for (expected, written, help) in [
            ("a sequence", "\"2/minute\"", Some("write it in brackets: [\"2/minute\"]")),
            ("u32", "'5'", Some("write it without quotes: 5")),
            ("a boolean", "\"true\"", Some("write it without quotes: true")),
            ("u32", "\"five\"", None),
            ("a map", "\"x\"", None),
        ] {
            let said = format!("invalid type: string {written}, expected {expected}");
            assert_eq!(problem(&said, 0..1, written).help.as_deref(), help, "{said}");
        }
        let routes = problem("invalid type: map, expected a sequence", 0..1, "[routes]");
        assert_eq!(routes.help.as_deref(), Some("write it in brackets: [[routes]]"));
        let variable = problem("invalid type: string \"5\", expected u32", 0..1, "\"${N:-5}\"");
        assert!(variable.help.unwrap().starts_with("a variable gives a string"));
    }

    #[test]
    fn a_key_of_a_later_version_is_told_from_a_slip_of_the_finger() {
        let help = |message: &str| problem(message, 0..1, "").help.unwrap_or_default();
        assert_eq!(
            help("unknown field `redis`, expected `a` or `b`"),
            "this version of forebay does not have it"
        );
        assert_eq!(help("unknown field `wach`, expected one of `watch`, `log`"), "did you mean `watch`?");
        assert_eq!(help("unknown field `x`, expected one of `watch`, `log`"), "allowed here: watch, log");
    }
}
