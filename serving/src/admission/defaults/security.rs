//! Rights that a container does not get unless it asks for them (`secure-pod-defaults`).

use serde_json::Value;

use crate::{
    api::{Capabilities, Container, RevisionSpec},
    config::SecureDefaults,
};

/// The last port that needs a right to listen on.
const LAST_LOW_PORT: i32 = 1023;

/// What the pod itself says, so that its containers need not.
struct Pod {
    has_seccomp: bool,
    has_non_root: bool,
}

/// Takes rights from the containers, as far as `mode` does and they say nothing themselves.
pub(super) fn secure(spec: &mut RevisionSpec, mode: SecureDefaults) {
    if mode == SecureDefaults::Disabled {
        return;
    }
    let pod = pod(spec.security_context.as_ref());
    for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
        bound(container, &pod);
        let context = container.security_context.get_or_insert_default();
        if mode == SecureDefaults::Enabled && !pod.has_non_root {
            context.run_as_non_root = context.run_as_non_root.or(Some(true));
        }
    }
}

fn pod(context: Option<&Value>) -> Pod {
    let at = |pointer: &str| context.and_then(|context| context.pointer(pointer));
    let seccomp = at("/seccompProfile/type").and_then(Value::as_str).unwrap_or_default();
    Pod { has_seccomp: !seccomp.is_empty(), has_non_root: at("/runAsNonRoot").is_some_and(Value::is_boolean) }
}

/// Takes the rights that root in a container does not need.
fn bound(container: &mut Container, pod: &Pod) {
    let has_low_port = container.ports.iter().filter_map(|port| port.container_port).any(is_low);
    let context = container.security_context.get_or_insert_default();
    context.allow_privilege_escalation = context.allow_privilege_escalation.or(Some(false));
    let has_seccomp = context.seccomp_profile.as_ref().is_some_and(|profile| !profile.type_.is_empty());
    if !pod.has_seccomp && !has_seccomp {
        "RuntimeDefault".clone_into(&mut context.seccomp_profile.get_or_insert_default().type_);
    }
    context.capabilities.get_or_insert_with(|| Capabilities {
        add: has_low_port.then(|| "NET_BIND_SERVICE".to_owned()).into_iter().collect(),
        drop: vec!["ALL".to_owned()],
    });
}

/// Returns whether listening on the port needs a right. 0 stands for the default port, which needs none.
fn is_low(port: i32) -> bool {
    (1..=LAST_LOW_PORT).contains(&port)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secured(pod: &Value, container: &Value, mode: SecureDefaults) -> Value {
        let spec = json!({"securityContext": pod, "containers": [container]});
        let mut spec: RevisionSpec = serde_json::from_value(spec).unwrap();
        secure(&mut spec, mode);
        serde_json::to_value(&spec.containers[0].security_context).unwrap()
    }

    #[test]
    fn rights_are_taken_from_containers_that_say_nothing() {
        let bounded = json!({
            "allowPrivilegeEscalation": false, "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"]},
        });
        let mut not_root = bounded.clone();
        not_root["runAsNonRoot"] = json!(true);
        let mut low = bounded.clone();
        low["capabilities"]["add"] = json!(["NET_BIND_SERVICE"]);
        let mut of_pod = bounded.clone();
        of_pod.as_object_mut().unwrap().remove("seccompProfile");
        let own = json!({
            "allowPrivilegeEscalation": true, "seccompProfile": {"type": "Unconfined"}, "capabilities": {},
            "runAsNonRoot": false,
        });
        let (none, bare) = (json!({}), json!({}));
        let (bounded_root, enabled) = (SecureDefaults::AllowRootBounded, SecureDefaults::Enabled);
        for (pod, container, mode, wanted) in [
            (&none, &bare, SecureDefaults::Disabled, Value::Null),
            (&none, &bare, bounded_root, bounded.clone()),
            (&none, &bare, enabled, not_root.clone()),
            (&json!({"runAsNonRoot": false}), &bare, enabled, bounded.clone()),
            (&json!({"seccompProfile": {"type": "Unconfined"}}), &bare, bounded_root, of_pod),
            (&json!({"seccompProfile": {}}), &bare, bounded_root, bounded.clone()),
            (&none, &json!({"securityContext": own}), enabled, own.clone()),
            (&none, &json!({"securityContext": {"seccompProfile": {"type": ""}}}), enabled, not_root),
            (&none, &json!({"ports": [{"containerPort": 1023}]}), bounded_root, low),
            (&none, &json!({"ports": [{"containerPort": 1024}]}), bounded_root, bounded.clone()),
            (&none, &json!({"ports": [{"containerPort": 0}]}), bounded_root, bounded.clone()),
            (&none, &json!({"ports": [{}]}), bounded_root, bounded),
        ] {
            assert_eq!(secured(pod, container, mode), wanted, "{pod} {container}");
        }
    }

    #[test]
    fn containers_that_prepare_are_bounded_too() {
        let spec = json!({"containers": [], "initContainers": [{}]});
        let mut spec: RevisionSpec = serde_json::from_value(spec).unwrap();
        secure(&mut spec, SecureDefaults::AllowRootBounded);
        let context = spec.init_containers[0].security_context.as_ref().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false));
    }
}
