//! The real binary, started with a configuration and ended by SIGTERM.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Request, Response, request};
use super::command::{BINARY, VARIABLES};
use super::origin::Origin;
use super::process::Process;
use super::scratch::Scratch;
use super::wait::{wait_until, within};

/// A running forebay in front of an origin.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) config: PathBuf,
    origin: SocketAddr,
    process: Process,
    log: Arc<watch::Sender<Vec<String>>>,
    output: Arc<watch::Sender<Vec<String>>>,
    scratch: Scratch,
    is_killed: bool,
}

impl Proxy {
    /// Starts it in front of `origin` with this configuration, completed by `complete`.
    pub(crate) async fn start(origin: &Origin, config: &str) -> Self {
        Self::before(origin.address(), config).await
    }

    /// As `start`, in front of any address.
    pub(crate) async fn before(origin: SocketAddr, config: &str) -> Self {
        let scratch = Scratch::new();
        let config = scratch.write("forebay.toml", &complete(config, origin));
        let mut command = Command::new(BINARY);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null());
        Self::spawn(command, config, origin, scratch).await
    }

    /// As a service manager starts it: with this variable, and with a bound socket as descriptor 3 if there is one.
    pub(crate) async fn as_service(
        origin: &Origin,
        config: &str,
        (name, value): (&str, &OsStr),
        socket: Option<OwnedFd>,
    ) -> Self {
        let scratch = Scratch::new();
        let config = scratch.write("forebay.toml", &complete(config, origin.address()));
        let hand_over = socket.as_ref().map_or("", |_| "LISTEN_PID=$$ LISTEN_FDS=1");
        let script = format!("exec 3<&0 0</dev/null; exec env {hand_over} \"$0\" run --config \"$1\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(BINARY).arg(&config).env(name, value);
        command.stdin(socket.map_or_else(Stdio::null, Stdio::from));
        Self::spawn(command, config, origin.address(), scratch).await
    }

    /// As `start`, with so many file descriptors at most.
    pub(crate) async fn with_descriptors(origin: &Origin, config: &str, most: usize) -> Self {
        let scratch = Scratch::new();
        let config = scratch.write("forebay.toml", &complete(config, origin.address()));
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {most}; exec \"$0\" \"$@\"")).arg(BINARY);
        command.arg("run").arg("--config").arg(&config);
        Self::spawn(command, config, origin.address(), scratch).await
    }

    /// Starts it without a file, by these arguments; they must lead to a JSON log on standard error.
    pub(crate) async fn by_arguments(origin: &Origin, arguments: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(BINARY);
        command.arg("run").args(arguments).current_dir(scratch.path()).stdin(Stdio::null());
        Self::spawn(command, PathBuf::new(), origin.address(), scratch).await
    }

    async fn spawn(mut command: Command, config: PathBuf, origin: SocketAddr, scratch: Scratch) -> Self {
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(command);
        let log = collect(process.stderr.take().expect("its standard error"));
        let output = collect(process.stdout.take().expect("its standard output"));
        let address = announced(&log, "listening").await;
        let admin = announced(&log, "admin listening").await;
        Self { address, admin, config, origin, process, log, output, scratch, is_killed: false }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(&request(&format!("GET {path}"))).await
    }

    pub(crate) async fn send(&self, request: &Request) -> Response {
        request.send(self.address).await
    }

    /// Sends it in the background.
    pub(crate) fn begin(&self, request: &Request) -> JoinHandle<Response> {
        let (request, address) = (request.clone(), self.address);
        tokio::spawn(async move { request.send(address).await })
    }

    /// Replaces the configuration file; forebay is not told.
    pub(crate) fn rewrite(&self, config: &str) {
        self.scratch.write("forebay.toml", &complete(config, self.origin));
    }

    /// Replaces the configuration file by exactly this text.
    pub(crate) fn rewrite_raw(&self, text: &str) {
        self.scratch.write("forebay.toml", text);
    }

    /// Sends a signal by its short name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.process.id());
        let status = Command::new("sh").arg("-c").arg(script).status().expect("a shell");
        assert!(status.success(), "kill -{name}");
    }

    /// Ends it as a crash does, without a word to it.
    pub(crate) async fn kill(mut self) {
        self.is_killed = true;
        self.signal("KILL");
        self.ended().await;
    }

    /// The exit status, once the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let Self { process, log, .. } = self;
        let start = Instant::now();
        loop {
            if let Some(status) = process.try_wait().expect("a child") {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "forebay goes on: {:#?}", log.borrow());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What the admin listener and the system tell of it.
impl Proxy {
    pub(crate) async fn admin_get(&self, path: &str) -> Response {
        self.admin_send(&request(&format!("GET {path}"))).await
    }

    pub(crate) async fn admin_post(&self, path: &str, body: &str) -> Response {
        let request = request(&format!("POST {path}")).field("Content-Type", "application/json").body(body);
        self.admin_send(&request).await
    }

    /// Sends to the admin listener under its own Host, unless the request names another.
    pub(crate) async fn admin_send(&self, request: &Request) -> Response {
        request.clone().or_host(&self.admin.to_string()).send(self.admin).await
    }

    /// All samples of `/metrics`, by their name with labels as printed.
    pub(crate) async fn metrics(&self) -> HashMap<String, f64> {
        let response = self.admin_get("/metrics").await;
        let samples = response.text().lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        samples.collect()
    }

    /// The sum of the samples of `name` whose labels contain all of `labels`, such as `pool="scans"`.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let matches = |sample: &str| {
            let (found, rest) = sample.split_once('{').unwrap_or((sample, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        };
        self.metrics().await.iter().filter(|(sample, _)| matches(sample)).map(|(_, value)| value).sum()
    }

    pub(crate) async fn wait_for_metric(&self, name: &str, labels: &[&str], wanted: f64) {
        wait_until(&format!("{name}{labels:?} is {wanted}"), || async {
            (self.metric(name, labels).await - wanted).abs() < 1e-9
        })
        .await;
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib * 1024
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// The lines of standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().iter().filter(|line| *line != ENDED).cloned().collect()
    }

    pub(crate) fn log_has_ended(&self) -> bool {
        self.log.borrow().iter().any(|line| line == ENDED)
    }

    /// The lines of standard output so far.
    pub(crate) fn output(&self) -> Vec<String> {
        self.output.borrow().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        if matches!(self.process.try_wait(), Ok(None)) {
            self.signal("TERM");
        }
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                Ok(None) | Err(_) => break None,
            }
        };
        let log = self.log.borrow().join("\n");
        if std::thread::panicking() {
            eprintln!("--- forebay's log\n{log}");
            return;
        }
        // 1 says that the end of the drain cut something off, which is right where a test leaves requests behind.
        let code = status.and_then(|status| status.code());
        assert!(
            self.is_killed || matches!(code, Some(0 | 1)),
            "forebay ended by SIGTERM with {status:?}:\n{log}"
        );
        assert!(!log.contains("panicked at"), "forebay panicked:\n{log}");
    }
}

