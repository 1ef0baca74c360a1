//! The state file: the jobs at work, so that they hold their permits again after a restart.
//!
//! It is replaced as a whole (a new file, synced, renamed over the old one), so that whoever reads it finds all of one
//! moment. One that is torn or not ours is set aside, never a reason not to start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a file of ours says that it is.
const FORMAT: &str = "forebay jobs";
const VERSION: u32 = 1;
/// A larger file is not ours: about four times what the largest table makes.
const MAX_BYTES: u64 = 256 << 20;

/// The jobs of one kind at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    format: String,
    version: u32,
    /// Starts that have named no job, or not yet.
    pub(super) nameless: usize,
    pub(super) jobs: Vec<SavedJob>,
}

/// One of them. No credential is among this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedJob {
    pub(super) id: String,
    /// Milliseconds since the epoch.
    pub(super) began: u64,
    pub(super) host: Option<String>,
    pub(super) path: Option<String>,
}

/// Why a state file brings no jobs back.
#[derive(Debug, Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("the state file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is not one of ours, or not whole; where it was put instead.
    #[error("the state file is not one of this version, or not whole; it was set aside as {}", .0.display())]
    SetAside(PathBuf),
}

impl Saved {
    pub(super) fn new(nameless: usize, jobs: Vec<SavedJob>) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, nameless, jobs }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let saved: Self = serde_json::from_slice(bytes).ok()?;
        (saved.format == FORMAT && saved.version == VERSION).then_some(saved)
    }
}

/// What a file holds; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Saved>, Unusable> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?,
    };
    let is_ours = bytes.len() as u64 <= MAX_BYTES;
    if let Some(saved) = Saved::from_bytes(&bytes).filter(|_| is_ours) {
        return Ok(Some(saved));
    }
    let aside = beside(path, ".aside");
    fs::rename(path, &aside)?;
    Err(Unusable::SetAside(aside))
}

/// Puts a file in the place of another, durably: after a crash there is the one or the other.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("forebay-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn saved() -> Saved {
        let job = |id: &str| SavedJob { id: id.into(), began: 7, host: Some("h".into()), path: None };
        Saved::new(2, vec![job("a"), job("\"\u{0}é")])
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let folder = Folder::new("state-file");
        let path = folder.0.join("jobs.json");
        assert!(read(&path).unwrap().is_none());
        replace(&path, &Saved::new(0, Vec::new()).to_bytes()).unwrap();
        replace(&path, &saved().to_bytes()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(saved()));
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_file_that_is_torn_or_foreign_is_set_aside() {
        let folder = Folder::new("foreign-file");
        let path = folder.0.join("jobs.json");
        let whole = String::from_utf8(saved().to_bytes()).unwrap();
        let torn = whole.get(..whole.len() - 3).unwrap();
        let newer = whole.replace("\"version\": 1", "\"version\": 2");
        for foreign in [torn, &newer, "", "{}", "[1]", "\u{0}\u{1}", "watch = true\n"] {
            fs::write(&path, foreign).unwrap();
            let Err(Unusable::SetAside(aside)) = read(&path) else { panic!("{foreign}") };
            assert_eq!(fs::read_to_string(aside).unwrap(), foreign);
            assert!(!path.exists());
        }
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(&path), Err(Unusable::Unreadable(_))));
    }
}
