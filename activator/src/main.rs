//! The activator as a program: configured by the environment, drained on SIGTERM.

use std::{io, process::ExitCode};

use activator::{Activator, Config};
use ebb_proxy::{
    WallClock,
    program::{self, Stop},
};
use tokio::runtime::Builder;
use tracing::{info, level_filters::LevelFilter, warn};

fn main() -> ExitCode {
    program::log(LevelFilter::INFO, &[]);
    program::run_on(&mut Builder::new_multi_thread(), configured())
}

async fn configured() -> ExitCode {
    match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => program::exit_code(run(config).await),
        Err(faults) => program::refuse(&faults),
    }
}

async fn run(config: Config) -> io::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let mut activator = Activator::start(&config, WallClock::start(), None).await?;
    info!(name = config.name, autoscaler = %config.autoscaler, metrics = ?config.metrics, "running");
    let has_failed = tokio::select! {
        () = stop.told() => false,
        () = activator.ended() => true,
    };
    info!("draining");
    let draining = async {
        let cut = activator.drain(config.drain).await;
        if cut > 0 {
            warn!(connections = cut, "drain ran out of time; connections were cut");
        }
    };
    let ended = stop.drain(draining).await;
    Ok(if has_failed { ExitCode::FAILURE } else { ended })
}