/// A test's configuration with what all tests need: free ports, a JSON log, the origin as the upstream where none is
/// named, one route for everything where there is none.
pub(crate) fn complete(config: &str, origin: SocketAddr) -> String {
    let mut config: toml::Table = config.parse().expect("TOML");
    add_missing(&mut config, "listener", &[("address", "127.0.0.1:0"), ("drain_timeout", "5s")]);
    add_missing(&mut config, "admin", &[("address", "127.0.0.1:0")]);
    add_missing(&mut config, "log", &[("format", "json"), ("level", "info"), ("access", "off")]);
    let upstreams = table(&mut config, "upstreams");
    if upstreams.is_empty() {
        table(upstreams, "origin");
    }
    let servers = toml::Value::from(vec![format!("http://{origin}")]);
    for upstream in upstreams.iter_mut().filter_map(|(_, upstream)| upstream.as_table_mut()) {
        upstream.entry("servers").or_insert_with(|| servers.clone());
    }
    if !config.contains_key("routes") {
        let route = [("name".to_owned(), "all".into()), ("match".to_owned(), "/{*rest}".into())];
        config.insert("routes".to_owned(), vec![toml::Table::from_iter(route)].into());
    }
    config.to_string()
}

fn add_missing(config: &mut toml::Table, name: &str, values: &[(&str, &str)]) {
    let table = table(config, name);
    for (key, value) in values {
        table.entry(*key).or_insert_with(|| (*value).into());
    }
}

fn table<'t>(parent: &'t mut toml::Table, name: &str) -> &'t mut toml::Table {
    let table = parent.entry(name).or_insert_with(|| toml::Table::new().into());
    table.as_table_mut().expect("a table")
}

fn collect(stream: impl Read + Send + 'static) -> Arc<watch::Sender<Vec<String>>> {
    let lines = Arc::new(watch::Sender::new(Vec::new()));
    std::thread::spawn({
        let lines = Arc::clone(&lines);
        move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                lines.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
            lines.send_modify(|lines| lines.push(ENDED.to_owned()));
        }
    });
    lines
}

/// Stands behind the last line of a stream that has ended.
const ENDED: &str = "(end of the stream)";

/// The address in the start-up line with this message.
async fn announced(log: &watch::Sender<Vec<String>>, message: &str) -> SocketAddr {
    let address = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = if line["message"].is_string() { &line } else { &line["fields"] };
        let address = fields["address"].as_str().filter(|_| fields["message"] == message)?;
        address.split_once("://")?.1.parse().ok()
    };
    let mut lines = log.subscribe();
    let settled = |lines: &Vec<String>| lines.iter().any(|line| address(line).is_some() || line == ENDED);
    let _ = within("forebay's first lines", lines.wait_for(settled)).await;
    let lines = lines.borrow();
    let found = lines.iter().find_map(address);
    found.unwrap_or_else(|| panic!("forebay ended before it was {message}:\n{}", lines.join("\n")))
}
