//! Knative Serving's API on Ebb: the program.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use ebb_cluster::{
    ApiMetrics,
    admission::{AdmissionMetrics, Place, Server},
    connect,
    lease::Candidate,
};
use ebb_core::environment::{Environment, Fault};
use ebb_proxy::{
    Drain, Limits, Quiet, WallClock, listen,
    program::{self, Stop},
    serve,
};
use ebb_serving::{
    admission::webhook::Webhooks,
    config::{Config, admit, cluster_domain},
    health::Health,
    registry::Resolver,
    shell::{Identity, Shell},
};
use kube::Config as Cluster;
use prometheus_client::registry::Registry;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, level_filters::LevelFilter};

/// The name of the Lease, of the Service for the API server, and of the webhooks' configurations.
const NAME: &str = "ebb-serving";
/// The Secret with the webhooks' certificate.
const SECRET: &str = "ebb-serving-webhook";
/// The default of `EBB_PORT`, for probes and metrics.
const PORT: u16 = 8080;
/// The default of `EBB_WEBHOOK_PORT`.
const WEBHOOK_PORT: u16 = 9443;
/// Time limit for the digest of an image, until the settings are known.
const DIGEST_WITHIN: Duration = Duration::from_secs(10);
/// The cluster's certificate authority, which may have signed for a registry within it.
const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Where a pod finds the domain of its cluster, and what it is if that says nothing.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Probes need no time to end.
const LEAVING: Quiet = Quiet { quiet: Duration::ZERO, limit: Duration::from_secs(1) };

struct Configuration {
    identity: Identity,
    port: u16,
    webhook_port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    program::log(LevelFilter::INFO, &["kube_client", "kube_runtime"]);
    match configuration(|name| std::env::var(name).ok()) {
        Ok(configuration) => program::exit_code(run(configuration).await),
        Err(faults) => program::refuse(&faults),
    }
}

/// Reads `POD_NAME`, `POD_NAMESPACE`, `EBB_PORT` and `EBB_WEBHOOK_PORT`.
fn configuration(lookup: impl Fn(&str) -> Option<String>) -> Result<Configuration, Vec<Fault>> {
    let mut env = Environment::new(lookup);
    let pod = env.required("POD_NAME", String::new(), "the pod's name");
    let namespace = env.required("POD_NAMESPACE", String::new(), "the pod's namespace");
    let port = env.port("EBB_PORT", Some(PORT));
    let webhook_port = env.port("EBB_WEBHOOK_PORT", Some(WEBHOOK_PORT));
    let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let cluster_domain = cluster_domain(&resolv_conf).unwrap_or(CLUSTER_DOMAIN).to_owned();
    env.finish(Configuration { identity: Identity { namespace, pod, cluster_domain }, port, webhook_port })
}

async fn run(configuration: Configuration) -> io::Result<ExitCode> {
    let Configuration { identity, port, webhook_port } = configuration;
    let mut stop = Stop::listen()?;
    let clock = WallClock::start();
    let client = connect(Cluster::infer().await.map_err(io::Error::other)?).map_err(io::Error::other)?;
    let probes = listen(everywhere(port)).await?;
    let webhook = listen(everywhere(webhook_port)).await?;
    info!(probes = %probes.local_addr()?, webhook = %webhook.local_addr()?, pod = identity.pod, "listening");

    let candidate = Candidate::new(client.clone(), &identity.namespace, NAME, &identity.pod, clock);
    let leads = candidate.leads();
    let config = Arc::new(ArcSwap::from_pointee(Config::default()));
    let (calls, reviews) = (Arc::new(ApiMetrics::default()), AdmissionMetrics::default());
    let place = Place {
        namespace: identity.namespace.clone(),
        service: NAME,
        secret: SECRET,
        configuration: NAME,
        manager: NAME,
    };
    let webhooks = Webhooks { config: config.clone(), judge_settings: admit };
    let resolver = Resolver::new(DIGEST_WITHIN, authority())?;
    let shell = Shell::new(&client, identity, clock, config, resolver, calls.clone());
    let synced = shell.synced();
    let mut admission =
        Server::start(client, webhook, place, webhooks, reviews.clone(), leads.clone(), clock);

    let mut registry = Registry::with_prefix("ebb_serving");
    calls.register(&mut registry);
    reviews.register(&mut registry);
    let health = Health { registry, ready: vec![synced, admission.ready()] };
    let drain = Drain::default();
    let served = serve(probes, Arc::new(health), drain.clone(), Limits::default());
    let _served = AbortOnDropHandle::new(tokio::spawn(served));
    let mut running = tokio::spawn(shell.run(leads));
    let (stopping, stopped) = oneshot::channel::<()>();
    let leading = tokio::spawn(candidate.run(async move {
        // Dropping the sender stops it as well.
        let _ = stopped.await;
    }));

    let ended = tokio::select! {
        () = stop.told() => ExitCode::SUCCESS,
        // The kubelet restarts the program; until then another one may lead.
        _ = &mut running => ExitCode::FAILURE,
        () = admission.ended() => ExitCode::FAILURE,
    };
    info!("ending");
    let ending = async {
        drop(stopping);
        // Another one may lead at once. If this failed, one will in some seconds.
        let _ = leading.await;
        running.abort();
        admission.shut_down().await;
        // Nobody waits for a probe.
        let _ = drain.run(LEAVING).await;
    };
    let drained = stop.drain(ending).await;
    Ok(if ended == ExitCode::SUCCESS { drained } else { ended })
}

/// Returns the cluster's certificate authority; nothing outside a cluster.
fn authority() -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_file_iter(AUTHORITY).into_iter().flatten();
    certificates.filter_map(Result::ok).collect()
}

/// Returns `port` on all addresses of this machine.
fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}
