use ebb_annotations::ClusterDefaults;
use ebb_decide::route::rollout::Progress;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{Change, Claim, Verdict, progress, read};

fn service(annotations: &Value, spec: &Value) -> Service {
    let mut all = json!({
        "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "ports": [{"port": 80, "targetPort": 8080}],
        "selector": {"app": "hello"},
    });
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(json!({
        "metadata": {
            "name": "hello", "namespace": "shop", "uid": "1", "resourceVersion": "7", "annotations": annotations,
        },
        "spec": all,
    }))
    .unwrap()
}

fn asking(spec: &Value) -> Service {
    service(&json!({"ebb.dev/scale-target": "Deployment/hello"}), spec)
}

fn verdict(service: &Service) -> Verdict {
    read(service, &ClusterDefaults::default())
}

fn ours(service: &Service) -> Claim {
    match verdict(service) {
        Verdict::Ours(claim) => *claim,
        other => panic!("{other:?}"),
    }
}

fn reasons(service: &Service) -> Vec<String> {
    match verdict(service) {
        Verdict::Refused(refused) => refused.reasons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_that_does_not_ask_is_left_alone() {
    assert_eq!(verdict(&service(&json!({}), &json!({}))), Verdict::NotOurs);
    assert_eq!(
        verdict(&service(&json!({"autoscaling.knative.dev/target": "x"}), &json!({}))),
        Verdict::NotOurs
    );
}

#[test]
fn a_service_that_asks_gives_its_selector_away_and_gets_it_back() {
    let before = asking(&json!({}));
    let claim = ours(&before);
    assert!(claim.selector_in_place);
    let mut taken = before.clone();
    Change::take(&before, &claim, Some(10_001)).apply(&mut taken);
    let after = ours(&taken);
    assert!(!after.selector_in_place);
    assert_eq!((after.selector.clone(), after.activator_port.map(u16::from)), (claim.selector, Some(10_001)));
    assert!(Change::take(&taken, &after, Some(10_001)).is_empty(), "nothing is written twice");

    taken.metadata.annotations.as_mut().unwrap().remove("ebb.dev/scale-target");
    let Verdict::Released(selector) = verdict(&taken) else { panic!() };
    let mut back = taken.clone();
    Change::give_back(&taken, &selector).apply(&mut back);
    before.spec.clone_into(&mut taken.spec);
    assert_eq!(back.spec, before.spec);
    assert_eq!(verdict(&back), Verdict::NotOurs);
}

#[test]
fn applying_the_unchanged_manifest_again_is_taken_back_to_what_was() {
    let mut taken = asking(&json!({}));
    let claim = ours(&taken);
    Change::take(&taken.clone(), &claim, Some(10_001)).apply(&mut taken);
    let mut again = taken.clone();
    again.spec.as_mut().unwrap().selector = Some([("app".to_owned(), "hello".to_owned())].into());
    let claim = ours(&again);
    Change::take(&again.clone(), &claim, Some(10_001)).apply(&mut again);
    assert_eq!(again, taken);
}

#[test]
fn a_selector_that_the_user_changes_counts() {
    let mut taken = asking(&json!({}));
    let claim = ours(&taken);
    Change::take(&taken.clone(), &claim, None).apply(&mut taken);
    taken.spec.as_mut().unwrap().selector = Some([("app".to_owned(), "other".to_owned())].into());
    assert_eq!(ours(&taken).selector, [("app".to_owned(), "other".to_owned())].into());
}

#[test]
fn the_merge_patch_holds_for_one_version_and_removes_what_is_to_go() {
    let before = asking(&json!({}));
    let patch = Change::take(&before, &ours(&before), Some(10_001)).merge_patch(&before);
    assert_eq!(
        patch,
        json!({
            "metadata": {"resourceVersion": "7", "annotations": {
                "ebb.dev/selector": "app=hello", "ebb.dev/activator-port": "10001",
            }},
            "spec": {"selector": null},
        })
    );
    let selector = [("tier".to_owned(), "web".to_owned())].into();
    let back = Change::give_back(&before, &selector).merge_patch(&before);
    assert_eq!(back["spec"], json!({"selector": {"app": null, "tier": "web"}}));
}

#[test]
fn services_without_endpoints_of_ebbs_are_refused_with_the_reason() {
    for (spec, word) in [
        (json!({"type": "ExternalName", "externalName": "x"}), "ExternalName"),
        (json!({"clusterIP": "None"}), "headless"),
        (json!({"selector": {}}), "no selector"),
        (json!({"selector": null}), "no selector"),
        (json!({"internalTrafficPolicy": "Local"}), "internalTrafficPolicy"),
        (json!({"ports": [{"port": 53, "protocol": "UDP"}]}), "TCP"),
    ] {
        let reasons = reasons(&asking(&spec));
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].contains(word), "{spec}: {reasons:?}");
    }
}

