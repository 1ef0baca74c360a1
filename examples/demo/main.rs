//! forebay doing its main job, in one command: `cargo run --release --example demo`.
//!
//! Starts a slow scan backend, forebay with the configuration that `forebay run --preset scan` has, and a hundred browser
//! tabs that poll ten scans once a second; shows what the tabs ask and what of it the backend sees.

mod backend;
mod screen;
mod tabs;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use forebay::app::{App, NotBuilt, log_format};
use forebay::clock::Clock;
use forebay::config::listener::Address;
use forebay::config::one_or_many::OneOrMany;
use forebay::config::{self, Loaded, Preset, Problems};
use forebay::logging;
use tokio_util::sync::CancellationToken;
use toml::Spanned;

use self::backend::Backend;
use self::screen::{Places, Screen};
use self::tabs::Tally;

/// The ports that a forebay of one's own would have.
const PROXY_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;
/// How long it runs into a pipe, where nobody sees it and presses Ctrl-C.
const UNWATCHED: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_secs(1);

/// Shows forebay in front of a slow scan backend with a hundred polling tabs.
#[derive(Debug, Parser)]
#[command(name = "demo", after_help = "Example:\n  cargo run --release --example demo -- --seconds 30")]
struct Args {
    /// End after so many seconds [default: at Ctrl-C on a terminal, after 15 in a pipe]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Let the tabs ask the backend itself, past forebay, to compare
    #[arg(long)]
    without: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(demo(&args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &Args) -> anyhow::Result<()> {
    let limit = args.seconds.map(Duration::from_secs);
    let limit = limit.or_else(|| (!io::stdout().is_terminal()).then_some(UNWATCHED));
    let clock = Clock::start();
    let stop = CancellationToken::new();
    let backend =
        Backend::start(clock, stop.clone(), tabs::SCANS.into()).await.context("cannot start the backend")?;
    let shipped = config::for_upstream(&format!("http://{}", backend.address()), Some(Preset::Scan));
    let reader = move || configured(&shipped);
    let app = build(&reader)?;
    let places = Places::of(&app, backend.address(), (PROXY_PORT, ADMIN_PORT))?;
    let asked = if args.without { backend.address() } else { places.proxy };
    let mut serving = tokio::spawn(app.run(Box::new(reader), stop.clone()));
    let tally = Arc::new(Tally::default());
    let mut tabs = tabs::open(asked, &tally, clock);
    let mut screen = Screen::begin(&places, limit, args.without);
    let mut ticks = tokio::time::interval(TICK);
    let (began, mut end) = (clock.now(), Box::pin(pause(limit)));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = &mut end => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = &mut serving => break,
        }
        if screen.show(clock.now().saturating_duration_since(began), &tally, &backend).is_err() {
            break;
        }
    }
    let took = clock.now().saturating_duration_since(began);
    tabs.shutdown().await;
    stop.cancel();
    if !serving.is_finished() {
        let _ = serving.await;
    }
    backend.ended().await;
    // A reader that has gone (`| head`) is no failure.
    let _ = screen.sum_up(took, &tally, &backend);
    Ok(())
}

async fn pause(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// The shipped configuration, but for where it listens, and quiet: the screen is for the figures.
fn configured(shipped: &str) -> Result<Loaded, Problems> {
    let mut loaded = config::parse("config/minimal.toml", shipped, &forebay::cli::env)?;
    let config = &mut loaded.config;
    config.listener.address = OneOrMany::one(Address::Tcp(local(PROXY_PORT)));
    config.admin.address = Spanned::new(0..0, local(ADMIN_PORT));
    config.log.access = Spanned::new(0..0, "off".into());
    config.log.level = "warn".into();
    Ok(loaded)
}

/// That port of this machine, or any that is free.
fn local(preferred: u16) -> SocketAddr {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, preferred));
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

fn build(reader: &impl Fn() -> Result<Loaded, Problems>) -> anyhow::Result<App> {
    let loaded = reader().map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let log = logging::start(log_format(&loaded.config), &loaded.config.log.level)?;
    App::build(&loaded, log).map_err(|error| match error {
        NotBuilt::Config(problems) => anyhow::anyhow!("{problems}"),
        NotBuilt::Environment(error) => error,
    })
}
