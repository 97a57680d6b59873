//! The sidecar as a program: environment in, drain on SIGTERM.

use std::{io, process::ExitCode};

use ebb_proxy::{
    WallClock,
    program::{self, Stop},
};
use queue_proxy::{Config, Listeners, QueueProxy};
use tracing::{info, level_filters::LevelFilter, warn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    program::log(LevelFilter::INFO, &[]);
    match Config::from_env(|name| std::env::var(name).ok()) {
        Ok(config) => program::exit_code(run(config).await),
        Err(faults) => program::refuse(&faults),
    }
}

async fn run(config: Config) -> io::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let listeners = Listeners::bind(&config).await?;
    info!(
        serving = %config.serving, stats = %config.stats, admin = %config.admin, app = %config.app,
        pod = config.pod, "listening"
    );
    let plan = config.drain;
    let sidecar = QueueProxy::start(config, listeners, WallClock::start());
    stop.told().await;
    info!("draining");
    let draining = async {
        match sidecar.drain(plan).await {
            Ok(()) => info!("drained"),
            Err(cut) => warn!(connections = cut.connections, "drain ran out of time; connections were cut"),
        }
    };
    Ok(stop.drain(draining).await)
}
