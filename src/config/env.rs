//! `${VAR}` in the strings of a configuration.
//!
//! Expanded after parsing, in values only: a secret with a quote in it cannot break the file, places stay true, and
//! what a variable holds is not expanded again.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::Problem;

/// How a variable is looked up; `std::env::var` in the program.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands every string of the table in place. What could not be expanded stays as it is and is a problem, in the
/// order of the file, with the span of its value.
pub(super) fn expand_table(table: &mut DeTable<'_>, text: &str, env: Lookup<'_>) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (_, value) in table.iter_mut() {
        expand_value(value, text, env, &mut failures);
    }
    failures
}

/// A string that could not be expanded.
pub(super) struct Failure {
    pub(super) value: Range<usize>,
    pub(super) problem: Problem,
}

fn expand_value(value: &mut Spanned<DeValue<'_>>, text: &str, env: Lookup<'_>, failures: &mut Vec<Failure>) {
    let span = value.span();
    match value.get_mut() {
        DeValue::String(string) if string.contains('$') => match expand(string, env) {
            Ok(expanded) => *string = DeString::Owned(expanded),
            Err(refused) => failures.push(refused.at(span, text)),
        },
        DeValue::Array(list) => {
            list.iter_mut().for_each(|element| expand_value(element, text, env, failures));
        }
        DeValue::Table(table) => failures.extend(expand_table(table, text, env)),
        _ => {}
    }
}

/// Why a string could not be expanded, and which part of it.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    part: String,
    message: String,
    help: Option<String>,
}

impl Refused {
    /// The place is that of the reference inside the string, where the file shows it as it is.
    fn at(self, value: Range<usize>, text: &str) -> Failure {
        let found = text.get(value.clone()).and_then(|raw| raw.find(&self.part));
        let place = match found {
            Some(offset) => value.start + offset..value.start + offset + self.part.len(),
            None => value.clone(),
        };
        let problem = Problem { help: self.help, ..Problem::at(place, self.message) };
        Failure { value, problem }
    }
}

/// Expands one string.
fn expand(string: &str, env: Lookup<'_>) -> Result<String, Refused> {
    let mut expanded = String::with_capacity(string.len());
    let mut rest = string;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let reference = rest.get(before.len()..).unwrap_or_default();
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((inside, after)) = after.split_once('}') else {
                return Err(unterminated(reference));
            };
            expanded.push_str(&look_up(inside, env)?);
            rest = after;
        } else {
            return Err(lone_dollar());
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What stands between the braces: `VAR`, `VAR:-default` or `VAR:?message`. An empty variable counts as unset for
/// the latter two, as in a shell.
fn look_up(inside: &str, env: Lookup<'_>) -> Result<String, Refused> {
    let (name, otherwise) = match inside.split_once(':') {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (inside, None),
    };
    let refused = |message: String, help: Option<String>| {
        Err(Refused { part: format!("${{{inside}}}"), message, help })
    };
    if !is_variable(name) {
        return refused(format!("`{name}` is not the name of a variable"), Some(forms()));
    }
    let value = env(name);
    match otherwise.map(|text| text.split_at_checked(1).unwrap_or(("", ""))) {
        Some(("-", default)) => Ok(value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.into())),
        Some(("?", message)) => match value {
            Some(value) if !value.is_empty() => Ok(value),
            _ if message.is_empty() => refused(format!("the environment variable `{name}` is not set"), None),
            _ => refused(format!("`{name}` is not set: {message}"), None),
        },
        Some(_) => refused(format!("`{inside}` is not a way to refer to a variable"), Some(forms())),
        None => match value {
            Some(value) => Ok(value),
            None => refused(
                format!("the environment variable `{name}` is not set"),
                Some(format!("set it, or give a default: ${{{name}:-default}}")),
            ),
        },
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unterminated(reference: &str) -> Refused {
    Refused { part: reference.into(), message: "`${` without its `}`".into(), help: Some(forms()) }
}

fn lone_dollar() -> Refused {
    Refused {
        part: "$".into(),
        message: "a lone `$`".into(),
        help: Some("write `$$` for a dollar sign, `${VAR}` for a variable".into()),
    }
}

fn forms() -> String {
    "write ${VAR}, ${VAR:-default}, ${VAR:?message}, or $$ for a dollar sign".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("scan.internal".into()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}\"$$".into()),
            _ => None,
        }
    }

    #[test]
    fn a_reference_becomes_its_value_its_default_or_a_dollar_sign() {
        for (string, expanded) in [
            ("plain", "plain"),
            ("http://${HOST}:8000", "http://scan.internal:8000"),
            ("${HOST}${HOST}", "scan.internalscan.internal"),
            ("${NONE:-fallback}", "fallback"),
            ("${EMPTY:-fallback}", "fallback"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("${NONE:-http://[::1]:80}", "http://[::1]:80"),
            ("${HOST:?needed}", "scan.internal"),
            ("$$5 and $${HOST}", "$5 and ${HOST}"),
            ("${TRICK}", "${HOST}\"$$"),
        ] {
            assert_eq!(expand(string, &env), Ok(expanded.into()), "{string}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        for (string, part, message) in [
            ("a ${NONE}", "${NONE}", "the environment variable `NONE` is not set"),
            ("${NONE:?set the token}", "${NONE:?set the token}", "`NONE` is not set: set the token"),
            ("x${HOST", "${HOST", "`${` without its `}`"),
            ("${}", "${}", "`` is not the name of a variable"),
            ("${A B}", "${A B}", "`A B` is not the name of a variable"),
            ("${HOST:x}", "${HOST:x}", "`HOST:x` is not a way to refer to a variable"),
            ("${HOST:}", "${HOST:}", "`HOST:` is not a way to refer to a variable"),
            ("cost $5", "$", "a lone `$`"),
        ] {
            let refused = expand(string, &env).unwrap_err();
            assert_eq!((refused.part.as_str(), refused.message.as_str()), (part, message), "{string}");
        }
    }
}
