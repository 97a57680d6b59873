//! Zeros that clients written in Go send whether they are set or not. They are filled in when an object is created:
//! otherwise the next change by such a client, of a label perhaps, would change the spec too, and make a Revision.

use serde_json::{Value, json};

use crate::api::{Container, Probe, RevisionSpec};

/// Fills them in.
pub(super) fn fill(spec: &mut RevisionSpec) {
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        container.resources.get_or_insert_default();
        for port in &mut container.ports {
            port.container_port.get_or_insert(0);
        }
        let Container { liveness_probe, readiness_probe, startup_probe, .. } = container;
        for probe in [liveness_probe, readiness_probe, startup_probe].into_iter().flatten() {
            ports(probe);
        }
    }
}

fn ports(probe: &mut Probe) {
    let zero = |port: &mut Option<Value>| {
        port.get_or_insert_with(|| json!(0));
    };
    if let Some(http) = &mut probe.http_get {
        zero(&mut http.port);
    }
    if let Some(tcp) = &mut probe.tcp_socket {
        zero(&mut tcp.port);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.port.get_or_insert(0);
    }
}
