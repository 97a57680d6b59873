//! Tools that reset objects to a repository's content, and the rules that make them leave Ebb's fields alone.

use kube::core::ObjectMeta;

/// A tool that resets objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    ArgoCd,
    FluxKustomization,
    FluxHelmRelease,
}

impl Tool {
    /// Returns the tool whose mark an object has.
    pub(super) fn of(metadata: &ObjectMeta) -> Option<Self> {
        let marks = [&metadata.labels, &metadata.annotations];
        let has =
            |key: &str| marks.iter().any(|marks| marks.as_ref().is_some_and(|marks| marks.contains_key(key)));
        if has("argocd.argoproj.io/instance") || has("argocd.argoproj.io/tracking-id") {
            Some(Self::ArgoCd)
        } else if has("kustomize.toolkit.fluxcd.io/name") {
            Some(Self::FluxKustomization)
        } else if has("helm.toolkit.fluxcd.io/name") {
            Some(Self::FluxHelmRelease)
        } else {
            None
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ArgoCd => "Argo CD",
            Self::FluxKustomization | Self::FluxHelmRelease => "Flux",
        }
    }

    /// Returns the rule to copy, for the Service `service` and its scale target of that `group`, `kind` and
    /// `name`.
    pub(super) fn rule(self, service: &str, group: &str, kind: &str, name: &str) -> String {
        match self {
            Self::ArgoCd => format!(
                "unless its Application has it already:\n\
                 spec:\n  \
                   ignoreDifferences:\n    \
                     - {{group: {group}, kind: {kind}, name: {name}, jsonPointers: [/spec/replicas]}}\n    \
                     - {{kind: Service, name: {service}, jsonPointers: [/spec/selector]}}\n  \
                   syncPolicy:\n    \
                     syncOptions: [RespectIgnoreDifferences=true]"
            ),
            Self::FluxKustomization => format!(
                "unless it is so already, leave spec.replicas out of the manifest of {kind}/{name}: Flux writes only what the manifest says \
                 (the Service may stay as it is: what Flux applies is changed on its way in)"
            ),
            Self::FluxHelmRelease => format!(
                "unless it is so already, have the chart leave spec.replicas out (often a value such as autoscaling.enabled: true), or, where \
                 drift is corrected, in the HelmRelease:\n\
                 spec:\n  \
                   driftDetection:\n    \
                     ignore:\n      \
                       - {{target: {{kind: {kind}, name: {name}}}, paths: [/spec/replicas]}}\n      \
                       - {{target: {{kind: Service, name: {service}}}, paths: [/spec/selector]}}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tools_are_known_by_their_marks() {
        let tool = |metadata: Value| Tool::of(&serde_json::from_value(metadata).unwrap());
        for (metadata, wanted) in [
            (json!({"labels": {"argocd.argoproj.io/instance": "shop"}}), Some(Tool::ArgoCd)),
            (json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps"}}), Some(Tool::ArgoCd)),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}), Some(Tool::FluxKustomization)),
            (json!({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}), Some(Tool::FluxHelmRelease)),
            (json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}}), None),
        ] {
            assert_eq!(tool(metadata.clone()), wanted, "{metadata}");
        }
    }

    #[test]
    fn the_rules_are_yaml_to_copy() {
        for tool in [Tool::ArgoCd, Tool::FluxHelmRelease] {
            let rule = tool.rule("web", "apps", "Deployment", "hello");
            let yaml = &rule[rule.find("spec:\n").unwrap()..];
            let rule: Value = serde_saphyr::from_str(yaml).unwrap();
            let text = rule.to_string();
            assert!(text.contains("/spec/replicas") && text.contains("/spec/selector"), "{text}");
        }
    }
}
