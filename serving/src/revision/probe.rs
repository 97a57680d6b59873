//! Probes of a container, as Kubernetes takes them.

use serde_json::{Value, json};

use crate::api::{Probe, TcpSocket};

/// How often a pod is asked whether it is ready if the Revision leaves that open, in seconds: as often as Kubernetes
/// can. The queue-proxy asks more often while the pod starts.
const READINESS_PERIOD: i32 = 1;
const READINESS_TIMEOUT: i32 = 1;
const READINESS_FAILURES: i32 = 3;

/// Returns the readiness probe of the container that takes requests. Without one, the container is ready once it
/// takes connections on `port`.
pub(super) fn serving_readiness(probe: Option<&Probe>, port: i32) -> Probe {
    let mut probe = probe.cloned().unwrap_or_default();
    if probe.exec.is_none() && probe.grpc.is_none() && probe.http_get.is_none() && probe.tcp_socket.is_none()
    {
        probe.tcp_socket = Some(TcpSocket::default());
    }
    aimed(&readiness(&probe), port)
}

/// Returns a readiness probe whose times are all set. A period of 0, which is the default, leaves them to us.
pub(super) fn readiness(probe: &Probe) -> Probe {
    let mut probe = probe.clone();
    probe.success_threshold = set(probe.success_threshold, 1);
    if probe.period_seconds.unwrap_or(0) == 0 {
        probe.period_seconds = Some(READINESS_PERIOD);
        probe.timeout_seconds = set(probe.timeout_seconds, READINESS_TIMEOUT);
        probe.failure_threshold = set(probe.failure_threshold, READINESS_FAILURES);
    }
    probe
}

/// Returns the probe of the container that takes requests, whose ports are numbers. It declares one port, so a port
/// that is missing, 0, or a name can only be this one.
pub(super) fn aimed(probe: &Probe, port: i32) -> Probe {
    let mut probe = probe.clone();
    let aim = |given: &mut Option<Value>| {
        let number = given.as_ref().and_then(Value::as_i64).filter(|number| *number != 0);
        *given = Some(json!(number.unwrap_or(port.into())));
    };
    if let Some(get) = &mut probe.http_get {
        aim(&mut get.port);
    }
    if let Some(socket) = &mut probe.tcp_socket {
        aim(&mut socket.port);
    }
    if let Some(grpc) = &mut probe.grpc {
        grpc.port = set(grpc.port, port);
    }
    probe
}

fn set(given: Option<i32>, default: i32) -> Option<i32> {
    given.filter(|given| *given != 0).or(Some(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(json: Value) -> Probe {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_readiness_probe_asks_the_serving_port_unless_it_names_another_number() {
        let usual =
            json!({"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1});
        for (given, way) in [
            (None, json!({"tcpSocket": {"port": 9000}})),
            (Some(json!({})), json!({"tcpSocket": {"port": 9000}})),
            (Some(json!({"tcpSocket": {}})), json!({"tcpSocket": {"port": 9000}})),
            (Some(json!({"tcpSocket": {"port": 0}})), json!({"tcpSocket": {"port": 9000}})),
            (Some(json!({"tcpSocket": {"port": 81}})), json!({"tcpSocket": {"port": 81}})),
            (Some(json!({"httpGet": {"path": "/x"}})), json!({"httpGet": {"path": "/x", "port": 9000}})),
            (Some(json!({"httpGet": {"port": "http"}})), json!({"httpGet": {"port": 9000}})),
            (Some(json!({"grpc": {"port": 0}})), json!({"grpc": {"port": 9000, "service": ""}})),
            (Some(json!({"grpc": {"port": 5}})), json!({"grpc": {"port": 5, "service": ""}})),
            (Some(json!({"exec": {"command": ["ok"]}})), json!({"exec": {"command": ["ok"]}})),
        ] {
            let made = serving_readiness(given.clone().map(probe).as_ref(), 9000);
            let mut expected = way;
            for (key, value) in usual.as_object().unwrap() {
                expected[key] = value.clone();
            }
            assert_eq!(serde_json::to_value(made).unwrap(), expected, "{given:?}");
        }
    }

    #[test]
    fn the_times_of_a_probe_with_a_period_are_its_own() {
        let given = json!({"exec": {}, "periodSeconds": 7, "successThreshold": 2, "initialDelaySeconds": 3});
        assert_eq!(readiness(&probe(given.clone())), probe(given));
        let aggressive = readiness(&probe(json!({"exec": {}, "periodSeconds": 0, "initialDelaySeconds": 3})));
        let times = (aggressive.period_seconds, aggressive.timeout_seconds, aggressive.failure_threshold);
        assert_eq!((times, aggressive.initial_delay_seconds), ((Some(1), Some(1), Some(3)), Some(3)));
    }
}
