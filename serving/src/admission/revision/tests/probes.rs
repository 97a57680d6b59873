use super::*;

const AT: &str = "containers[0].livenessProbe";

#[test]
fn a_probe_checks_in_one_way() {
    let live = |probe: Value| wrong(one(json!({ "livenessProbe": probe })), &config(&[]));
    for probe in [
        json!({"exec": {"command": ["true"]}}),
        json!({"grpc": {"port": 1}}),
        json!({"httpGet": {"path": "/"}}),
        json!({"tcpSocket": {}}),
    ] {
        assert_eq!(live(probe), "");
    }
    let paths = format!("{AT}.exec, {AT}.grpc, {AT}.httpGet, {AT}.tcpSocket");
    assert_eq!(live(json!({"periodSeconds": 1})), format!("expected exactly one, got neither: {paths}"));
    let text = format!("expected exactly one, got both: {AT}.gRPC, {AT}.httpGet");
    assert_eq!(live(json!({"grpc": {"port": 1}, "httpGet": {}})), text);
}

#[test]
fn a_port_that_a_probe_names_is_the_serving_one() {
    for (ports, port, is_right) in [
        (json!([]), json!("http"), true),
        (json!([]), json!(9999), true),
        (json!([]), json!(""), true),
        (json!([{"name": "h2c"}]), json!("h2c"), true),
        (json!([{"name": "h2c"}]), json!("http"), false),
        (json!([]), json!("web"), false),
    ] {
        for way in ["httpGet", "tcpSocket"] {
            let probe = json!({ way: {"port": port} });
            let name = port.as_str().unwrap_or_default();
            let text =
                format!("invalid value: {name}: {AT}.{way}.port\nProbe port must match container port");
            let want = if is_right { "" } else { &text };
            let spec = one(json!({"ports": ports, "livenessProbe": probe}));
            assert_eq!(wrong(spec, &config(&[])), want, "{port}");
        }
    }
}

#[test]
fn a_port_that_is_no_port_is_refused() {
    for port in [json!(true), json!(1.5), json!(3_000_000_000_u64)] {
        let text = wrong(one(json!({"livenessProbe": {"tcpSocket": {"port": port}}})), &config(&[]));
        assert!(text.starts_with(&format!("invalid value: {port}: {AT}.tcpSocket.port\n")), "{text}");
    }
}

#[test]
fn readiness_has_bounds() {
    let at = "containers[0].readinessProbe";
    let most = i32::MAX;
    let default = json!({"tcpSocket": {}, "successThreshold": 1});
    for (fields, text) in [
        (json!({}), String::new()),
        (json!({"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3}), String::new()),
        (json!({"successThreshold": 0}), format!("expected 1 <= 0 <= {most}: {at}.successThreshold")),
        (json!({"initialDelaySeconds": -1}), format!("expected 0 <= -1 <= {most}: {at}.initialDelaySeconds")),
        (
            json!({"periodSeconds": -1, "timeoutSeconds": 1, "failureThreshold": 1}),
            format!("expected 0 <= -1 <= {most}: {at}.periodSeconds"),
        ),
        (
            json!({"failureThreshold": 3}),
            format!("failureThreshold is disallowed when periodSeconds is zero: {at}.failureThreshold"),
        ),
        (
            json!({"timeoutSeconds": 3}),
            format!("timeoutSeconds is disallowed when periodSeconds is zero: {at}.timeoutSeconds"),
        ),
        (
            json!({"periodSeconds": 1}),
            format!("expected 1 <= 0 <= {most}: {at}.failureThreshold, {at}.timeoutSeconds"),
        ),
    ] {
        let probe = merged(default.clone(), fields.clone());
        assert_eq!(wrong(one(json!({ "readinessProbe": probe })), &config(&[])), text, "{fields}");
    }
}

/// Returns what is wrong with a pod whose second container, which takes no requests, has these fields.
fn in_sidecar(fields: Value, config: &Config) -> String {
    let serving = with_image(json!({"name": "a", "ports": [{}]}));
    let other = with_image(merged(json!({"name": "b"}), fields));
    wrong(json!({"containers": [serving, other]}), config)
}

#[test]
fn a_sidecar_needs_a_flag_for_probes() {
    let probe = json!({"exec": {}, "periodSeconds": 2, "timeoutSeconds": 0});
    let at = "containers[1].startupProbe";
    let text = format!("must not set the field(s): {at}, {at}.periodSeconds");
    assert_eq!(in_sidecar(json!({ "startupProbe": probe }), &config(&[])), text);
    let allowed = config(&[(Feature::MultiContainerProbing, Flag::Allowed)]);
    assert_eq!(in_sidecar(json!({ "startupProbe": probe }), &allowed), text);
    assert_eq!(in_sidecar(json!({ "startupProbe": probe }), &enabled(&[Feature::MultiContainerProbing])), "");
}

#[test]
fn a_sidecars_probe_names_its_port() {
    let flagged = enabled(&[Feature::MultiContainerProbing]);
    for (way, port, said) in [
        ("httpGet", json!({}), Some("0")),
        ("tcpSocket", json!({"port": 0}), Some("0")),
        ("tcpSocket", json!({"port": ""}), Some("")),
        ("tcpSocket", json!({"port": null}), Some("0")),
        ("httpGet", json!({"port": 8081}), None),
        ("httpGet", json!({"port": "any"}), None),
    ] {
        let text = said.map(|said| {
            let at = format!("containers[1].livenessProbe.{way}.port");
            format!("invalid value: {said}: {at}\nProbe port must be specified")
        });
        let fields = json!({"livenessProbe": {way: port}});
        assert_eq!(in_sidecar(fields, &flagged), text.unwrap_or_default(), "{port}");
    }
    let text = format!("expected 1 <= 0 <= {}: containers[1].readinessProbe.successThreshold", i32::MAX);
    assert_eq!(in_sidecar(json!({"readinessProbe": {"exec": {}}}), &flagged), text);
}
