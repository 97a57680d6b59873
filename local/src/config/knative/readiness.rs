//! When a pod takes requests: as soon as the app accepts connections, or answers a path.

use ebb_serving::{
    api::{HttpGet, Probe, RevisionSpec},
    revision::port,
};
use serde_json::Value;

/// Returns the path that the app must answer, and a warning if one machine does something else than `probe`
/// says.
pub(super) fn of(probe: &Probe, spec: &RevisionSpec) -> (Option<String>, Option<String>) {
    let field = "spec.template.spec.containers[0].readinessProbe";
    let connects = |why: &str| {
        let text = format!("{field}{why} has no effect here: a pod is ready when it accepts connections");
        (None, Some(text))
    };
    let is_other = |given: &Option<Value>| {
        given
            .as_ref()
            .and_then(Value::as_i64)
            .is_some_and(|number| ![0, i64::from(port(spec))].contains(&number))
    };
    match probe {
        Probe { exec: Some(_), .. } => connects(".exec"),
        Probe { grpc: Some(_), .. } => connects(".grpc"),
        Probe { http_get: Some(get), .. } if is_other(&get.port) => connects(".httpGet of another port"),
        Probe { http_get: Some(get), .. } if get.scheme.as_deref() == Some("HTTPS") => {
            connects(".httpGet with TLS")
        }
        Probe { http_get: Some(HttpGet { path, http_headers, .. }), .. } => {
            let path = path.as_deref().unwrap_or_default();
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            let lost =
                format!("{field}.httpGet.httpHeaders has no effect here: the path is asked for without them");
            (Some(path), (!http_headers.is_empty()).then_some(lost))
        }
        Probe { tcp_socket: Some(socket), .. } if is_other(&socket.port) => {
            connects(".tcpSocket of another port")
        }
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_asked_for_and_whatever_else_is_a_connection() {
        let spec: RevisionSpec =
            serde_json::from_value(json!({"containers": [{"ports": [{"containerPort": 9000}]}]})).unwrap();
        for (probe, path, warning) in [
            (json!({}), None, None),
            (json!({"tcpSocket": {}}), None, None),
            (json!({"tcpSocket": {"port": 9000}}), None, None),
            (json!({"tcpSocket": {"port": 1}}), None, Some(".tcpSocket of another port has no effect")),
            (json!({"httpGet": {}}), Some("/"), None),
            (
                json!({"httpGet": {"path": "/healthz", "port": 9000, "scheme": "HTTP"}}),
                Some("/healthz"),
                None,
            ),
            (json!({"httpGet": {"path": "healthz", "port": "http1"}}), Some("/healthz"), None),
            (
                json!({"httpGet": {"path": "/x", "port": 1}}),
                None,
                Some(".httpGet of another port has no effect"),
            ),
            (
                json!({"httpGet": {"path": "/x", "scheme": "HTTPS"}}),
                None,
                Some(".httpGet with TLS has no effect"),
            ),
            (
                json!({"httpGet": {"path": "/x", "httpHeaders": [{"name": "a", "value": "b"}]}}),
                Some("/x"),
                Some(".httpGet.httpHeaders has no effect"),
            ),
            (json!({"exec": {"command": ["true"]}}), None, Some(".exec has no effect")),
            (json!({"grpc": {}}), None, Some(".grpc has no effect")),
        ] {
            let told = of(&serde_json::from_value(probe.clone()).unwrap(), &spec);
            assert_eq!(told.0.as_deref(), path, "{probe}");
            let says = told.1.as_deref().zip(warning).is_some_and(|(told, warning)| told.contains(warning));
            assert!(says || (told.1.is_none() && warning.is_none()), "{probe}: {told:?}");
        }
    }
}
