use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use autoscaler::Autoscaler;
use ebb_cluster::{
    admission::{AdmissionMetrics, Server},
    connect,
    lease::Candidate,
};
use ebb_core::environment::{Environment, Fault};
use ebb_decide::Periods;
use ebb_kubernetes::{
    Claims, Identity, Kubernetes,
    injector::{self, Injector, PullPolicy, Settings},
};
use ebb_proxy::{
    WallClock, listen,
    program::{self, Stop},
};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, Config};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{PORT, everywhere};

/// The default of `EBB_WEBHOOK_PORT`, on which the webhooks are served.
const WEBHOOK_PORT: u16 = 9443;
/// The name of the Lease, and of the Service by which pods and the API server reach the autoscaler.
const NAME: &str = "ebb-autoscaler";
/// That Service's port for activators and pods.
const LINK: &str = "link";
/// Time limit for the API server to return that Service, before another attempt.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
const FOUND_PAUSE: Duration = Duration::from_secs(2);

struct Configuration {
    identity: Identity,
    webhook_port: u16,
    image: String,
    pull_policy: Option<PullPolicy>,
}

/// Runs the autoscaler for the Kubernetes cluster that it runs in, or that the kubeconfig names.
pub(crate) async fn main(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    match configuration(lookup) {
        Ok(configuration) => program::exit_code(run(configuration).await),
        Err(faults) => program::refuse(&faults),
    }
}

/// Reads `POD_NAME`, `POD_NAMESPACE`, `POD_IP`, `EBB_PORT`, `EBB_WEBHOOK_PORT`, `EBB_QUEUE_PROXY_IMAGE` and
/// `EBB_QUEUE_PROXY_PULL_POLICY`.
fn configuration(lookup: impl Fn(&str) -> Option<String>) -> Result<Configuration, Vec<Fault>> {
    let mut env = Environment::new(lookup);
    let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let pod = env.required("POD_NAME", String::new(), "the pod's name");
    let namespace = env.required("POD_NAMESPACE", String::new(), "the pod's namespace");
    let ip = env.required("POD_IP", nowhere, "the pod's IP address");
    let link = SocketAddr::new(ip, env.port("EBB_PORT", Some(PORT)));
    let webhook_port = env.port("EBB_WEBHOOK_PORT", Some(WEBHOOK_PORT));
    let image = env.required("EBB_QUEUE_PROXY_IMAGE", String::new(), "the image of the sidecar");
    let name = "EBB_QUEUE_PROXY_PULL_POLICY";
    let pull_policy = env.text(name).and_then(|text| {
        let policy = text.parse().ok();
        if policy.is_none() {
            env.fault(name, &text, "want Always, IfNotPresent or Never".to_owned());
        }
        policy
    });
    let identity = Identity { namespace, pod, link };
    env.finish(Configuration { identity, webhook_port, image, pull_policy })
}

async fn run(configuration: Configuration) -> io::Result<ExitCode> {
    let Configuration { identity, webhook_port, image, pull_policy } = configuration;
    let mut stop = Stop::listen()?;
    let clock = WallClock::start();
    let config = Config::infer().await.map_err(io::Error::other)?;
    let client = connect(config).map_err(io::Error::other)?;
    let link = listen(everywhere(identity.link.port())).await?;
    let webhook = listen(everywhere(webhook_port)).await?;
    info!(link = %link.local_addr()?, webhook = %webhook.local_addr()?, pod = identity.pod, "listening");

    let candidate = Candidate::new(client.clone(), &identity.namespace, NAME, &identity.pod, clock);
    let leads = candidate.leads();
    let claims = Claims::default();
    let metrics = AdmissionMetrics::default();
    let platform = Kubernetes::start(&client, &identity, clock, leads.clone(), claims.clone());
    let settings = Arc::new(ArcSwap::from_pointee(Settings { image, pull_policy, announce: None }));
    let _finding = AbortOnDropHandle::new(tokio::spawn(find_announced(
        client.clone(),
        identity.namespace.clone(),
        settings.clone(),
    )));
    let injector =
        Injector { claims, settings, defaults: platform.defaults(), namespace: identity.namespace.clone() };
    let place = injector::place(&identity.namespace);
    let mut admission = Server::start(client, webhook, place, injector, metrics.clone(), leads, clock);
    platform.wait_for(admission.ready());
    let mut autoscaler =
        Autoscaler::start(link, Arc::clone(&platform), clock, Periods::default(), |registry| {
            platform.register(registry);
            metrics.register(registry);
        });
    let (stopping, stopped) = oneshot::channel::<()>();
    let leading = tokio::spawn(candidate.run(async move {
        // Dropping the sender stops it as well.
        let _ = stopped.await;
    }));

    let ended = tokio::select! {
        () = stop.told() => ExitCode::SUCCESS,
        // The kubelet restarts the program; until then another autoscaler may lead.
        () = autoscaler.ended() => ExitCode::FAILURE,
        () = admission.ended() => ExitCode::FAILURE,
    };
    info!("ending");
    let ending = async {
        drop(stopping);
        // Another autoscaler may lead at once. If this failed, one will in some seconds.
        let _ = leading.await;
        admission.shut_down().await;
        autoscaler.shut_down().await;
    };
    let drained = stop.drain(ending).await;
    Ok(if ended == ExitCode::SUCCESS { drained } else { ended })
}

/// Finds the Service to which pods announce themselves, so that any autoscaler hears them. Pods that start before it
/// is found are reported by the API server, later.
async fn find_announced(client: Client, namespace: String, settings: Arc<ArcSwap<Settings>>) {
    let api: Api<Service> = Api::namespaced(client, &namespace);
    let mut told = String::new();
    loop {
        let why = match timeout(FOUND_WITHIN, api.get(NAME)).await {
            Ok(Ok(service)) => match announced_at(service) {
                Some(address) => {
                    info!(%address, "pods announce themselves");
                    settings.store(Arc::new(Settings {
                        announce: Some(address),
                        ..Settings::clone(&settings.load())
                    }));
                    return;
                }
                None => "it has no address, or no port of that name".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the API server does not answer".to_owned(),
        };
        if why != told {
            warn!(service = NAME, port = LINK, why, "pods cannot announce themselves yet; trying again");
            told = why;
        }
        sleep(FOUND_PAUSE).await;
    }
}

fn announced_at(service: Service) -> Option<SocketAddr> {
    let spec = service.spec?;
    let port = spec.ports?.into_iter().find(|port| port.name.as_deref() == Some(LINK))?.port;
    Some(SocketAddr::new(spec.cluster_ip?.parse().ok()?, u16::try_from(port).ok()?))
}
