use super::*;
use crate::config::SecureDefaults;

#[test]
fn there_is_a_container_and_none_is_empty() {
    for (spec, text) in [
        (json!({"containers": []}), "missing field(s): containers"),
        (json!({"containers": [{}]}), "missing field(s): containers[0]"),
        (json!({"containers": [{"name": "a"}]}), "missing field(s): containers[0].image"),
        (
            json!({"containers": [{"name": "queue-proxy", "image": "cart"}]}),
            "\"queue-proxy\" is a reserved container name: containers[0].name",
        ),
    ] {
        assert_eq!(wrong(spec.clone(), &config(&[])), text, "{spec}");
    }
}

#[test]
fn several_containers_need_names_of_their_own_and_one_port() {
    let of = |others: &[Value]| {
        let first = with_image(json!({"name": "a", "ports": [{"containerPort": 8080}]}));
        let all: Vec<Value> = [first].into_iter().chain(others.iter().cloned()).collect();
        json!({ "containers": all })
    };
    let named = |name: &str| with_image(json!({ "name": name }));
    assert_eq!(wrong(of(&[named("b"), named("c")]), &config(&[])), "");
    let text = "duplicate container name \"a\": containers[1].name, containers[2].name";
    assert_eq!(wrong(of(&[named("a"), named("a")]), &config(&[])), text);
    let off = config(&[(Feature::MultiContainer, Flag::Allowed)]);
    assert_eq!(wrong(of(&[named("b")]), &off), "multi-container is off, but found 2 containers: ");
    let none = json!({"containers": [named("a"), named("b")]});
    assert_eq!(wrong(none, &config(&[])), "missing field(s): containers[*].ports");
}

#[test]
fn an_image_is_a_reference() {
    let text = "Failed to parse image reference: containers[0].image\n\
        image: \"Cart:v1\", error: could not parse reference: Cart:v1";
    assert_eq!(wrong(one(json!({"image": "Cart:v1"})), &config(&[])), text);
}

#[test]
fn variables_have_names_that_are_not_ours() {
    let env = |variables: Value| json!({ "env": variables });
    for (variables, text) in [
        (json!([{"name": "A", "value": "b"}]), ""),
        (json!([{"name": ""}]), "missing field(s): containers[0].env[0].name"),
        (
            json!([{"name": "A"}, {"name": "K_SERVICE"}]),
            "\"K_SERVICE\" is a reserved environment variable: containers[0].env[1].name",
        ),
        (json!([{"name": "PORT"}]), "\"PORT\" is a reserved environment variable: containers[0].env[0].name"),
        (json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]), ""),
        (
            json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
            "must not set the field(s): containers[0].env[0].valueFrom.fieldRef",
        ),
        (
            json!([{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]),
            "must not set the field(s): containers[0].env[0].valueFrom.resourceFieldRef",
        ),
    ] {
        assert_eq!(wrong(one(env(variables.clone())), &config(&[])), text, "{variables}");
    }
    let field = env(json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]));
    assert_eq!(wrong(one(field), &config(&[(Feature::FieldRef, Flag::Allowed)])), "");
}

#[test]
fn only_the_container_that_takes_requests_is_told_its_port() {
    let serving = with_image(json!({"name": "a", "ports": [{}]}));
    let other = with_image(json!({"name": "b", "env": [{"name": "PORT"}, {"name": "K_REVISION"}]}));
    let text = "\"K_REVISION\" is a reserved environment variable: containers[1].env[1].name";
    assert_eq!(wrong(json!({"containers": [serving, other]}), &config(&[])), text);
}

