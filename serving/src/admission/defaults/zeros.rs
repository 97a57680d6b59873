//! A spec as clients in Go write it: with zeros where they always send one, without them where they never do, and with
//! quantities in one spelling. Otherwise the next change by such a client, of a label perhaps, would change the spec too,
//! and make a Revision.

use serde_json::{Value, json};

use crate::{
    admission::revision::canonical,
    api::{Container, Probe, RevisionSpec, TemplateMetadata},
};

/// Spells a spec as those clients do.
pub(super) fn spell(spec: &mut RevisionSpec) {
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        let resources = container.resources.get_or_insert_default();
        resources.limits.values_mut().chain(resources.requests.values_mut()).for_each(quantity);
        for port in &mut container.ports {
            port.container_port.get_or_insert(0);
        }
        for variable in &mut container.env {
            variable.value.take_if(|value| value.is_empty());
        }
        let Container { liveness_probe, readiness_probe, startup_probe, .. } = container;
        for probe in [liveness_probe, readiness_probe, startup_probe].into_iter().flatten() {
            check(probe);
        }
    }
}

/// Spells the metadata of a template as those clients do.
pub(super) fn spell_metadata(metadata: &mut TemplateMetadata) {
    metadata.other.retain(|_, value| !value.is_null());
}

fn check(probe: &mut Probe) {
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
    let numbers = [
        &mut probe.initial_delay_seconds,
        &mut probe.period_seconds,
        &mut probe.timeout_seconds,
        &mut probe.success_threshold,
        &mut probe.failure_threshold,
    ];
    for number in numbers {
        number.take_if(|number| *number == 0);
    }
}

fn quantity(value: &mut Value) {
    let text = match &*value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    if let Some(spelled) = canonical(&text) {
        *value = Value::String(spelled);
    }
}
