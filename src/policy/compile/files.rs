//! Files that are to be written: what can be seen of them without making them.

use std::path::Path;

use super::Findings;
use crate::config::{Config, Problem};
use crate::logging::Access;

/// An access log that cannot be opened is a problem. A state file that cannot be written ends nothing: it is told, and
/// tried again while forebay runs.
pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let access = &config.log.access;
    if let Access::File(path) = Access::from(access.get_ref().as_str())
        && let Some((message, help)) = without_a_place("access log", &path)
    {
        findings.add(Problem::at(access.span(), message).help(help));
    }
    for job in config.jobs.values() {
        let file = &job.get_ref().state_file;
        if let Some((message, help)) = without_a_place("state file", Path::new(file.get_ref())) {
            findings.warn(Problem::at(file.span(), message).help(help));
        }
    }
}

/// What is wrong with the place of a file, and what to do about it.
fn without_a_place(what: &str, path: &Path) -> Option<(String, &'static str)> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    if path.is_dir() {
        return Some((format!("the {what} {} is a folder", path.display()), "name a file in it"));
    }
    let folder = folder.filter(|folder| !folder.is_dir())?;
    Some((format!("the {what} has no folder: {} is not there", folder.display()), "make it first"))
}
