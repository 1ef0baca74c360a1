//! `forebay run`: serves until it is told to end.

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::{Overrides, RunArgs, USAGE, complain, env, overrides, refuse};
use crate::app::{App, Ended, NotBuilt, Reader, log_format};
use crate::config::{self, Config, Loaded, Problems};
use crate::logging;

/// How long tasks that nobody waits for may take to notice the end.
const LAST_MOMENTS: Duration = Duration::from_millis(100);

/// Runs the proxy.
pub fn run(args: &RunArgs) -> ExitCode {
    match serve(args) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Cut) => ExitCode::FAILURE,
        Err(status) => status,
    }
}

fn serve(args: &RunArgs) -> Result<Ended, ExitCode> {
    let overrides = overrides();
    let reader = reader(args, overrides.clone().unwrap_or_default())?;
    let loaded = reader().map_err(|problems| refuse(&problems))?;
    // The whole check first: a variable that cannot be read would hide every other problem.
    crate::policy::compile::plan_to_serve(&loaded).map_err(|problems| refuse(&problems))?;
    overrides?;
    let log = logging::start(log_format(&loaded.config), &loaded.config.log.level)
        .map_err(|error| failed(&error.into()))?;
    let lines = std::sync::Arc::clone(log.lines());
    let runtime = runtime(&loaded.config).map_err(|error| failed(&error.into()))?;
    let ended = runtime.block_on(async {
        let app = App::build(&loaded, log).map_err(|error| match error {
            NotBuilt::Config(problems) => refuse(&problems),
            NotBuilt::Environment(error) => {
                complain(&format!("{error:#}"));
                ExitCode::from(USAGE)
            }
        })?;
        app.run(reader, CancellationToken::new()).await.map_err(|error| failed(&error))
    });
    runtime.shutdown_timeout(LAST_MOMENTS);
    lines.flush();
    ended
}

/// One worker a core that this process may use, unless the file says otherwise.
fn runtime(config: &Config) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if config.listener.workers > 0 {
        builder.worker_threads(config.listener.workers);
    }
    builder.thread_name("forebay").enable_all().build()
}

/// How the configuration is read, now and at every reload.
fn reader(args: &RunArgs, of_env: Overrides) -> Result<Reader, ExitCode> {
    let overrides =
        Overrides { listen: args.listen.clone().or(of_env.listen), admin: args.admin.or(of_env.admin) };
    if args.upstream.is_some() || args.preset.is_some() {
        let Some(url) = args.upstream.clone() else {
            complain("--preset needs --upstream URL: the backend that it stands in front of");
            return Err(ExitCode::from(USAGE));
        };
        let text = config::for_upstream(&url, args.preset);
        return Ok(Box::new(move || {
            config::parse("--upstream", &text, &env).map(|loaded| overrides.apply(loaded))
        }));
    }
    let path = config::find(args.config.config.as_deref(), &env).map_err(|error| {
        complain(&error.to_string());
        ExitCode::from(USAGE)
    })?;
    Ok(Box::new(move || -> Result<Loaded, Problems> {
        config::load(&path, &env).map(|loaded| overrides.apply(loaded))
    }))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format!("{error:#}"));
    ExitCode::FAILURE
}
