//! The ports of containers, of which a pod serves one.

use super::super::fault::Faults;
use crate::api::{Container, ContainerPort};

/// The ports of what runs beside the containers in each pod.
const RESERVED: [i32; 6] = [8008, 8012, 8013, 8022, 9090, 9091];
/// The names that say a protocol.
const PROTOCOLS: [&str; 3] = ["", "h2c", "http1"];
/// The name of a port without a name.
const UNNAMED: &str = "http";

/// The port that takes requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServingPort<'a> {
    /// Its name, by which probes may name it.
    pub(super) name: &'a str,
}

impl<'a> ServingPort<'a> {
    /// Returns the port of a pod with these containers. If there are several, that is a fault of its own.
    pub(super) fn of(containers: &'a [Container]) -> Self {
        let first = containers.iter().rev().find_map(|container| container.ports.first());
        Self { name: first.map(name).filter(|name| !name.is_empty()).unwrap_or(UNNAMED) }
    }
}

/// Returns whether the containers have one port in all, with paths that belong to any container.
pub(super) fn of_all(containers: &[Container]) -> Faults {
    match containers.iter().map(|container| container.ports.len()).sum() {
        0 if containers.len() > 1 => Faults::missing("ports"),
        0 | 1 => Faults::default(),
        2.. => Faults::generic("more than one container port is set", "ports")
            .with_details("Only a single port is allowed across all containers"),
    }
}

/// Returns what is wrong with the ports of a container that runs all the time.
pub(super) fn of_container(ports: &[ContainerPort]) -> Faults {
    let port = |(index, port): (usize, &ContainerPort)| {
        number(port).and(protocol(&port.protocol)).via_index("ports", index).and(named(name(port)))
    };
    ports.iter().enumerate().map(port).collect()
}

/// Returns what is wrong with the ports of an init container. They only inform.
pub(super) fn of_init(ports: &[ContainerPort]) -> Faults {
    ports.iter().enumerate().map(|(index, port)| number(port).via_index("ports", index)).collect()
}

fn name(port: &ContainerPort) -> &str {
    port.name.as_deref().unwrap_or_default()
}

/// Returns the fault of a port's name; tests look for it at the list of the ports.
fn named(name: &str) -> Faults {
    if PROTOCOLS.contains(&name) {
        return Faults::default();
    }
    Faults::generic(format!("Port name {name} is not allowed"), "ports")
        .with_details("Name must be empty, or one of: 'h2c', 'http1'")
}

fn protocol(protocol: &str) -> Faults {
    if ["", "TCP"].contains(&protocol) {
        return Faults::default();
    }
    Faults::invalid_value(protocol, "protocol")
}

fn number(port: &ContainerPort) -> Faults {
    let number = port.container_port.unwrap_or_default();
    if RESERVED.contains(&number) {
        return Faults::invalid_value(format!("{number} is a reserved port"), "containerPort")
            .with_details(format!("{number} is a reserved port, please use a different value"));
    }
    if (0..=i32::from(u16::MAX)).contains(&number) {
        return Faults::default();
    }
    Faults::out_of_bounds(number, 0, u16::MAX, "containerPort")
}
