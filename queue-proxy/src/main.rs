//! The sidecar as a program: configuration from the environment, drain on SIGTERM or by its `preStop` hook.

use std::{io, pin::pin, process::ExitCode, time::Duration};

use ebb_proxy::{
    WallClock,
    program::{self, Stop},
};
use queue_proxy::{Config, Listeners, QueueProxy};
use tokio::{runtime::Builder, time::timeout};
use tracing::{info, level_filters::LevelFilter, warn};

fn main() -> ExitCode {
    program::log(LevelFilter::INFO, &[]);
    program::run_on(&mut Builder::new_current_thread(), configured())
}

async fn configured() -> ExitCode {
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
    let by_hook = tokio::select! {
        () = stop.told() => false,
        () = sidecar.told_to_leave() => true,
    };
    info!(by_hook, "draining");
    let draining = async {
        match sidecar.drain(plan).await {
            Ok(()) => info!("drained"),
            Err(cut) => warn!(connections = cut.connections, "drain ran out of time; connections were cut"),
        }
    };
    if by_hook {
        return Ok(leave_by_hook(&mut stop, draining, plan.limit).await);
    }
    Ok(stop.drain(draining).await)
}

/// The hook comes before SIGTERM, and SIGTERM comes when all other containers have stopped. Until then, the program
/// keeps running, because a sidecar that exits may be restarted in a pod that is about to go. If the pod is still
/// there when its grace period is over (the drain had its quiet time, and the rest is within `limit`), it was not
/// deleted, and a restart makes it serve again.
async fn leave_by_hook(stop: &mut Stop, draining: impl Future<Output = ()>, limit: Duration) -> ExitCode {
    let mut draining = pin!(draining);
    tokio::select! {
        () = stop.told() => return stop.drain(draining).await,
        () = &mut draining => {}
    }
    if timeout(limit, stop.told()).await.is_ok() {
        return ExitCode::SUCCESS;
    }
    warn!("drained by a hook, but got no SIGTERM: exiting to be restarted");
    ExitCode::FAILURE
}
