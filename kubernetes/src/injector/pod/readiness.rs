//! How the sidecar detects that the app is ready: like the kubelet, but without delay.

use ebb_core::probe::{Grpc, Header, HttpGet, Port, Probe, TcpSocket};
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, PodSpec, Probe as PodProbe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::ports::{UserPort, named, running};

/// The address of the app within the pod, as in the reference's sidecar.
const LOCALHOST: &str = "127.0.0.1";

/// The probe that the sidecar uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) probe: Probe,
    /// Whether the sidecar cannot execute the pod's own probe: then its probe is necessary but not sufficient, and
    /// the kubelet decides whether the pod is ready.
    pub(super) by_kubelet: bool,
}

/// Returns the sidecar's probe of the app: `path`, or a copy of the readiness probe of the container with the port,
/// or else a TCP connection to the port.
pub(super) fn readiness(spec: &PodSpec, user: &UserPort<'_>, path: Option<&str>) -> Readiness {
    if let Some(path) = path {
        let get = HttpGet {
            path: path.to_owned(),
            port: number(user.number),
            host: LOCALHOST.to_owned(),
            scheme: "HTTP".to_owned(),
            ..HttpGet::default()
        };
        let probe = Probe { http_get: Some(get), success_threshold: 1, ..Probe::default() };
        return Readiness { probe, by_kubelet: false };
    }
    // A pod that declares no port may still have a readiness probe.
    let asked = user.owner.or_else(|| running(spec).find(|container| container.readiness_probe.is_some()));
    match asked.and_then(|container| Some((container, container.readiness_probe.as_ref()?))) {
        Some((container, probe)) => copy(probe, container, user),
        None => Readiness { probe: Probe { success_threshold: 1, ..accepts(user) }, by_kubelet: false },
    }
}

fn copy(probe: &PodProbe, container: &Container, user: &UserPort<'_>) -> Readiness {
    let resolved = |port: &IntOrString| match port {
        IntOrString::Int(port) => Port::Number(*port),
        IntOrString::String(name) => number(named(container, name).unwrap_or(user.number)),
    };
    let way = if let Some(get) = probe.http_get.as_ref().filter(|get| !is_https(get)) {
        Some(Probe { http_get: Some(request(get, resolved(&get.port))), ..Probe::default() })
    } else if let Some(socket) = &probe.tcp_socket {
        let tcp = TcpSocket { port: resolved(&socket.port), host: LOCALHOST.to_owned() };
        Some(Probe { tcp_socket: Some(tcp), ..Probe::default() })
    } else {
        probe.grpc.as_ref().map(|grpc| {
            let grpc = Grpc { port: grpc.port, service: grpc.service.clone() };
            Probe { grpc: Some(grpc), ..Probe::default() }
        })
    };
    let by_kubelet = way.is_none();
    let period = probe.period_seconds.unwrap_or(0);
    let least_timeout = i32::from(period > 0);
    let probe = Probe {
        initial_delay_seconds: probe.initial_delay_seconds.unwrap_or(0),
        timeout_seconds: probe.timeout_seconds.unwrap_or(0).max(least_timeout),
        period_seconds: period,
        success_threshold: probe.success_threshold.unwrap_or(0),
        failure_threshold: probe.failure_threshold.unwrap_or(0),
        ..way.unwrap_or_else(|| accepts(user))
    };
    Readiness { probe, by_kubelet }
}

/// The sidecar does not support TLS.
fn is_https(get: &HTTPGetAction) -> bool {
    get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

fn request(get: &HTTPGetAction, port: Port) -> HttpGet {
    let headers = get.http_headers.iter().flatten();
    HttpGet {
        path: get.path.clone().unwrap_or_default(),
        port,
        host: LOCALHOST.to_owned(),
        scheme: "HTTP".to_owned(),
        http_headers: headers
            .map(|header| Header { name: header.name.clone(), value: header.value.clone() })
            .collect(),
    }
}

fn accepts(user: &UserPort<'_>) -> Probe {
    let tcp = TcpSocket { port: number(user.number), host: LOCALHOST.to_owned() };
    Probe { tcp_socket: Some(tcp), ..Probe::default() }
}

fn number(port: u16) -> Port {
    Port::Number(port.into())
}
