//! The activator as a program: environment in, drain on SIGTERM.

use std::process::ExitCode;

use activator::{Activator, Config};
use ebb_proxy::WallClock;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, level_filters::LevelFilter, warn};

/// Exit status for a configuration that cannot be used (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::stderr).init();
    let config = match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(faults) => {
            for fault in faults {
                error!("{fault}");
            }
            return BAD_CONFIG.into();
        }
    };
    match run(config).await {
        Ok(code) => code,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> std::io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let activator = Activator::start(&config, WallClock::start(), None).await?;
    info!(name = config.name, autoscaler = %config.autoscaler, metrics = ?config.metrics, "running");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("draining");
    tokio::select! {
        cut = activator.drain(config.drain) => if cut > 0 {
            warn!(connections = cut, "drain ran out of time; connections were cut");
        },
        _ = terminate.recv() => {
            warn!("told to stop twice: ending at once");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
