use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use autoscaler::{
    Autoscaler, Periods,
    kubernetes::{Identity, Kubernetes},
    leader::Candidate,
};
use ebb_core::environment::{Environment, Fault};
use ebb_proxy::{
    WallClock, listen,
    program::{self, Stop},
};
use kube::{Client, Config};
use tokio::sync::oneshot;
use tracing::info;

use crate::{PORT, everywhere};

/// What the Lease is called.
const LEASE: &str = "ebb-autoscaler";
/// The API server must be connected to in so long.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

struct Configuration {
    identity: Identity,
}

/// For the Kubernetes cluster that it runs in, or that the kubeconfig names.
pub(crate) async fn main(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    match configuration(lookup) {
        Ok(configuration) => program::exit_code(run(configuration).await),
        Err(faults) => program::refuse(&faults),
    }
}

/// `POD_NAME`, `POD_NAMESPACE`, `POD_IP`, `EBB_PORT`.
fn configuration(lookup: impl Fn(&str) -> Option<String>) -> Result<Configuration, Vec<Fault>> {
    let mut env = Environment::new(lookup);
    let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let pod = env.required("POD_NAME", String::new(), "the pod's name");
    let namespace = env.required("POD_NAMESPACE", String::new(), "the pod's namespace");
    let ip = env.required("POD_IP", nowhere, "the pod's IP address");
    let link = SocketAddr::new(ip, env.port("EBB_PORT", Some(PORT)));
    let identity = Identity { namespace, pod, link };
    env.finish(Configuration { identity })
}

async fn run(configuration: Configuration) -> io::Result<ExitCode> {
    let Configuration { identity } = configuration;
    // One provider of cryptography, before anybody asks for it; a second call would say that there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut stop = Stop::listen()?;
    let clock = WallClock::start();
    let mut config = Config::infer().await.map_err(io::Error::other)?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    let client = Client::try_from(config).map_err(io::Error::other)?;
    let listener = listen(everywhere(identity.link.port())).await?;
    info!(address = %listener.local_addr()?, pod = identity.pod, "listening");

    let candidate = Candidate::new(client.clone(), &identity.namespace, LEASE, &identity.pod, clock);
    let leads = candidate.leads();
    let platform = Kubernetes::start(client, &identity, clock, leads);
    let autoscaler = Autoscaler::start(listener, platform, clock, Periods::default());
    let (stopping, stopped) = oneshot::channel::<()>();
    let leading = tokio::spawn(candidate.run(async move {
        // The sender's drop tells as well.
        let _ = stopped.await;
    }));

    stop.told().await;
    info!("ending");
    let ending = async {
        drop(stopping);
        // Another may lead at once. If that failed, it will in some seconds.
        let _ = leading.await;
        autoscaler.shut_down().await;
    };
    Ok(stop.drain(ending).await)
}
