//! What is wrong with a file of certificates or keys.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// What is wrong with a file, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, without the file.
    pub message: String,
    /// The remedy.
    pub help: String,
}

impl Fault {
    /// What is wrong with a file.
    pub fn new(path: &Path, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), help: help.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &Error) -> Self {
        let help = match error.kind() {
            ErrorKind::NotFound => {
                "check the path; it is taken from the directory in which forebay was started"
            }
            ErrorKind::PermissionDenied => "let the user that runs forebay read it",
            ErrorKind::IsADirectory => "name a file",
            _ => "see that the file can be read",
        };
        Self::new(path, format!("cannot be read: {error}"), help)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for Fault {}
