//! Lines on their way to a stream.
//!
//! Whoever has something to say copies it into a buffer and goes on; one thread writes the buffer out. A reader that
//! stalls, a pipe that is closed and a disk that is full cost the speaker nothing: beyond a megabyte of waiting text,
//! lines are dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::metrics::Counter;

/// How much text may wait.
const MAX_WAITING: usize = 1 << 20;
/// How long the writer lets lines gather, so that a busy proxy wakes it a hundred times a second and not for each one.
const GATHER: Duration = Duration::from_millis(10);
/// How long [`Lines::flush`] waits for a reader that may have stalled.
const FLUSH: Duration = Duration::from_secs(1);

/// A stream of lines, written by a thread of its own that ends when this is dropped.
#[derive(Debug)]
pub struct Lines {
    shared: Arc<Shared>,
}

impl Lines {
    /// Lines for an open stream.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to_file(file: File) -> io::Result<Self> {
        Self::start(Output { file, path: None, is_torn: false })
    }

    /// Lines appended to a file, which is created when it is missing and opened again by [`Lines::reopen`].
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub fn to_path(path: &Path) -> io::Result<Self> {
        Self::start(Output { file: open(path)?, path: Some(path.to_owned()), is_torn: false })
    }

    fn start(output: Output) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_writer = Arc::clone(&shared);
        thread::Builder::new().name("forebay-log".into()).spawn(move || write_out(&for_writer, output))?;
        Ok(Self { shared })
    }

    /// Hands one line (with its newline) over, or drops it. Never waits for the stream.
    pub fn push(&self, line: &[u8]) {
        let mut waiting = self.shared.waiting.lock();
        if waiting.text.len() + line.len() > MAX_WAITING {
            drop(waiting);
            return self.shared.dropped.inc();
        }
        let was_empty = waiting.text.is_empty();
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.shared.changed.notify_one();
        }
    }

    /// Opens the file again before the next line, as log rotation asks for. A stream stays as it is.
    pub fn reopen(&self) {
        self.shared.ask(|waiting| waiting.reopen = true);
    }

    /// Waits until everything handed over so far is written, for a second at most.
    pub fn flush(&self) {
        self.shared.ask(|waiting| waiting.hurry = true);
        let mut waiting = self.shared.waiting.lock();
        self.shared.written.wait_while_for(&mut waiting, |waiting| waiting.is_pending(), FLUSH);
    }

    /// Lines that were not written: too many were waiting, or the stream refused them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.value()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.shared.ask(|waiting| waiting.is_closing = true);
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Something waits for the writer.
    changed: Condvar,
    /// The writer has done what was asked.
    written: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    is_writing: bool,
    reopen: bool,
    hurry: bool,
    is_closing: bool,
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.text.is_empty() && !self.reopen && !self.hurry && !self.is_closing
    }

    fn is_pending(&self) -> bool {
        self.is_writing || self.reopen || self.hurry || !self.text.is_empty()
    }
}

impl Shared {
    fn ask(&self, what: impl FnOnce(&mut Waiting)) {
        what(&mut self.waiting.lock());
        self.changed.notify_one();
    }
}

/// The writer's thread: two buffers take turns, so that nothing is allocated once they have grown.
fn write_out(shared: &Shared, mut output: Output) {
    let mut text = Vec::new();
    loop {
        let mut waiting = shared.waiting.lock();
        shared.changed.wait_while(&mut waiting, |waiting| waiting.is_idle());
        let is_patient = |waiting: &mut Waiting| !waiting.reopen && !waiting.hurry && !waiting.is_closing;
        shared.changed.wait_while_for(&mut waiting, is_patient, GATHER);
        std::mem::swap(&mut waiting.text, &mut text);
        let reopen = std::mem::take(&mut waiting.reopen);
        let is_closing = waiting.is_closing;
        waiting.hurry = false;
        waiting.is_writing = true;
        drop(waiting);

        shared.dropped.add(output.write(&text));
        text.clear();
        if reopen {
            output.reopen();
        }
        shared.waiting.lock().is_writing = false;
        shared.written.notify_all();
        if is_closing {
            return;
        }
    }
}

struct Output {
    file: File,
    path: Option<PathBuf>,
    /// The last line was cut off by an error; the next one must not continue it.
    is_torn: bool,
}

impl Output {
    /// Writes all of `text`, or as much as the stream takes; the number of lines that are lost or torn.
    fn write(&mut self, text: &[u8]) -> u64 {
        let mut rest = text;
        if self.is_torn && !rest.is_empty() && self.file.write_all(b"\n").is_ok() {
            self.is_torn = false;
        }
        while !self.is_torn && !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => break,
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let at = text.len() - rest.len();
        self.is_torn |= !rest.is_empty() && at > 0 && text.get(at - 1) != Some(&b'\n');
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// A path that cannot be opened leaves the old file in use: better a line in the wrong file than none.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => (self.file, self.is_torn) = (file, false),
            Err(error) => tracing::warn!(path = %path.display(), %error, "log file cannot be opened again"),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::to_file(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        (0..1000).for_each(|n| lines.push(format!("line {n}\n").as_bytes()));
        lines.flush();
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, (0..1000).map(|n| format!("line {n}\n")).collect::<String>());
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_not_time() {
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::to_file(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        // Far more than the pipe, the writer and the buffer hold together.
        (0..4096).for_each(|_| lines.push(&line));
        assert!(lines.dropped() > 1024, "{} dropped", lines.dropped());
        drop(reader);
    }

    #[test]
    fn a_closed_pipe_is_counted() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let lines = Lines::to_file(File::from(std::os::fd::OwnedFd::from(writer))).unwrap();
        lines.push(b"one\n");
        lines.push(b"two\n");
        lines.flush();
        assert_eq!(lines.dropped(), 2);
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let lines = Lines::to_path(Path::new("/dev/full")).unwrap();
        lines.push(b"one\n");
        lines.flush();
        lines.push(b"two\n");
        lines.flush();
        assert_eq!(lines.dropped(), 2);
    }

    #[test]
    fn a_rotated_file_is_left_and_a_new_one_begun() {
        let directory = std::env::temp_dir().join(format!("forebay-lines-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (path, rotated) = (directory.join("access.log"), directory.join("access.log.1"));
        let lines = Lines::to_path(&path).unwrap();
        lines.push(b"before\n");
        lines.flush();
        std::fs::rename(&path, &rotated).unwrap();
        lines.reopen();
        lines.flush();
        lines.push(b"after\n");
        lines.flush();
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
