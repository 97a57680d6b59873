//! The autoscaler as a program, for pods at fixed addresses.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use autoscaler::{
    Autoscaler, Periods,
    fixed::{self, FixedFleet},
};
use ebb_proxy::WallClock;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info, level_filters::LevelFilter};

/// Exit status for a configuration that cannot be used (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;
/// Where activators connect, if `EBB_PORT` does not say otherwise (the reference's port).
const PORT: u16 = 8080;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_writer(std::io::stderr).init();
    let (file, port) = match configuration() {
        Ok(configuration) => configuration,
        Err(faults) => {
            for fault in faults {
                error!("{fault}");
            }
            return BAD_CONFIG.into();
        }
    };
    let services = match fixed::read(&file) {
        Ok(services) => services,
        Err(fault) => {
            error!("{fault}");
            return BAD_CONFIG.into();
        }
    };
    match run(services, port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// `EBB_SERVICES`, the file, and `EBB_PORT`.
fn configuration() -> Result<(PathBuf, u16), Vec<String>> {
    let mut faults = Vec::new();
    let file = std::env::var_os("EBB_SERVICES").filter(|file| !file.is_empty());
    if file.is_none() {
        faults.push("EBB_SERVICES is not set; want the file of services and their pods".to_owned());
    }
    let port = match std::env::var("EBB_PORT") {
        Err(_) => Some(PORT),
        Ok(text) => text.parse().ok().or_else(|| {
            faults.push(format!("EBB_PORT={text:?}: want a port number from 1 to 65535"));
            None
        }),
    };
    match (file, port) {
        (Some(file), Some(port)) => Ok((file.into(), port)),
        _ => Err(faults),
    }
}

async fn run(services: Vec<fixed::FixedService>, port: u16) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await?;
    info!(address = %listener.local_addr()?, services = services.len(), "listening");
    let fleet = FixedFleet::new(services);
    let autoscaler = Autoscaler::start(listener, fleet, WallClock::start(), Periods::default());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    autoscaler.shut_down().await;
    Ok(())
}
