//! Probes of a container.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::{super::fault::Faults, ports::ServingPort, shape};
use crate::api::Probe;

/// Returns what is wrong with a probe of the container that takes requests.
pub(super) fn serving(probe: &Probe, port: &ServingPort<'_>) -> Faults {
    let of_port = |(path, value): (&str, Option<&Value>)| match value.and_then(Value::as_str) {
        None | Some("") => Faults::default(),
        Some(name) if name == port.name => Faults::default(),
        Some(name) => Faults::invalid_value(name, path).with_details("Probe port must match container port"),
    };
    ways(probe).and(ports(probe).into_iter().flatten().map(of_port).collect())
}

/// Returns what is wrong with a probe of a container that takes no requests: there is no port to take by default.
pub(super) fn sidecar(probe: &Probe) -> Faults {
    let of_port = |(path, value): (&str, Option<&Value>)| {
        let number = value.map_or_else(|| "0".to_owned(), shape::quoted);
        if !["", "0"].contains(&number.as_str()) {
            return Faults::default();
        }
        Faults::invalid_value(number, path).with_details("Probe port must be specified")
    };
    ways(probe).and(ports(probe).into_iter().flatten().map(of_port).collect())
}

/// Returns what is wrong with when a readiness probe checks. A period of 0 is Ebb's own: as often as it makes sense.
pub(super) fn readiness(probe: &Probe) -> Faults {
    let number = |value: Option<i32>| value.unwrap_or_default();
    let period = number(probe.period_seconds);
    let mut faults: Faults = [
        ("periodSeconds", period, 0),
        ("initialDelaySeconds", number(probe.initial_delay_seconds), 0),
        ("successThreshold", number(probe.success_threshold), 1),
    ]
    .into_iter()
    .filter_map(|(name, value, least)| too_small(value, least, name))
    .collect();
    for (name, value) in [
        ("failureThreshold", number(probe.failure_threshold)),
        ("timeoutSeconds", number(probe.timeout_seconds)),
    ] {
        faults.extend(if period == 0 { of_no_period(value, name) } else { too_small(value, 1, name) });
    }
    faults
}

fn too_small(value: i32, least: i32, name: &str) -> Option<Faults> {
    (value < least).then(|| Faults::out_of_bounds(value, least, i32::MAX, name))
}

fn of_no_period(value: i32, name: &str) -> Option<Faults> {
    (value != 0).then(|| Faults::generic(format!("{name} is disallowed when periodSeconds is zero"), name))
}

/// Returns the ports that a probe has, with their paths; a port that is null is not given.
fn ports<'a>(probe: &'a Probe) -> [Option<(&'static str, Option<&'a Value>)>; 2] {
    let given = |port: &'a Option<Value>| port.as_ref().filter(|port| !port.is_null());
    [
        probe.http_get.as_ref().map(|get| ("httpGet.port", given(&get.port))),
        probe.tcp_socket.as_ref().map(|socket| ("tcpSocket.port", given(&socket.port))),
    ]
}

/// Returns whether there is exactly one way to check, with a port that can be one.
fn ways(probe: &Probe) -> Faults {
    let ways = [
        ("exec", probe.exec.is_some()),
        ("gRPC", probe.grpc.is_some()),
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
    ];
    let given: Vec<&str> = ways.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    let count = match given.as_slice() {
        [] => Faults::one_of_neither(&["exec", "grpc", "httpGet", "tcpSocket"]),
        [_] => Faults::default(),
        several => Faults::one_of_both(several),
    };
    let shape = |(path, value)| shape::faults_of::<IntOrString>(value, path);
    count.and(ports(probe).into_iter().flatten().map(shape).collect())
}
