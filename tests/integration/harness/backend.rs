//! The FastAPI example as a running process: something real to stand in front of.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::client::request;
use super::process::Process;

/// A running `examples/scan-backend`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
    _process: Process,
}

impl Backend {
    /// Starts it on a free port with these environment variables; the first start installs what it needs.
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Self {
        let mut command =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scan-backend/run"));
        command.arg("0").envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        let output = process.stderr.take().expect("its standard error");
        let (found, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            let mut before = String::new();
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let address =
                    line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                before.push_str(&line);
                before.push('\n');
                if let Some(address) = address
                    && let Some(found) = found.take()
                {
                    let _ = found.send(Ok(address));
                }
            }
            if let Some(found) = found {
                let _ = found.send(Err(before));
            }
        });
        match address.await.expect("its first lines") {
            Ok(address) => Self { address, _process: process },
            Err(output) => panic!("examples/scan-backend/run ended before it listened:\n{output}"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the backend counted by itself: `requests` by path, `scans_now`, `scans_most`.
    pub(crate) async fn counts(&self) -> serde_json::Value {
        request("GET /api/debug/counts").send(self.address).await.json()
    }
}
