use std::{io, path::PathBuf, process::ExitCode};

use autoscaler::{
    Autoscaler,
    fixed::{self, FixedFleet, FixedService},
};
use ebb_core::environment::{Environment, Fault};
use ebb_decide::Periods;
use ebb_proxy::{
    WallClock, listen,
    program::{self, Stop},
};
use tracing::info;

use crate::{PORT, everywhere};

/// Runs the autoscaler for pods at fixed addresses.
pub(crate) async fn main(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    let (file, port) = match configuration(lookup) {
        Ok(configuration) => configuration,
        Err(faults) => return program::refuse(&faults),
    };
    match fixed::read(&file) {
        Ok(services) => program::exit_code(run(services, port).await),
        Err(fault) => program::refuse(&[fault]),
    }
}

/// Reads `EBB_SERVICES`, the file, and `EBB_PORT`.
fn configuration(lookup: impl Fn(&str) -> Option<String>) -> Result<(PathBuf, u16), Vec<Fault>> {
    let mut env = Environment::new(lookup);
    let file = env.required("EBB_SERVICES", PathBuf::new(), "the file of services and their pods");
    let port = env.port("EBB_PORT", Some(PORT));
    env.finish((file, port))
}

async fn run(services: Vec<FixedService>, port: u16) -> io::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let listener = listen(everywhere(port)).await?;
    info!(address = %listener.local_addr()?, services = services.len(), "listening");
    let fleet = FixedFleet::new(services);
    let mut autoscaler = Autoscaler::start(listener, fleet, WallClock::start(), Periods::default(), |_| {});
    tokio::select! {
        () = stop.told() => {}
        () = autoscaler.ended() => return Ok(ExitCode::FAILURE),
    }
    Ok(stop.drain(autoscaler.shut_down()).await)
}
