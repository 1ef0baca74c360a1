//! The `forebay` command: parses the command line, runs, and chooses the exit status.

fn main() {}
