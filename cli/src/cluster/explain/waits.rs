//! Why requests to a service wait, or would: what is missing between them and a pod.

use crate::cluster::{
    bound::{Bound, TargetState, asks},
    count,
    trouble::{self, Trouble},
};

/// The parts of Ebb around a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) is_autoscaler_away: bool,
    /// Connected activators; `None` if unknown.
    pub(super) activators: Option<f64>,
    /// Whether the API server knows the authority of Ebb's webhooks.
    pub(super) is_webhook_known: bool,
}

/// Returns all reasons, the most important first.
pub(super) fn reasons(bound: &Bound, around: &Around) -> Vec<Trouble> {
    let mut reasons = Vec::new();
    if !asks(&bound.service) {
        return reasons;
    }
    reasons.extend(of_annotations(bound));
    if around.is_autoscaler_away {
        reasons
            .push(trouble("the autoscaler is unavailable: no pod is added for held requests", "ebb check"));
    }
    if around.activators == Some(0.0) {
        let what = "no activator is connected: while there is no pod, requests fail";
        reasons.push(trouble(what, "ebb check"));
    }
    reasons.extend(of_target(bound));
    reasons.extend(bound.current_pods().filter_map(trouble::of_pod));
    let bare = bound.bare_pods();
    if bare > 0 {
        let why = if around.is_webhook_known {
            "they were created before the annotation, or while the webhook was unavailable"
        } else {
            "the API server does not know Ebb's webhooks' authority"
        };
        reasons.push(Trouble {
            what: format!(
                "{} without a sidecar, which would tell when the app is ready: Ebb waits until Kubernetes marks them \
                 as ready, up to a second longer; {why}",
                count(bare, "pod")
            ),
            todo: if around.is_webhook_known { restart(bound) } else { "ebb check".to_owned() },
        });
    }
    reasons
}

fn of_annotations(bound: &Bound) -> Vec<Trouble> {
    let faults = bound.parsed.as_ref().err().into_iter().flatten();
    faults
        .map(|fault| trouble(&format!("its settings are invalid: {fault}"), "correct the annotation"))
        .collect()
}

fn of_target(bound: &Bound) -> Option<Trouble> {
    let target = bound.target.as_ref()?;
    let named = &target.named;
    match &target.state {
        TargetState::Found(object) => trouble::of_target(&object.data),
        TargetState::Missing => Some(trouble(
            &format!("ebb.dev/scale-target: {named} does not exist"),
            "create it in the Service's namespace, or name an existing one",
        )),
        TargetState::NoSuchKind => Some(trouble(
            &format!("the cluster has no kind {} with a scale subresource", named.kind),
            "name a Deployment, a StatefulSet, or another kind that can be scaled",
        )),
        TargetState::Unread(failure) => Some(trouble(&failure.to_string(), "use a context that may read it")),
    }
}

fn restart(bound: &Bound) -> String {
    let namespace = bound.service.metadata.namespace.as_deref().unwrap_or_default();
    match &bound.target {
        Some(target) => {
            let named = target.named.to_string().to_lowercase();
            format!("kubectl --namespace {namespace} rollout restart {named}")
        }
        None => "replace the pods".to_owned(),
    }
}

fn trouble(what: &str, todo: &str) -> Trouble {
    Trouble { what: what.to_owned(), todo: todo.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::bound::tests::{bound, pod};

    const WELL: Around = Around { is_autoscaler_away: false, activators: Some(2.0), is_webhook_known: true };

    #[track_caller]
    fn assert_reasons(bound: &Bound, around: Around, wanted: &[&str]) {
        let reasons = reasons(bound, &around);
        assert_eq!(reasons.len(), wanted.len(), "{reasons:#?}");
        for (reason, part) in reasons.iter().zip(wanted) {
            let text = format!("{} → {}", reason.what, reason.todo);
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }

    #[test]
    fn where_all_is_well_nothing_is_waited_for() {
        assert_reasons(&bound(json!({})), WELL, &[]);
        assert_reasons(&bound(json!({})), Around { activators: None, ..WELL }, &[]);
    }

    #[test]
    fn what_is_away_is_named() {
        let around = Around { is_autoscaler_away: true, activators: Some(0.0), ..WELL };
        assert_reasons(
            &bound(json!({})),
            around,
            &["the autoscaler is unavailable", "no activator is connected"],
        );
    }

    #[test]
    fn pods_that_do_not_start_and_targets_that_are_not_there() {
        let mut waiting = bound(json!({"autoscaling.knative.dev/target": "x"}));
        waiting.pods = vec![pod(true, false)];
        assert_reasons(&waiting, WELL, &["its settings are invalid", "its readiness probe"]);
        let mut missing = bound(json!({}));
        missing.target.as_mut().unwrap().state = TargetState::Missing;
        assert_reasons(&missing, WELL, &["Deployment/hello does not exist"]);
    }

    #[test]
    fn a_quota_that_forbids_pods_is_named() {
        let mut refused = bound(json!({}));
        if let Some(TargetState::Found(object)) = refused.target.as_mut().map(|target| &mut target.state) {
            object.data["status"] = json!({"conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
            ]});
        }
        assert_reasons(&refused, WELL, &["exceeded quota: small"]);
    }

    #[test]
    fn why_there_is_no_sidecar_depends_on_the_webhook() {
        let mut bare = bound(json!({}));
        bare.pods = vec![pod(false, true)];
        assert_reasons(&bare, WELL, &["rollout restart deployment/hello"]);
        assert_reasons(&bare, Around { is_webhook_known: false, ..WELL }, &["authority → ebb check"]);
    }
}
