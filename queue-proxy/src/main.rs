//! The sidecar as a program: environment in, drain on SIGTERM.

use std::{io::IsTerminal, process::ExitCode};

use ebb_proxy::WallClock;
use queue_proxy::{Config, Listeners, QueueProxy};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, level_filters::LevelFilter, warn};

/// Exit status for a configuration that cannot be used (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
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
    let listeners = Listeners::bind(&config).await?;
    info!(
        serving = %config.serving, stats = %config.stats, admin = %config.admin, app = %config.app,
        pod = config.pod, "listening"
    );
    let plan = config.drain;
    let sidecar = QueueProxy::start(config, listeners, WallClock::start());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("draining");
    tokio::select! {
        drained = sidecar.drain(plan) => match drained {
            Ok(()) => info!("drained"),
            Err(cut) => warn!(connections = cut.connections, "drain ran out of time; connections were cut"),
        },
        _ = terminate.recv() => {
            warn!("told to stop twice: ending at once");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