#[test]
fn all_faults_are_told_at_once_those_of_the_object_among_them() {
    let annotations = json!({
        "ebb.dev/scale-target": "Deployment/hello", "autoscaling.knative.dev/target": "many",
        "autoscaling.knative.dev/window": "1s",
    });
    let reasons = reasons(&service(&annotations, &json!({"clusterIP": "None"})));
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
fn a_service_that_is_ours_already_is_served_by_what_is_not_at_fault() {
    let annotations = json!({
        "ebb.dev/scale-target": "Deployment/hello", "ebb.dev/selector": "app=hello",
        "autoscaling.knative.dev/target": "many", "autoscaling.knative.dev/max-scale": "3",
    });
    let held = service(&annotations, &json!({"selector": null}));
    let Verdict::Refused(refused) = verdict(&held) else { panic!() };
    let rest = refused.rest.unwrap();
    assert_eq!(rest.spec.max_scale.map(u32::from), Some(3));
    assert_eq!(refused.reasons.len(), 1);
    // An invalid one is left unchanged.
    let Verdict::Refused(refused) = verdict(&service(&annotations, &json!({}))) else { panic!() };
    assert_eq!(refused.rest, None);
}

#[test]
fn what_ebb_did_not_write_of_a_rollout_is_warned_of_and_has_no_effect() {
    let written = r#"{"to":"v1=1"}"#;
    for (text, warnings) in [(written, 0), ("half", 1), ("", 1)] {
        let annotations = json!({"ebb.dev/split": "v1", "ebb.dev/rollout": text});
        let route = service(&annotations, &json!({"selector": null}));
        let Verdict::Route(claim) = verdict(&route) else { panic!("{text}") };
        assert_eq!(claim.warnings.len(), warnings, "{:?}", claim.warnings);
        assert_eq!(
            progress(&route).as_ref().map(Progress::text).as_deref(),
            (warnings == 0).then_some(written)
        );
    }
}

#[test]
fn what_needed_a_dropped_annotation_is_dropped_as_well_and_a_rollout_stays_where_it_is() {
    let refused = |more: &Value| {
        let mut annotations = json!({"ebb.dev/split": "v1", "ebb.dev/valid-split": "v1"});
        annotations.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let service = service(&annotations, &json!({"selector": null}));
        match read(&service, &ClusterDefaults::default()) {
            Verdict::Refused(super::Refused { route: Some(route), .. }) => route,
            other => panic!("{other:?}"),
        }
    };
    let hosts = refused(&json!({"ebb.dev/hosts": "Hello.com", "ebb.dev/tls-secret": "x"}));
    assert_eq!(hosts.front.exposure, ebb_annotations::Exposure::default());
    let secret = refused(&json!({
        "ebb.dev/hosts": "a.com", "ebb.dev/tls-secret": "No Name", "ebb.dev/https-redirect": "true",
    }));
    assert_eq!(secret.front.exposure.hosts.len(), 1);
    let pace = json!({"ebb.dev/split-duration": "10 minutes", "ebb.dev/rollout": "{}"});
    assert!(refused(&pace).spec.rollout_paused);
    assert!(!refused(&json!({"ebb.dev/split-duration": "10 minutes"})).spec.rollout_paused);
}
