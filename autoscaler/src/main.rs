//! The autoscaler as a program, for pods at fixed addresses.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use autoscaler::{
    Autoscaler, Periods,
    fixed::{self, FixedFleet, FixedService},
};
use ebb_core::environment::{Environment, Fault};
use ebb_proxy::{
    WallClock, listen,
    program::{self, Stop},
};
use tracing::{info, level_filters::LevelFilter};

/// Where activators connect, if `EBB_PORT` does not say otherwise (the reference's port).
const PORT: u16 = 8080;

#[tokio::main]
async fn main() -> ExitCode {
    program::log(LevelFilter::INFO);
    let (file, port) = match configuration(|name| std::env::var(name).ok()) {
        Ok(configuration) => configuration,
        Err(faults) => return program::refuse(&faults),
    };
    match fixed::read(&file) {
        Ok(services) => program::exit_code(run(services, port).await),
        Err(fault) => program::refuse(&[fault]),
    }
}

/// `EBB_SERVICES`, the file, and `EBB_PORT`.
fn configuration(lookup: impl Fn(&str) -> Option<String>) -> Result<(PathBuf, u16), Vec<Fault>> {
    let mut env = Environment::new(lookup);
    let file = env.required("EBB_SERVICES", PathBuf::new(), "the file of services and their pods");
    let port = env.port("EBB_PORT", Some(PORT));
    env.finish((file, port))
}

async fn run(services: Vec<FixedService>, port: u16) -> io::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let listener = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await?;
    info!(address = %listener.local_addr()?, services = services.len(), "listening");
    let fleet = FixedFleet::new(services);
    let autoscaler = Autoscaler::start(listener, fleet, WallClock::start(), Periods::default());
    stop.told().await;
    Ok(stop.drain(autoscaler.shut_down()).await)
}
