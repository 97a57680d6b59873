//! The autoscaler, for a Kubernetes cluster or for pods at fixed addresses.

mod cluster;
mod pods;

use std::{
    net::{Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use ebb_proxy::program;
use tracing::level_filters::LevelFilter;

/// The default of `EBB_PORT`, to which activators connect (the reference's port).
const PORT: u16 = 8080;

#[tokio::main]
async fn main() -> ExitCode {
    program::log(LevelFilter::INFO, &["kube_client", "kube_runtime"]);
    let lookup = |name: &str| std::env::var(name).ok();
    if lookup("EBB_SERVICES").is_some() { pods::main(lookup).await } else { cluster::main(lookup).await }
}

/// Returns `port` on all addresses of this machine.
fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}
