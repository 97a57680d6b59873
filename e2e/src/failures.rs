//! The report of a failed scenario: enough to understand the failure without the cluster, which is gone by
//! then.

use std::fmt::Write;

use k8s_openapi::api::{
    core::v1::{Event, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, ResourceExt, api::ListParams};

use crate::Scenario;

/// The number of decisions shown for each service.
const DECISIONS: usize = 8;

/// Describes everything in the namespace.
pub(crate) async fn report(scenario: &Scenario) -> String {
    let mut text = format!("\n--- namespace {}\n", scenario.namespace);
    // Writing to a String cannot fail; what cannot be read is left out.
    let _ = services(scenario, &mut text).await;
    let _ = pods(scenario, &mut text).await;
    let _ = events(scenario, &mut text).await;
    text
}

async fn services(scenario: &Scenario, text: &mut String) -> Option<()> {
    let services: Api<Service> = scenario.api();
    let slices: Api<EndpointSlice> = scenario.api();
    for service in services.list(&ListParams::default()).await.ok()? {
        let name = service.name_any();
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
        writeln!(text, "Service {name}: selector {selector:?}").ok()?;
        for (key, value) in service.annotations() {
            writeln!(text, "  {key}: {value}").ok()?;
        }
        let of_it = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        for slice in slices.list(&of_it).await.ok()? {
            let to: Vec<_> = slice.endpoints.iter().flat_map(|endpoint| endpoint.addresses.clone()).collect();
            let ports: Vec<_> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
            writeln!(text, "  slice {}: {to:?} {ports:?}", slice.name_any()).ok()?;
        }
        if let Some(mut explained) = scenario.system().explain(&scenario.namespace, &name).await {
            let decisions = explained["decisions"].take();
            writeln!(text, "  now: {}", explained["now"]).ok()?;
            let decisions = decisions.as_array().cloned().unwrap_or_default();
            for decision in &decisions[decisions.len().saturating_sub(DECISIONS)..] {
                writeln!(text, "  {decision}").ok()?;
            }
        }
    }
    Some(())
}

async fn pods(scenario: &Scenario, text: &mut String) -> Option<()> {
    let pods: Api<Pod> = scenario.api();
    for pod in pods.list(&ListParams::default()).await.ok()? {
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or_default();
        let leaving = if pod.metadata.deletion_timestamp.is_some() { ", ending" } else { "" };
        let address = status.pod_ip.unwrap_or_default();
        writeln!(text, "Pod {} {address}: {phase}{leaving}", pod.name_any()).ok()?;
        for container in status.container_statuses.unwrap_or_default() {
            let state = serde_json::to_string(&container.state).unwrap_or_default();
            writeln!(text, "  {}: ready {}, {state}", container.name, container.ready).ok()?;
        }
    }
    Some(())
}

async fn events(scenario: &Scenario, text: &mut String) -> Option<()> {
    let events: Api<Event> = scenario.api();
    let mut all = events.list(&ListParams::default()).await.ok()?.items;
    all.sort_by_key(|event| event.metadata.creation_timestamp.clone());
    for event in all {
        let about = event.involved_object;
        let (kind, name) = (about.kind.unwrap_or_default(), about.name.unwrap_or_default());
        let (reason, said) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        writeln!(text, "Event {kind} {name}: {reason}: {said}").ok()?;
    }
    Some(())
}
