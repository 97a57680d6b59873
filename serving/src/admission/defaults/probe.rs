//! Defaults of the check whether a container can take requests.

use crate::api::{Probe, TcpSocket};

/// Fills in the check. A container that takes requests has one: a connection to its port, unless it says otherwise.
pub(super) fn fill(probe: &mut Option<Probe>, takes_requests: bool) {
    if takes_requests {
        let probe = probe.get_or_insert_default();
        if !has_handler(probe) {
            probe.tcp_socket = Some(TcpSocket::default());
        }
    }
    let Some(probe) = probe else { return };
    or_if_zero(&mut probe.success_threshold, 1);
    // Without a period, the check is as frequent as it makes sense, and Kubernetes' numbers do not apply.
    if probe.period_seconds.unwrap_or(0) != 0 {
        or_if_zero(&mut probe.failure_threshold, 3);
        or_if_zero(&mut probe.timeout_seconds, 1);
    }
}

fn has_handler(probe: &Probe) -> bool {
    probe.exec.is_some() || probe.grpc.is_some() || probe.http_get.is_some() || probe.tcp_socket.is_some()
}

fn or_if_zero(number: &mut Option<i32>, default: i32) {
    if number.unwrap_or(0) == 0 {
        *number = Some(default);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_takes_requests_is_checked_and_other_checks_are_completed() {
        let tcp = json!({"tcpSocket": {}, "successThreshold": 1});
        let often = json!({"httpGet": {"path": "/"}, "periodSeconds": 5});
        let completed = json!({
            "httpGet": {"path": "/"}, "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 3,
            "timeoutSeconds": 1,
        });
        let whole = json!({
            "exec": {"command": ["true"]}, "periodSeconds": 2, "successThreshold": 2, "failureThreshold": 9,
            "timeoutSeconds": 8,
        });
        let grpc = json!({"grpc": {"service": ""}, "periodSeconds": 0, "successThreshold": 1});
        for (probe, takes_requests, wanted) in [
            (Value::Null, true, tcp.clone()),
            (json!({}), true, tcp),
            (Value::Null, false, Value::Null),
            (json!({}), false, json!({"successThreshold": 1})),
            (often.clone(), true, completed.clone()),
            (often, false, completed),
            (whole.clone(), true, whole),
            (json!({"grpc": {}, "periodSeconds": 0, "successThreshold": 0}), true, grpc),
            (
                json!({"periodSeconds": -1}),
                false,
                json!({
                    "periodSeconds": -1, "successThreshold": 1, "failureThreshold": 3, "timeoutSeconds": 1,
                }),
            ),
        ] {
            let mut filled = serde_json::from_value(probe.clone()).unwrap();
            fill(&mut filled, takes_requests);
            assert_eq!(serde_json::to_value(&filled).unwrap(), wanted, "{probe} {takes_requests}");
        }
    }
}
