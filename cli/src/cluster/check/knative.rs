//! Checks that Knative's own controllers do not run beside Ebb's: both would answer for the same objects.

use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apps::v1::Deployment,
};
use kube::Api;

use crate::cluster::{Cluster, Failure, finding::Finding};

const CHECK: &str = "knative";
const NAMESPACE: &str = "knative-serving";
/// Those of Knative's Deployments that write or refuse objects.
const PROGRAMS: [&str; 2] = ["controller", "webhook"];
const MUTATING: [&str; 1] = ["webhook.serving.knative.dev"];
const VALIDATING: [&str; 2] =
    ["validation.webhook.serving.knative.dev", "config.webhook.serving.knative.dev"];

/// What to do about it.
pub(crate) const TODO: &str = "keep one of the two. To keep Ebb's: scale Knative's Deployments in knative-serving to 0, \
and delete its webhook configurations (…webhook.serving.knative.dev); ksvcs stay. To keep Knative's: apply \
its CustomResourceDefinitions again, so that ksvcs stay, then `ebb uninstall --serving`";

/// Returns what there is of Knative's own, in words; empty if it does not run.
pub(crate) async fn beside(cluster: &Cluster) -> Result<Vec<String>, Failure> {
    let mut beside = Vec::new();
    let deployments: Api<Deployment> = cluster.within(NAMESPACE);
    for name in PROGRAMS {
        let found = cluster.find(format!("reading Knative's {name}"), deployments.get(name)).await?;
        if found.is_some_and(|found| found.spec.and_then(|spec| spec.replicas).unwrap_or(1) > 0) {
            beside.push(format!("Deployment {NAMESPACE}/{name}"));
        }
    }
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    for name in MUTATING {
        if cluster.find("reading Knative's webhooks", mutating.get_metadata(name)).await?.is_some() {
            beside.push(format!("MutatingWebhookConfiguration {name}"));
        }
    }
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    for name in VALIDATING {
        if cluster.find("reading Knative's webhooks", validating.get_metadata(name)).await?.is_some() {
            beside.push(format!("ValidatingWebhookConfiguration {name}"));
        }
    }
    Ok(beside)
}

/// Returns the finding about it; `None` if Knative's own controllers do not run.
pub(super) async fn check(cluster: &Cluster) -> Option<Finding> {
    match beside(cluster).await {
        Ok(beside) if beside.is_empty() => None,
        Ok(beside) => Some(Finding::fault(CHECK, in_words(&beside), TODO)),
        Err(failure) => Some(Finding::unseen(CHECK, &failure)),
    }
}

/// Describes what is wrong with that.
pub(crate) fn in_words(beside: &[String]) -> String {
    format!("Knative's own controllers are on this cluster, for the same objects: {}", beside.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{
        finding::Level,
        test_api::{self, missing},
    };

    #[tokio::test]
    async fn knatives_own_are_named_unless_they_are_scaled_to_zero() {
        let (cluster, _) = test_api::cluster(|asked| {
            let deployment =
                |replicas: u32| json!({"spec": {"replicas": replicas, "selector": {}, "template": {}}});
            match asked.path.split(['/', '?']).next_back() {
                Some("controller") => (200, deployment(1)),
                Some("webhook") => (200, deployment(0)),
                Some("webhook.serving.knative.dev") => (200, json!({"metadata": {}})),
                _ => missing(),
            }
        });
        let finding = check(&cluster).await.unwrap();
        assert_eq!(finding.level, Level::Fault);
        let named =
            "Deployment knative-serving/controller, MutatingWebhookConfiguration webhook.serving.knative.dev";
        assert!(finding.what.ends_with(named), "{finding:?}");

        let (cluster, _) = test_api::cluster(|_| missing());
        assert_eq!(check(&cluster).await, None);
    }
}
