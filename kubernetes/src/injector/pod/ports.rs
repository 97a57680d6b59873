//! The ports of a pod: the app's, and free ones for the sidecar.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, Pod, PodSpec, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::claim::Target;

/// The port on which the app takes requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserPort<'a> {
    pub(super) number: u16,
    /// The container that declares it; `None` if none does.
    pub(super) owner: Option<&'a Container>,
}

/// The sidecar's own ports, all different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) stats: u16,
    pub(super) admin: u16,
}

/// The sidecar's default ports, as in the reference.
const HTTP: u16 = 8012;
const STATS: u16 = 9090;
const ADMIN: u16 = 8022;

/// The annotation that tells scrapers a port, which need not be declared.
const PROMETHEUS_PORT: &str = "prometheus.io/port";

/// Returns the containers that run at the same time, in the order in which Kubernetes resolves port names.
pub(super) fn running(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let init = spec.init_containers.iter().flatten();
    spec.containers
        .iter()
        .chain(init.filter(|container| container.restart_policy.as_deref() == Some("Always")))
}

fn tcp_ports(container: &Container) -> impl Iterator<Item = &ContainerPort> {
    let is_tcp = |port: &&ContainerPort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    container.ports.iter().flatten().filter(is_tcp)
}

/// Returns the number of the port that `container` calls `name`.
pub(super) fn named(container: &Container, name: &str) -> Option<u16> {
    let port = tcp_ports(container).find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

/// Returns the pod's port for `target`; `None` if it is a name that no container declares.
pub(super) fn user_port<'a>(spec: &'a PodSpec, target: &Target) -> Option<UserPort<'a>> {
    match target {
        Target::Number(number) => {
            let declares = |container: &&Container| {
                tcp_ports(container).any(|port| port.container_port == i32::from(*number))
            };
            Some(UserPort { number: *number, owner: running(spec).find(declares) })
        }
        Target::Name(name) => running(spec).find_map(|container| {
            named(container, name).map(|number| UserPort { number, owner: Some(container) })
        }),
    }
}

/// Returns ports for the sidecar: the defaults, or the next ones that are not known to be used in the pod.
pub(super) fn free(pod: &Pod, spec: &PodSpec, user: u16) -> Ports {
    let mut taken: BTreeSet<u16> = running(spec).flat_map(known).collect();
    taken.insert(user);
    let annotations = pod.metadata.annotations.as_ref();
    taken.extend(annotations.and_then(|all| all.get(PROMETHEUS_PORT)?.parse::<u16>().ok()));
    let mut next = |usual: u16| {
        let port = (usual..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(usual);
        taken.insert(port);
        port
    };
    // On a conflict the port that is known by its number stays: scrapers may use 9090.
    Ports { http: next(HTTP), stats: next(STATS), admin: next(ADMIN) }
}

/// Returns the ports on which `container` is known to listen: those that it declares, and those of its probes.
fn known(container: &Container) -> impl Iterator<Item = u16> {
    let declared = container.ports.iter().flatten().map(|port| port.container_port);
    let probes = [&container.readiness_probe, &container.liveness_probe, &container.startup_probe];
    let asked = probes.into_iter().flatten().filter_map(asked_on);
    declared.chain(asked).filter_map(|port| u16::try_from(port).ok())
}

fn asked_on(probe: &Probe) -> Option<i32> {
    let http = probe.http_get.as_ref().map(|get| &get.port);
    let tcp = probe.tcp_socket.as_ref().map(|socket| &socket.port);
    match http.or(tcp) {
        Some(IntOrString::Int(port)) => Some(*port),
        // A declared one.
        Some(IntOrString::String(_)) => None,
        None => probe.grpc.as_ref().map(|grpc| grpc.port),
    }
}
