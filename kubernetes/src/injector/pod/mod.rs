//! Changes a pod: adds the sidecar, and adapts the rest of the pod to it.

mod edit;
mod ports;
mod quantity;
mod readiness;
mod resources;
mod sidecar;
mod stopping;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use ebb_annotations::Sidecar;
use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};
use thiserror::Error;

use self::{ports::UserPort, resources::Beside, sidecar::Plan, stopping::Stopping};
use crate::{
    claim::{Claim, Target},
    facts::SIDECAR,
};

pub use sidecar::{PullPolicy, Settings};

/// The label or annotation that excludes a pod from injection if it is `false`.
const INJECT: &str = "ebb.dev/inject";
/// The annotation of static pods; the API server's copy cannot be changed.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The changes to a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Injection {
    /// The patch, as the API server expects it.
    pub(crate) patch: Patch,
    /// Warnings for the user.
    pub(crate) warnings: Vec<String>,
}

/// Why a pod gets no sidecar although it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("it uses the host network, where the sidecar's ports could clash with another pod's")]
    HostNetwork,
    #[error("it is not a Linux pod")]
    NotLinux,
    #[error(
        "it runs to completion, which the sidecar would prevent; annotate Service {0} with ebb.dev/sidecar: native"
    )]
    Ends(String),
    #[error("no container declares the port {port:?} that Service {service} leads to")]
    NoSuchPort { service: String, port: String },
}

/// Returns the changes to `pod` if `claims`, ordered by name, are those of the Services that select it; `None` leaves
/// it unchanged. `nonce` is a secret between Ebb and this pod.
///
/// # Errors
///
/// Returns a [`Refusal`] if the pod is served without a sidecar.
pub(crate) fn inject(
    pod: &Pod,
    claims: &[Arc<Claim>],
    settings: &Settings,
    nonce: &str,
) -> Result<Option<Injection>, Refusal> {
    let wanting: Vec<&Claim> =
        claims.iter().map(Arc::as_ref).filter(|claim| claim.sidecar != Sidecar::None).collect();
    let (Some(spec), Some(first)) = (&pod.spec, wanting.first()) else { return Ok(None) };
    // The API server refuses a pod without containers after the webhooks, with a message that its author understands.
    if has_sidecar(spec) || is_left_out(pod) || spec.containers.is_empty() {
        return Ok(None);
    }
    suits(spec, first)?;
    let user = ports::user_port(spec, &first.front.port.target).ok_or_else(|| no_such_port(first))?;
    let mut injection = Injection::default();
    let (services, elsewhere): (Vec<&Claim>, Vec<&Claim>) = wanting.iter().partition(|claim| {
        ports::user_port(spec, &claim.front.port.target).is_some_and(|port| port.number == user.number)
    });
    injection.warnings.extend(elsewhere.iter().map(|claim| counted_elsewhere(claim, first, &user)));
    let plan = plan(pod, spec, first, &services, &user, &mut injection.warnings);
    change(spec, first, user.owner, plan, settings, nonce, &mut injection.patch);
    Ok(Some(injection))
}

fn has_sidecar(spec: &PodSpec) -> bool {
    let init = spec.init_containers.iter().flatten();
    spec.containers.iter().chain(init).any(|container| container.name == SIDECAR)
}

fn is_left_out(pod: &Pod) -> bool {
    let (labels, annotations) = (&pod.metadata.labels, &pod.metadata.annotations);
    let refuses =
        [labels, annotations].into_iter().flatten().any(|all| all.get(INJECT).is_some_and(|v| v == "false"));
    refuses || annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
}

/// Rejects pods in which a sidecar would do harm.
fn suits(spec: &PodSpec, first: &Claim) -> Result<(), Refusal> {
    if spec.host_network == Some(true) {
        return Err(Refusal::HostNetwork);
    }
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(Refusal::NotLinux);
    }
    let ends = spec.restart_policy.as_deref().is_some_and(|policy| policy != "Always");
    if ends && first.sidecar == Sidecar::Ordinary {
        return Err(Refusal::Ends(first.front.key.name.clone()));
    }
    Ok(())
}

