//! Names that users give: unique, and fit for a label, a header field and a file.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use super::Findings;
use crate::config::Problem;

const MAX_LENGTH: usize = 64;

/// Whether a name may be one; told when not.
pub(super) fn check(kind: &str, name: &Spanned<String>, findings: &mut Findings<'_>) {
    let text = name.get_ref();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_LENGTH || !text.bytes().all(fits) {
        let problem = Problem::at(name.span(), format!("`{text}` cannot be the name of {kind}"));
        findings.add(problem.help("a name is 1 to 64 letters, digits, `-`, `_` and `.`"));
    }
}

/// The index of a name in a list; told, with the one that was meant, when it is in none.
pub(super) fn resolve<'n>(
    kind: &str,
    name: &Spanned<String>,
    among: impl Iterator<Item = &'n str> + Clone,
    findings: &mut Findings<'_>,
) -> Option<usize> {
    let found = among.clone().position(|candidate| candidate == name.get_ref());
    if found.is_none() {
        let problem = Problem::at(name.span(), format!("there is no {kind} `{}`", name.get_ref()));
        findings.add(problem.suggest(name.get_ref(), among));
    }
    found
}

/// Names that were seen, with their places.
#[derive(Default)]
pub(super) struct Seen<'c>(HashMap<&'c str, Range<usize>>);

impl<'c> Seen<'c> {
    /// Told when it was seen before.
    pub(super) fn check(&mut self, what: &str, name: &'c Spanned<String>, findings: &mut Findings<'_>) {
        if let Some(first) = self.0.get(name.get_ref().as_str()) {
            let problem = Problem::at(name.span(), format!("{what} `{}` twice", name.get_ref()));
            findings.add(problem.also(first.clone(), "the first"));
        } else {
            self.0.insert(name.get_ref(), name.span());
        }
    }
}
