//! The command line: what can be asked of `forebay`, and with which flags.
//!
//! Flags go before the environment, the environment before the file, the file before the defaults.

pub mod check;
pub mod explain;
pub mod healthcheck;
mod overrides;
pub mod run;
pub mod schema;

use std::io::{self, IsTerminal, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use self::overrides::Overrides;
use crate::config::listener::{Address, socket_address};
use crate::config::{self, Loaded, Preset, Problems};
use crate::logging;

/// Bad configuration or usage.
pub const USAGE: u8 = 2;

/// The program.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, about, styles = STYLES, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT
    Run(RunArgs),
    /// Validate the configuration: every problem at once, each with its place
    Check(CheckArgs),
    /// Tell what would happen to a request: route, identity, limits, cache key, upstream
    Explain(ExplainArgs),
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  forebay schema > forebay.schema.json")]
    Schema,
    /// Ask a running forebay whether it is well; for HEALTHCHECK in an image without a shell
    Healthcheck(HealthcheckArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArg {
    /// Configuration file [default: $FOREBAY_CONFIG, ./forebay.toml, /etc/forebay/forebay.toml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `forebay run`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  forebay run --config forebay.toml
  forebay run --upstream http://127.0.0.1:8000 --listen 127.0.0.1:8080
  forebay run --upstream http://127.0.0.1:8000 --preset scan

Exit status: 0 drained, 1 failed while running, 2 bad configuration or usage.")]
pub struct RunArgs {
    /// The file, if there is one.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Where to listen, instead of listener.address: IP:PORT or unix:/path [env: FOREBAY_LISTEN]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Address>,
    /// The backend, instead of a file: safe defaults for it
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub upstream: Option<String>,
    /// Where the admin listener listens, instead of admin.address [env: FOREBAY_ADMIN]
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    pub admin: Option<SocketAddr>,
    /// A ready configuration for a kind of backend, instead of a file
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<Preset>,
}

/// `forebay check`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  forebay check --config forebay.toml
  forebay check --print > effective.toml

Exit status: 0 good, 2 not.")]
pub struct CheckArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Print the effective configuration: defaults filled in, secrets redacted
    #[arg(long)]
    pub print: bool,
}

/// `forebay explain`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  forebay explain GET http://localhost:8080/api/scan/status/42
  forebay explain POST /api/scan/execute -H 'X-Api-Key: k1' --from 203.0.113.9 --json")]
pub struct ExplainArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArg,
    /// Method of the request
    pub method: String,
    /// URL or path of the request
    pub url: String,
    /// A header field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Address that the request comes from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub from: IpAddr,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `forebay healthcheck`
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  forebay healthcheck
  forebay healthcheck --admin http://127.0.0.1:9090 --ready

Exit status: 0 well, 1 not.")]
pub struct HealthcheckArgs {
    /// The file that says where the admin listener is.
    #[command(flatten)]
    pub config: ConfigArg,
    /// The admin listener [default: $FOREBAY_ADMIN, admin.address of the configuration, http://127.0.0.1:9090]
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,
    /// Ask whether it can serve (/readyz), not only whether it lives (/healthz)
    #[arg(long)]
    pub ready: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => check::check(&args),
        Command::Schema => schema::schema(),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
        Command::Run(args) => run::run(&args),
        Command::Explain(args) => explain::explain(&args),
    }
}

/// The variables of the process; one that is not Unicode counts as unset.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the environment says in place of the file, and in place of `log.level`; every variable that cannot be read is
/// told.
fn overrides() -> Result<Overrides, ExitCode> {
    let (overrides, level) = (Overrides::of(&env), logging::check_variable());
    match (overrides, level) {
        (Ok(overrides), Ok(())) => Ok(overrides),
        (overrides, level) => {
            overrides.err().unwrap_or_default().iter().for_each(|error| complain(error));
            level.err().iter().for_each(|error| complain(&error.to_string()));
            Err(ExitCode::from(USAGE))
        }
    }
}

/// Finds and reads the configuration, and tells what is in the way of that.
///
/// What is wrong inside of it is in `Loaded::problems` and for `policy::compile` to tell.
pub fn load(flag: Option<&Path>) -> Result<Loaded, ExitCode> {
    let path = config::find(flag, &env).map_err(|error| {
        complain(&error.to_string());
        ExitCode::from(USAGE)
    })?;
    config::load(&path, &env).map_err(|problems| refuse(&problems))
}

/// Shows problems on standard error; the exit status that goes with them.
pub fn refuse(problems: &Problems) -> ExitCode {
    let rendered = problems.render(is_colourful(&io::stderr()));
    let mut err = io::stderr().lock();
    // Standard error may be closed; there is nobody left to tell.
    let _ = write!(err, "{rendered}");
    if let count @ 2.. = problems.list().len() {
        let _ = writeln!(err, "\n{}: {count} problems", problems.source().name());
    }
    ExitCode::from(USAGE)
}

/// One line on standard error.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}

/// Something to look after, on standard error.
fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "warning: {message}");
}

/// Text on standard output. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Colours on a terminal, unless NO_COLOR asks for none (no-color.org).
fn is_colourful(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("forebay "), "{}", command.get_name());
        }
    }
}
