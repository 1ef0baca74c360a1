//! The `forebay` command: parses the command line, runs, and chooses the exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay::cli::main()
}
