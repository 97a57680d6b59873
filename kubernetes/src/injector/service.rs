//! Changes a Service when it is created or changed.
//!
//! The reconciler is authoritative and makes the same changes later: this closes the gap between a client's write and
//! that. Therefore anything uncertain is left to the reconciler.

use ebb_annotations::{ClusterDefaults, keys};
use k8s_openapi::api::core::v1::Service;

use crate::claim::{self, Change, Labels, Verdict};

/// Returns what `new`, which replaces `old` or is created if there is no `old`, should be changed to; `None` leaves
/// it unchanged.
///
/// An existing Service is not *taken* here: Kubernetes would stop publishing its endpoints as soon as its selector is
/// removed. The reconciler publishes Ebb's first.
pub(crate) fn admitted(old: Option<&Service>, new: &Service, defaults: &ClusterDefaults) -> Option<Service> {
    let mut service = new.clone();
    match old {
        None => settle(&mut service, None, defaults),
        Some(old) if is_held(old) => {
            keep(&mut service, old);
            settle(&mut service, held_selector(old, defaults).as_ref(), defaults);
        }
        Some(_) => {}
    }
    (service != *new).then_some(service)
}

/// Returns whether Ebb publishes the Service's endpoints.
fn is_held(service: &Service) -> bool {
    !has_selector(service) && annotation(service, keys::SELECTOR.name).is_some()
}

fn has_selector(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| !selector.is_empty())
}

fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a String> {
    service.metadata.annotations.as_ref()?.get(key)
}

/// Copies what Ebb wrote on `old`: a client that replaces the whole object (`kubectl replace`) does not know it, or
/// has an outdated copy.
fn keep(service: &mut Service, old: &Service) {
    let asks = annotation(service, keys::SCALE_TARGET.name).is_some();
    let is_route = annotation(service, keys::SPLIT.name).is_some();
    let lost_selector =
        annotation(service, keys::SELECTOR.name).is_none() && (asks || !has_selector(service));
    let kept = [
        (keys::SELECTOR.name, lost_selector),
        (keys::ACTIVATOR_PORT.name, asks || is_route),
        (keys::VALID_SPLIT.name, is_route),
        (keys::ROLLOUT.name, is_route),
    ];
    for (key, is_kept) in kept {
        if let (true, Some(value)) = (is_kept, annotation(old, key)) {
            service.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.clone());
        }
    }
}

/// Puts the selector where it belongs. `held` is the one that Ebb keeps.
fn settle(service: &mut Service, held: Option<&Labels>, defaults: &ClusterDefaults) {
    match claim::read(service, defaults) {
        Verdict::Ours(claim) => Change::take(service, &claim, None).apply(service),
        Verdict::Released(selector) => Change::give_back(service, &selector).apply(service),
        Verdict::Route(_) => Change::route(service, None, None).apply(service),
        // Applying the same manifest again must be harmless for an invalid Service as well.
        Verdict::Refused(_) => {
            if let Some(spec) =
                service.spec.as_mut().filter(|spec| held.is_some() && spec.selector.as_ref() == held)
            {
                spec.selector = None;
            }
        }
        Verdict::NotOurs => {}
    }
}