fn no_such_port(claim: &Claim) -> Refusal {
    let port = match &claim.front.port.target {
        Target::Name(name) => name.clone(),
        Target::Number(number) => number.to_string(),
    };
    Refusal::NoSuchPort { service: claim.front.key.name.clone(), port }
}

fn counted_elsewhere(claim: &Claim, first: &Claim, user: &UserPort<'_>) -> String {
    format!(
        "Ebb: requests of Service {} are not counted in this pod: its sidecar is in front of port {} of Service {}",
        claim.front.key.name, user.number, first.front.key.name
    )
}

/// Plans the sidecar. The first Service decides.
fn plan<'a>(
    pod: &Pod,
    spec: &PodSpec,
    first: &'a Claim,
    services: &[&'a Claim],
    user: &UserPort<'_>,
    warnings: &mut Vec<String>,
) -> Plan<'a> {
    let serving = &first.spec.serving;
    let app = user.owner.or(spec.containers.first()).and_then(|container| container.resources.as_ref());
    let beside = if spec.resources.is_some() { Beside::Pod } else { Beside::App(app) };
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    let withheld = first.mount_token == Some(false) && spec.automount_service_account_token.is_none();
    Plan {
        serving,
        services: services.iter().map(|claim| claim.front.key.name.as_str()).collect(),
        native: first.sidecar == Sidecar::Native,
        user_port: user.number,
        ports: ports::free(pod, spec, user.number),
        readiness: readiness::readiness(spec, user, serving.readiness_path.as_deref()),
        stopping: stopping::stopping(spec.termination_grace_period_seconds, serving.request_timeout),
        resources: resources::resources(&annotations, beside, warnings),
        token: if withheld { None } else { token::placeholder(spec) },
    }
}

/// Builds all changes to the pod, in an order that keeps the indices of its lists valid. `app` is the container with
/// the port for requests, if any.
fn change(
    spec: &PodSpec,
    first: &Claim,
    app: Option<&Container>,
    plan: Plan<'_>,
    settings: &Settings,
    nonce: &str,
    patch: &mut Patch,
) {
    if first.mount_token == Some(false) {
        token::withhold(spec, patch);
    }
    for (index, container) in spec.containers.iter().enumerate() {
        wait_for_drain(["containers", &index.to_string()], container, plan.ports.admin, patch);
    }
    // Native sidecars are terminated after the other containers, which wait. The app may be a native sidecar, and the
    // others may have ended by themselves then, as in a Job.
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        if app.is_some_and(|app| std::ptr::eq(app, container)) {
            wait_for_drain(["initContainers", &index.to_string()], container, plan.ports.admin, patch);
        }
    }
    if let Stopping { grace: Some(grace), .. } = plan.stopping {
        edit::add(patch, &["spec", "terminationGracePeriodSeconds"], grace.into());
    }
    let native = plan.native;
    let sidecar = value(&sidecar::container(plan, settings, nonce));
    match (native, &spec.init_containers) {
        // Last: the app's process starts first and does not wait for the sidecar.
        (false, _) => edit::add(patch, &["spec", "containers", "-"], sidecar),
        // First: later init containers may use the network through it, and none delays it.
        (true, Some(_)) => edit::add(patch, &["spec", "initContainers", "0"], sidecar),
        (true, None) => edit::add(patch, &["spec", "initContainers"], json!([sidecar])),
    }
}

/// Makes the container wait for the end of the drain before it stops, unless it has its own hook. All containers
/// wait, not only the app, because the app may need them to serve requests.
fn wait_for_drain([list, index]: [&str; 2], container: &Container, admin: u16, patch: &mut Patch) {
    let hook = value(&sidecar::wait_for_drain(admin));
    match &container.lifecycle {
        None => edit::add(patch, &["spec", list, index, "lifecycle"], json!({ "preStop": hook })),
        Some(lifecycle) if lifecycle.pre_stop.is_none() => {
            edit::add(patch, &["spec", list, index, "lifecycle", "preStop"], hook);
        }
        Some(_) => {}
    }
}

fn value(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("parts of a pod have text for keys, and numbers that JSON has")
}
