use std::{convert::Infallible, sync::Arc, time::Duration};

use ebb_core::headers;
use ebb_proxy::{Upstream, UpstreamLimits, WallClock, fetch};
use http::{Request, header};
use tokio::{sync::mpsc, time::sleep};

use super::file::{FixedPod, FixedService};
use ebb_decide::platform::FleetEvent;
use ebb_decide::{Pod, PodAddress};

/// How often a pod's readiness is probed.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Time limit for its answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);
/// Maximum size of a probe's answer, which has five bytes.
const MAX_PROBE_BYTES: usize = 1024;

/// Reports `service`, and then its pods whenever one becomes ready or not ready. Drops `told` after the first report
/// of the pods.
pub(super) async fn watch(
    service: Arc<FixedService>,
    events: mpsc::Sender<FleetEvent>,
    told: mpsc::Sender<Infallible>,
) {
    let clock = WallClock::start();
    let known =
        FleetEvent::Service { key: service.key.clone(), spec: service.spec.clone(), port: service.port };
    if events.send(known).await.is_err() {
        return;
    }
    let mut pods: Vec<Pod> = service.pods.iter().map(|pod| starting(pod, clock)).collect();
    let upstreams: Vec<Arc<Upstream>> =
        service.pods.iter().map(|pod| Upstream::new(pod.serving, UpstreamLimits::default())).collect();
    let mut told = Some(told);
    loop {
        let mut changed = false;
        for (pod, upstream) in pods.iter_mut().zip(&upstreams) {
            let ready = is_ready(upstream).await;
            changed |= ready != pod.ready;
            pod.ready = ready;
        }
        if changed || told.is_some() {
            if events.send(tell(&service, &pods)).await.is_err() {
                return;
            }
            told = None;
        }
        sleep(ASK_EVERY).await;
    }
}

fn starting(pod: &FixedPod, clock: WallClock) -> Pod {
    Pod {
        name: pod.name.clone(),
        address: Some(PodAddress { serving: pod.serving, stats: pod.stats }),
        nonce: pod.nonce.clone(),
        direct: false,
        ready: false,
        started_at: clock.now(),
    }
}

fn tell(service: &FixedService, pods: &[Pod]) -> FleetEvent {
    let silent: Vec<&str> = pods.iter().filter(|pod| !pod.ready).map(|pod| pod.name.as_str()).collect();
    let trouble = if silent.is_empty() { String::new() } else { format!("not ready: {}", silent.join(", ")) };
    FleetEvent::Pods {
        key: service.key.clone(),
        pods: pods.to_vec(),
        replicas: u32::try_from(pods.len()).unwrap_or(u32::MAX),
        trouble,
    }
}

async fn is_ready(upstream: &Arc<Upstream>) -> bool {
    let request = Request::get("/")
        .header(header::HOST, upstream.address().to_string())
        .header(header::USER_AGENT, headers::AUTOSCALER_PROBE_AGENT)
        .header(headers::PROBE, headers::PROBE_QUEUE)
        .body(());
    let Ok(request) = request else { return false };
    fetch(upstream, request, MAX_PROBE_BYTES, ANSWER_WITHIN)
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
