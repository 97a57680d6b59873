//! What authors of templates are warned of. Paths begin in the template.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use serde_json::Value;

use super::{
    defaults::written::is_owned,
    fault::{Faults, HERE},
};
use crate::{
    api::{Capabilities, Container, RevisionSpec, RevisionTemplate},
    config::{Config, SecureDefaults},
};

/// Keys of the share of the sidecar, which is deprecated.
const PERCENTAGES: [&str; 2] = [
    "queue.sidecar.serving.knative.dev/resource-percentage",
    "queue.sidecar.serving.knative.dev/resourcePercentage",
];

/// Warns of the template of `parent`.
///
/// Each template is warned of once: when it is written, or changes. Its author writes the ksvc; the objects that
/// follow from it are not warned of again.
pub(super) fn of_template(
    new: Option<&RevisionTemplate>,
    old: Option<&RevisionTemplate>,
    parent: &ObjectMeta,
    config: &Config,
) -> Faults {
    let Some(new) = new.filter(|_| !is_owned(parent) && new != old) else { return Faults::default() };
    let annotations =
        new.metadata.as_ref().map(|metadata| deprecated(&metadata.annotations)).unwrap_or_default();
    let spec = new.spec.as_ref().filter(|_| config.features.secure_defaults == SecureDefaults::Disabled);
    let spec = spec.map(insecure).unwrap_or_default();
    annotations.and(spec.via_field("spec")).as_warnings()
}

fn deprecated(annotations: &BTreeMap<String, String>) -> Faults {
    let message = "Queue proxy resource percentage annotation is deprecated. Please use the available annotations to \
         explicitly set resource values per service";
    let used = PERCENTAGES.into_iter().filter(|key| annotations.contains_key(*key));
    used.map(|key| Faults::generic(message, HERE).via_key("metadata.annotations", key)).collect()
}

fn insecure(spec: &RevisionSpec) -> Faults {
    let pod = spec.security_context.as_ref();
    let each = spec.containers.iter().enumerate();
    each.map(|(index, container)| of_container(pod, container).via_index("containers", index)).collect()
}

fn of_container(pod: Option<&Value>, container: &Container) -> Faults {
    let nothing = crate::api::SecurityContext::default();
    let context = container.security_context.as_ref().unwrap_or(&nothing);
    let of_pod = |pointer: &str| pod.and_then(|pod| pod.pointer(pointer)).filter(|value| !value.is_null());
    let own_type = context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str());
    let pod_type = of_pod("/seccompProfile")
        .map(|_| of_pod("/seccompProfile/type").and_then(Value::as_str).unwrap_or(""));
    let seccomp = match (own_type, pod_type) {
        (None, None) => Some("seccompProfile"),
        (own, pod) if own.unwrap_or("").is_empty() && pod.unwrap_or("").is_empty() => {
            Some("seccompProfile.type")
        }
        _ => None,
    };
    let capabilities = match &context.capabilities {
        None => Some("capabilities"),
        Some(Capabilities { drop, .. }) if drop.is_empty() => Some("capabilities.drop"),
        Some(_) => None,
    };
    let escalation = context.allow_privilege_escalation.is_none().then_some("allowPrivilegeEscalation");
    let root = context.run_as_non_root.is_none() && of_pod("/runAsNonRoot").is_none();
    let root = root.then_some("runAsNonRoot");
    let insecure = [escalation, capabilities, root, seccomp].into_iter().flatten().map(|field| {
        let message =
            "Kubernetes default value is insecure, Knative may default this to secure in a future release";
        Faults::generic(message, field)
    });
    insecure.collect::<Faults>().and(misspelled(context.capabilities.as_ref())).via_field("securityContext")
}

fn misspelled(capabilities: Option<&Capabilities>) -> Faults {
    let first = capabilities.and_then(|capabilities| capabilities.drop.first());
    let fault =
        |_| Faults::invalid_value("all", "capabilities.drop").with_details("Must be spelled as 'ALL'");
    first.filter(|first| *first == "all").map(fault).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const INSECURE: &str =
        "Kubernetes default value is insecure, Knative may default this to secure in a future release";

    fn template(template: Value) -> RevisionTemplate {
        serde_json::from_value(template).unwrap()
    }

    fn told(
        new: &RevisionTemplate,
        old: Option<&RevisionTemplate>,
        parent: Value,
        config: &Config,
    ) -> Vec<String> {
        let parent = serde_json::from_value(parent).unwrap();
        let faults = of_template(Some(new), old, &parent, config);
        assert_eq!(faults.text(), None);
        faults.warnings()
    }

    #[test]
    fn defaults_that_are_insecure_are_told_by_container() {
        let all = |fields: &[&str]| {
            let paths: Vec<_> =
                fields.iter().map(|field| format!("spec.containers[0].securityContext.{field}")).collect();
            format!("{INSECURE}: {}", paths.join(", "))
        };
        let secure = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        let mut small = secure.clone();
        small["capabilities"]["drop"] = json!(["all"]);
        let spelled = "invalid value: all: spec.containers[0].securityContext.capabilities.drop\nMust be spelled as 'ALL'";
        for (pod, context, wanted) in [
            (
                json!({}),
                json!({}),
                vec![all(&["allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "seccompProfile"])],
            ),
            (
                json!({"runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}}),
                json!({"capabilities": {}}),
                vec![all(&["allowPrivilegeEscalation", "capabilities.drop"])],
            ),
            (
                json!({"seccompProfile": {}}),
                json!({"capabilities": {"drop": ["KILL"]}, "runAsNonRoot": false, "allowPrivilegeEscalation": true}),
                vec![all(&["seccompProfile.type"])],
            ),
            (json!({}), secure, vec![]),
            (json!({}), small, vec![spelled.to_owned()]),
        ] {
            let new = json!({"spec": {"securityContext": pod, "containers": [{"securityContext": context}]}});
            let new = template(new);
            assert_eq!(told(&new, None, json!({}), &Config::default()), wanted);
            let mut strict = Config::default();
            strict.features.secure_defaults = SecureDefaults::AllowRootBounded;
            assert_eq!(told(&new, None, json!({}), &strict), Vec::<String>::new());
        }
    }

    #[test]
    fn a_template_is_warned_of_once() {
        let (new, config) = (template(json!({"spec": {"containers": [{}]}})), Config::default());
        let other = template(json!({"spec": {"containers": [{"image": "app"}]}}));
        assert_eq!(told(&new, None, json!({}), &config).len(), 1);
        assert_eq!(told(&new, Some(&other), json!({}), &config).len(), 1);
        assert_eq!(told(&new, Some(&new), json!({}), &config).len(), 0);
        let owned =
            json!({"ownerReferences": [{"apiVersion": "a", "kind": "Service", "name": "a", "uid": "u"}]});
        assert_eq!(told(&new, None, owned, &config).len(), 0);
    }

    #[test]
    fn a_share_of_the_sidecar_is_deprecated() {
        let new = template(json!({"metadata": {"annotations": {PERCENTAGES[0]: "20"}}}));
        let wanted = format!(
            "Queue proxy resource percentage annotation is deprecated. Please use the available annotations to explicitly \
             set resource values per service: metadata.annotations[{}]",
            PERCENTAGES[0]
        );
        assert_eq!(told(&new, None, json!({}), &Config::default()), [wanted]);
    }
}
