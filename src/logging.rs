//! What forebay says: the program's own log on stderr, and the access log.
//!
//! Both go through [`Lines`]: saying something never waits for whoever reads it, never panics when nobody does, and
//! what could not be said is counted. JSON lines have stable top-level fields (`timestamp`, `level`, `message`, then
//! the event's own); the text form is for people on a terminal and promises nothing.

mod access;
mod format;
mod lines;
mod timestamp;

pub use access::{Access, AccessLog, Entry};
pub use format::{Format, UnknownFormat};
pub use lines::Lines;

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::str::FromStr as _;
use std::sync::Arc;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Overrides the configured level, in the same syntax.
pub const LEVEL_VARIABLE: &str = "FOREBAY_LOG";
/// The key that has the level otherwise.
const LEVEL_KEY: &str = "log.level";

/// The program's log while it runs. Dropping it writes what is still waiting (for a second at most), so keep it in
/// `main` until the end.
#[derive(Debug)]
pub struct Log {
    lines: Arc<Lines>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts the program's log on stderr. `level` is a level (`info`) or a list of directives (`info,forebay=debug`); a
/// value in [`LEVEL_VARIABLE`] goes before it.
///
/// # Errors
/// When a level cannot be read, when stderr cannot be had, and when a log was already started in this process.
pub fn start(format: Format, level: &str) -> Result<Log, LogError> {
    let stderr = io::stderr();
    let json = format.is_json(stderr.is_terminal());
    let lines = Arc::new(Lines::to_file(stderr.as_fd().try_clone_to_owned()?.into())?);
    let (filter, handle) = reload::Layer::new(effective_filter(level)?);
    let writer = Arc::clone(&lines);
    // An error while writing is counted by `Lines`; the layer would report it on stderr and panic when that is closed.
    let layer = fmt::layer()
        .with_target(false)
        .log_internal_errors(false)
        .with_writer(move || LineWriter(Arc::clone(&writer)));
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        layer.with_ansi(stderr.is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|_| LogError::Started)?;
    Ok(Log { lines, filter: handle })
}

impl Log {
    /// Changes the level from now on; [`LEVEL_VARIABLE`] still goes before it.
    ///
    /// # Errors
    /// When the level cannot be read; the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let filter = effective_filter(level)?;
        self.filter.reload(filter).map_err(|_| LogError::Started)
    }

    /// Where the log's lines go, for their figures.
    pub fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

/// Whether a level, or a list of directives, can be read; for checking a configuration.
///
/// # Errors
/// [`LogError::Level`] with what is wrong.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter(level, LEVEL_KEY).map(drop)
}

/// Whether what [`LEVEL_VARIABLE`] holds can be read, if it holds anything.
///
/// # Errors
/// [`LogError::Level`] with what is wrong.
pub fn check_variable() -> Result<(), LogError> {
    overriding_level().map_or(Ok(()), |level| filter(&level, LEVEL_VARIABLE).map(drop))
}

fn effective_filter(level: &str) -> Result<EnvFilter, LogError> {
    match overriding_level() {
        Some(overriding) => filter(&overriding, LEVEL_VARIABLE),
        None => filter(level, LEVEL_KEY),
    }
}

fn overriding_level() -> Option<String> {
    std::env::var(LEVEL_VARIABLE).ok().filter(|level| !level.is_empty())
}

fn filter(level: &str, place: &'static str) -> Result<EnvFilter, LogError> {
    let error = |why: String| LogError::Level { level: level.to_owned(), place, why };
    // A bare word would be read as the name of a module, and a misspelt level would log everything of nothing.
    let words = level.split(',').filter(|part| !part.contains(['=', '[']));
    if words.clone().any(|word| word.is_empty() || LevelFilter::from_str(word).is_err()) {
        return Err(error(
            "a level is off, error, warn, info, debug or trace; further ones of modules follow, as in \
             info,forebay=debug"
                .into(),
        ));
    }
    EnvFilter::builder().parse(level).map_err(|parse| error(parse.to_string()))
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// Neither a level nor a list of directives.
    #[error("unknown log level {level:?} in {place}: {why}")]
    Level {
        /// What was given.
        level: String,
        /// The key or the variable that says so.
        place: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Another log was started before, or this one has ended.
    #[error("this process has a log already")]
    Started,
    /// The stream or its thread could not be had.
    #[error("the log cannot be opened: {0}")]
    Io(#[from] io::Error),
}

/// Hands each event of `tracing` on as one line.
struct LineWriter(Arc<Lines>);

impl io::Write for LineWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_list_of_directives() {
        for good in ["info", "WARN", "off", "info,forebay=debug", "forebay::proxy=trace"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,forebay=loud", "forebay=debug=x"] {
            assert!(matches!(check_level(bad), Err(LogError::Level { .. })), "{bad}");
        }
    }
}