/// Returns the selector that is kept for a Service of Ebb's.
fn held_selector(service: &Service, defaults: &ClusterDefaults) -> Option<Labels> {
    match claim::read(service, defaults) {
        Verdict::Ours(claim) => Some(claim.selector),
        Verdict::Refused(refused) => Some(refused.rest?.selector),
        Verdict::Released(selector) => Some(selector),
        Verdict::NotOurs | Verdict::Route(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::claim::fixtures::service;

    const TARGET: &str = "Deployment/hello";

    fn plain() -> Service {
        service(&json!({}), &json!({}))
    }

    fn asking() -> Service {
        service(&json!({"ebb.dev/scale-target": TARGET}), &json!({}))
    }

    /// Returns a held Service with one more annotation.
    fn held_with(key: &str, value: &str) -> Service {
        let annotations = json!({
            "ebb.dev/scale-target": TARGET, "ebb.dev/selector": "app=hello", "ebb.dev/activator-port": "10001",
            key: value,
        });
        service(&annotations, &json!({"selector": null}))
    }

    fn held() -> Service {
        held_with("more", "x")
    }

    fn admit(old: Option<&Service>, new: &Service) -> Option<Service> {
        admitted(old, new, &ClusterDefaults::default())
    }

    fn shape(service: &Service) -> (Value, Option<&str>, Option<&str>) {
        let selector = json!(service.spec.as_ref().unwrap().selector);
        let text = |key| annotation(service, key).map(String::as_str);
        (selector, text("ebb.dev/selector"), text("ebb.dev/activator-port"))
    }

    #[test]
    fn a_new_service_that_asks_gives_its_selector_away() {
        let taken = admit(None, &asking()).unwrap();
        assert_eq!(shape(&taken), (Value::Null, Some("app=hello"), None));
        assert_eq!(admit(None, &taken), None, "one that comes back from a backup is as it should be");
        assert_eq!(admit(None, &plain()), None);
    }

    #[test]
    fn a_service_that_begins_to_ask_is_left_to_the_reconciler() {
        assert_eq!(admit(Some(&plain()), &asking()), None);
        assert_eq!(admit(Some(&asking()), &asking()), None);
    }

    #[test]
    fn applying_the_manifest_again_changes_nothing() {
        // `kubectl apply` keeps annotations that it does not know, and restores the selector.
        let mut applied = held();
        applied.spec.as_mut().unwrap().selector = Some([("app".to_owned(), "hello".to_owned())].into());
        assert_eq!(admit(Some(&held()), &applied), Some(held()));
        // `kubectl replace` does not keep them.
        let replaced = service(&json!({"ebb.dev/scale-target": TARGET, "more": "x"}), &json!({}));
        assert_eq!(admit(Some(&held()), &replaced), Some(held()));
        // A client that read the object, and wrote it back with only its own annotations.
        let rewritten =
            service(&json!({"ebb.dev/scale-target": TARGET, "more": "x"}), &json!({"selector": null}));
        assert_eq!(admit(Some(&held()), &rewritten), Some(held()));
        // An old copy of the whole object.
        assert_eq!(
            admit(Some(&held()), &held_with("ebb.dev/activator-port", "7"))
                .map(|s| shape(&s).2.map(str::to_owned)),
            Some(Some("10001".to_owned()))
        );
    }

    #[test]
    fn a_selector_that_the_user_changes_is_taken_over() {
        let selector = json!({"selector": {"app": "other"}});
        let changed = service(&json!({"ebb.dev/scale-target": TARGET}), &selector);
        let admitted = admit(Some(&held()), &changed).unwrap();
        assert_eq!(shape(&admitted), (Value::Null, Some("app=other"), Some("10001")));
    }

    #[test]
    fn a_service_that_asks_no_more_gets_its_selector_back() {
        let own = json!({"app": "hello"});
        // The scale target is removed, and Ebb's annotations stay.
        let mut released = held();
        released.metadata.annotations.as_mut().unwrap().remove("ebb.dev/scale-target");
        assert_eq!(shape(&admit(Some(&held()), &released).unwrap()), (own.clone(), None, None));
        // All annotations and the selector are removed.
        let emptied = service(&json!({}), &json!({"selector": null}));
        assert_eq!(shape(&admit(Some(&held()), &emptied).unwrap()), (own, None, None));
        // The previous manifest.
        assert_eq!(admit(Some(&held()), &plain()), None);
    }

    #[test]
    fn a_service_at_fault_stays_as_it_is_held() {
        let fault = ("autoscaling.knative.dev/target", "many");
        let faulty = held_with(fault.0, fault.1);
        let replaced = service(&json!({"ebb.dev/scale-target": TARGET, fault.0: fault.1}), &json!({}));
        assert_eq!(admit(Some(&faulty), &replaced), Some(faulty.clone()));
        // A Service that was never held is left unchanged.
        assert_eq!(admit(None, &replaced), None);
        let other = json!({"selector": {"app": "other"}});
        let replaced = service(&json!({"ebb.dev/scale-target": TARGET, fault.0: fault.1}), &other);
        let admitted = admit(Some(&faulty), &replaced).unwrap();
        assert_eq!(shape(&admitted).0, json!({"app": "other"}), "the user's own word is not thrown away");
    }

    #[test]
    fn other_changes_pass() {
        assert_eq!(admit(Some(&held()), &held_with("more", "y")), None);
    }
}