#[test]
fn variables_come_from_one_object_each() {
    let from = |sources: Value| one(json!({ "envFrom": sources }));
    let map = json!({"configMapRef": {"name": "a"}});
    let both = json!({"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}});
    assert_eq!(wrong(from(json!([map, {"secretRef": {"name": "b"}}])), &config(&[])), "");
    let paths = "containers[0].envFrom[1].configMapRef, containers[0].envFrom[1].secretRef";
    let text = wrong(from(json!([map, {"prefix": "A_"}])), &config(&[]));
    assert_eq!(text, format!("expected exactly one, got neither: {paths}"));
    let text = wrong(from(json!([map, both])), &config(&[]));
    assert_eq!(text, format!("expected exactly one, got both: {paths}"));
}

#[test]
fn the_port_is_one_that_can_be_served() {
    let names = "Name must be empty, or one of: 'h2c', 'http1'";
    for (ports, text) in [
        (json!([{}]), String::new()),
        (json!([{"name": "h2c", "containerPort": 8081, "protocol": "TCP"}]), String::new()),
        (json!([{"name": "http1", "containerPort": 65535, "protocol": ""}]), String::new()),
        (
            json!([{"name": "arbitrary"}]),
            format!("Port name arbitrary is not allowed: containers[0].ports\n{names}"),
        ),
        (json!([{"protocol": "UDP"}]), "invalid value: UDP: containers[0].ports[0].protocol".to_owned()),
        (
            json!([{"containerPort": 65536}]),
            "expected 0 <= 65536 <= 65535: containers[0].ports[0].containerPort".to_owned(),
        ),
        (
            json!([{"containerPort": -1}]),
            "expected 0 <= -1 <= 65535: containers[0].ports[0].containerPort".to_owned(),
        ),
        (
            json!([{"containerPort": 1}, {"containerPort": 2}]),
            "more than one container port is set: containers[*].ports\n\
             Only a single port is allowed across all containers"
                .to_owned(),
        ),
    ] {
        assert_eq!(wrong(one(json!({ "ports": ports.clone() })), &config(&[])), text, "{ports}");
    }
    for number in [8008, 8012, 8013, 8022, 9090, 9091] {
        let text = format!(
            "invalid value: {number} is a reserved port: containers[0].ports[0].containerPort\n\
             {number} is a reserved port, please use a different value"
        );
        assert_eq!(wrong(one(json!({"ports": [{"containerPort": number}]})), &config(&[])), text);
    }
}

#[test]
fn a_containers_rights_have_bounds() {
    let at = "containers[0].securityContext";
    for (context, text) in [
        (json!({"runAsUser": 0, "runAsGroup": 2_147_483_647, "privileged": false}), String::new()),
        (json!({"capabilities": {"drop": ["ALL"]}}), String::new()),
        (json!({"runAsUser": -10}), format!("expected 0 <= -10 <= 2147483647: {at}.runAsUser")),
        (
            json!({"runAsGroup": 2_147_483_648_i64}),
            format!("expected 0 <= 2147483648 <= 2147483647: {at}.runAsGroup"),
        ),
        (
            json!({"privileged": true, "capabilities": {"add": ["NET_BIND_SERVICE"]}}),
            format!("must not set the field(s): {at}.capabilities.add, {at}.privileged"),
        ),
    ] {
        assert_eq!(
            wrong(one(json!({ "securityContext": context.clone() })), &config(&[])),
            text,
            "{context}"
        );
    }
}

#[test]
fn capabilities_are_added_with_the_flag_and_one_with_secure_defaults() {
    let add = |names: &[&str]| one(json!({"securityContext": {"capabilities": {"add": names}}}));
    let refused = "must not set the field(s): containers[0].securityContext.capabilities.add";
    let mut secure = Config::default();
    secure.features.secure_defaults = SecureDefaults::Enabled;
    for (config, names, text) in [
        (&enabled(&[Feature::AddCapabilities]), ["SYS_TIME"].as_slice(), ""),
        (&config(&[(Feature::AddCapabilities, Flag::Allowed)]), &["SYS_TIME"], refused),
        (&secure, &["NET_BIND_SERVICE"], ""),
        (&secure, &["NET_BIND_SERVICE", "SYS_TIME"], refused),
    ] {
        assert_eq!(wrong(add(names), config), text, "{names:?}");
    }
}

#[test]
fn last_words_come_from_a_file_or_the_log() {
    let of = |policy: &str| one(json!({ "terminationMessagePolicy": policy }));
    for policy in ["", "File", "FallbackToLogsOnError"] {
        assert_eq!(wrong(of(policy), &config(&[])), "");
    }
    let text = "invalid value: Log: containers[0].terminationMessagePolicy";
    assert_eq!(wrong(of("Log"), &config(&[])), text);
}

#[test]
fn init_containers_need_a_flag() {
    let init = with_image(json!({"name": "first"}));
    let spec = beside(json!({"initContainers": [init.clone(), with_image(json!({"name": "second"}))]}));
    let off = "pod spec support for init-containers is off, but found 2 init containers: ";
    let masked = format!("must not set the field(s): initContainers\n{off}");
    assert_eq!(wrong(spec.clone(), &config(&[])), masked);
    assert_eq!(wrong(spec.clone(), &config(&[(Feature::InitContainers, Flag::Allowed)])), off);
    assert_eq!(wrong(spec, &enabled(&[Feature::InitContainers])), "");
}

#[test]
fn init_containers_have_rules_of_their_own() {
    let wrong_if = |fields: Value| {
        let init = with_image(merged(json!({"name": "first"}), fields));
        wrong(beside(json!({"initContainers": [init]})), &enabled(&[Feature::InitContainers]))
    };
    let probe = json!({"exec": {"command": ["true"]}});
    for (fields, text) in [
        (json!({"ports": [{"containerPort": 1, "name": "any"}, {"containerPort": 2}]}), ""),
        (json!({"env": [{"name": "PORT"}]}), ""),
        (
            json!({"env": [{"name": "K_SERVICE"}]}),
            "\"K_SERVICE\" is a reserved environment variable: initContainers[0].env[0].name",
        ),
        (
            json!({"ports": [{"containerPort": 1}, {"containerPort": 70000}]}),
            "expected 0 <= 70000 <= 65535: initContainers[0].ports[1].containerPort",
        ),
        (
            json!({"livenessProbe": probe, "readinessProbe": probe, "startupProbe": probe}),
            "field not allowed in an init container: initContainers[0].livenessProbe, \
             initContainers[0].readinessProbe, initContainers[0].startupProbe",
        ),
        (
            json!({"name": "user-container"}),
            "duplicate container name \"user-container\": initContainers[0].name",
        ),
        (json!({"image": ""}), "missing field(s): initContainers[0].image"),
    ] {
        assert_eq!(wrong_if(fields.clone()), text, "{fields}");
    }
}
