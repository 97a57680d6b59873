//! Validates the annotations of a Service on admission, and reports all faults at once.

use ebb_annotations::ClusterDefaults;
use ebb_core::ServiceKey;
use k8s_openapi::api::core::v1::Service;

use crate::claim::{self, Refused, Verdict};

/// The answer for a Service that is created or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Why it is refused, one fault per line; `None` admits it.
    pub(crate) refused: Option<String>,
    /// Warnings about annotations that have no effect.
    pub(crate) warnings: Vec<String>,
}

/// Judges `new`, which replaces `old`, or is created if there is no `old`.
///
/// Faults that `old` has already are accepted: for example, a finalizer must be removable from a Service that was
/// created while the webhook was away. `is_route` returns whether a Service is a route, to which no other route may
/// send requests.
pub(crate) fn judge(
    old: Option<&Service>,
    new: &Service,
    defaults: &ClusterDefaults,
    is_route: impl Fn(&ServiceKey) -> bool,
) -> Judgement {
    if new.metadata.deletion_timestamp.is_some() {
        return Judgement::default();
    }
    match read(new, defaults, &is_route) {
        Verdict::NotOurs | Verdict::Released(_) => Judgement::default(),
        Verdict::Ours(claim) => Judgement { refused: None, warnings: claim.warnings },
        Verdict::Route(route) => Judgement { refused: None, warnings: route.warnings },
        Verdict::Refused(refused) => {
            let before = old.map(|old| reasons(old, defaults, &is_route)).unwrap_or_default();
            if refused.reasons.iter().all(|reason| before.contains(reason)) {
                return Judgement { refused: None, warnings: refused.reasons };
            }
            let key = claim::key(new);
            let faults = refused.reasons.join("\n");
            let annotations = new.metadata.annotations.as_ref();
            let what = if annotations.is_some_and(ebb_annotations::is_route) {
                "divide the requests of"
            } else {
                "scale"
            };
            let text = format!("Ebb cannot {what} Service {key}, because of its annotations:\n{faults}");
            Judgement { refused: Some(text), warnings: Vec::new() }
        }
    }
}

/// Reads what `service` requests, and refuses routes that send requests to routes.
fn read(service: &Service, defaults: &ClusterDefaults, is_route: impl Fn(&ServiceKey) -> bool) -> Verdict {
    let verdict = claim::read(service, defaults);
    let Verdict::Route(route) = &verdict else { return verdict };
    let namespace = &route.front.key.namespace;
    let names = route.spec.split.iter().map(|share| &share.service);
    let of_routes = names.filter(|name| is_route(&ServiceKey::new(namespace.clone(), (*name).clone())));
    let fault = |name| {
        format!("ebb.dev/split: {name:?} is a route itself; want the Services that it sends requests to")
    };
    let reasons: Vec<String> = of_routes.map(fault).collect();
    if reasons.is_empty() { verdict } else { Verdict::Refused(Refused { reasons, rest: None, route: None }) }
}

fn reasons(
    service: &Service,
    defaults: &ClusterDefaults,
    is_route: impl Fn(&ServiceKey) -> bool,
) -> Vec<String> {
    match read(service, defaults, is_route) {
        Verdict::Refused(refused) => refused.reasons,
        Verdict::NotOurs | Verdict::Released(_) | Verdict::Ours(_) | Verdict::Route(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::claim::fixtures::service;

    fn with(annotations: &Value, spec: &Value) -> Service {
        let mut all = json!({"ebb.dev/scale-target": "Deployment/hello"});
        for (key, value) in annotations.as_object().unwrap() {
            all[key] = value.clone();
        }
        service(&all, spec)
    }

    fn judged(old: Option<&Service>, new: &Service) -> Judgement {
        judge(old, new, &ClusterDefaults::default(), |key| key.name == "other")
    }

    #[test]
    fn a_route_to_a_route_is_refused() {
        let route = |split| service(&json!({"ebb.dev/split": split}), &json!({"selector": null}));
        let (good, bad) = (route("v1=90, v2=10"), route("v1=90, other=10"));
        assert_eq!(judged(None, &good), Judgement::default());
        let refused = judged(Some(&good), &bad).refused.unwrap();
        assert!(refused.contains("\"other\" is a route itself"), "{refused}");
        assert!(refused.contains("cannot divide the requests of Service shop/hello"), "{refused}");
        assert_eq!(judged(Some(&bad), &bad).refused, None, "what was so may stay so");
    }

    #[test]
    fn all_faults_are_told_in_one_message() {
        let faulty = with(
            &json!({"autoscaling.knative.dev/target": "many", "ebb.dev/sidecar": "big"}),
            &json!({"clusterIP": "None"}),
        );
        let message = judged(None, &faulty).refused.unwrap();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines.len(), 4, "{message}");
        for (line, word) in lines.iter().zip(["shop/hello", "target", "sidecar", "headless"]) {
            assert!(line.contains(word), "{message}");
        }
    }

    #[test]
    fn what_has_no_effect_is_a_warning() {
        let judgement = judged(None, &with(&json!({"ebb.dev/sidecars": "native"}), &json!({})));
        assert_eq!(judgement.refused, None);
        assert_eq!(judgement.warnings.len(), 1);
        assert!(judgement.warnings[0].contains("did you mean ebb.dev/sidecar?"), "{judgement:?}");
        assert_eq!(judged(None, &with(&json!({}), &json!({}))), Judgement::default());
        assert_eq!(
            judged(None, &service(&json!({"autoscaling.knative.dev/target": "x"}), &json!({}))),
            Judgement::default()
        );
    }

    #[test]
    fn what_was_at_fault_before_may_be_changed_otherwise() {
        let one = with(&json!({"autoscaling.knative.dev/target": "many"}), &json!({}));
        let two =
            with(&json!({"autoscaling.knative.dev/target": "many", "ebb.dev/sidecar": "big"}), &json!({}));
        let other = with(&json!({"autoscaling.knative.dev/target": "few"}), &json!({}));
        let good = with(&json!({}), &json!({}));
        for (old, new, passes) in [
            (None, &one, false),
            (Some(&good), &one, false),
            (Some(&one), &one, true),
            (Some(&two), &one, true),
            (Some(&one), &two, false),
            (Some(&one), &other, false),
            (Some(&one), &good, true),
        ] {
            assert_eq!(judged(old, new).refused.is_none(), passes, "{old:?} to {new:?}");
        }
        assert_eq!(judged(Some(&one), &one).warnings.len(), 1, "it is said again");
        let mut going = one;
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(judged(Some(&good), &going), Judgement::default());
    }
}
