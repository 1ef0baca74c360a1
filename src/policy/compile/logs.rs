//! `[log]`: that the access log is where somebody meant it to be.

use super::Findings;
use crate::config::{Config, Problem, problem::closest};
use crate::logging::Access;

/// Words that somebody may have meant in place of a path; the last is none of ours.
const WORDS: [&str; 3] = ["stdout", "off", "stderr"];

/// A word that is nearly one of ours is a slip of the finger, and not a file in the working directory.
pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let access = &config.log.access;
    let text = access.get_ref().as_str();
    if matches!(Access::from(text), Access::Off | Access::Stdout) || text.contains(['/', '.']) {
        return;
    }
    let help = match closest(text, WORDS) {
        Some("stderr") => format!("write `stdout` or `off`; a file of that name is `./{text}`"),
        Some(meant) => format!("did you mean `{meant}`? A file of that name is `./{text}`"),
        None if text.is_empty() => "write `stdout`, `off`, or the path of a file".to_owned(),
        None => return,
    };
    let message = format!("`{text}` is no place for the access log");
    findings.add(Problem::at(access.span(), message).help(help));
}
