//! The binary as a command: arguments in, exit status and texts out.

use std::path::Path;

use super::wait::within;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_forebay");

/// The environment variables that forebay itself reads; no test inherits them.
pub(crate) const VARIABLES: [&str; 5] =
    ["FOREBAY_CONFIG", "FOREBAY_LISTEN", "FOREBAY_ADMIN", "FOREBAY_ADMIN_TOKEN", "FOREBAY_LOG"];

/// A call of `forebay` in the making.
#[derive(Debug)]
pub(crate) struct Call(tokio::process::Command);

/// What a call ended with.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `forebay` with these arguments, in a world without `FOREBAY_*` variables.
pub(crate) fn forebay(arguments: &[&str]) -> Call {
    let mut command = tokio::process::Command::new(BINARY);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.args(arguments).env("NO_COLOR", "1");
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    Call(command)
}

impl Call {
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.0.current_dir(folder);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs to the end.
    pub(crate) async fn run(mut self) -> Ended {
        let output = within("the end of a forebay command", self.0.output()).await.unwrap();
        Ended {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
