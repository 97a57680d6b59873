use std::num::NonZeroU32;

use super::*;

const PLACE: &str = "metadata.annotations.";
const SCALING: &str = "autoscaling.knative.dev/";
const SIDECAR: &str = "queue.sidecar.serving.knative.dev/";

/// Returns what is wrong with a template whose annotations these are.
fn faults(annotations: &[(&str, &str)], config: &Config) -> Faults {
    let annotations: Value =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let template = json!({"metadata": {"annotations": annotations}, "spec": one(json!({}))});
    template_faults(&serde_json::from_value(template).unwrap(), config)
}

fn text(annotations: &[(&str, &str)], config: &Config) -> String {
    faults(annotations, config).text().unwrap_or_default()
}

/// Returns what is wrong with a template whose annotations for scaling these are.
fn scaling(annotations: &[(&str, &str)], config: &Config) -> String {
    let keys: Vec<String> = annotations.iter().map(|(key, _)| format!("{SCALING}{key}")).collect();
    let full: Vec<_> =
        keys.iter().map(String::as_str).zip(annotations.iter().map(|(_, text)| *text)).collect();
    text(&full, config)
}

#[test]
fn each_setting_for_scaling_has_its_words() {
    let most = i32::MAX;
    for (key, value, message) in [
        ("class", "foo.knative.dev", "invalid value: foo.knative.dev".to_owned()),
        ("metric", "cpu", "invalid value: cpu".to_owned()),
        ("min-scale", "many", "invalid value: many".to_owned()),
        ("min-scale", "-1", format!("expected 0 <= -1 <= {most}")),
        ("maxScale", "3000000000", format!("expected 0 <= 3000000000 <= {most}")),
        ("activation-scale", "x", "invalid value: x".to_owned()),
        ("activation-scale", "1", "activation-scale=1 must be greater than 1".to_owned()),
        ("panic-window-percentage", "0.5", "expected 1 <= 0.5 <= 100".to_owned()),
        ("panic-threshold-percentage", "100", "expected 110 <= 100 <= 1000".to_owned()),
        ("target", "0", "target 0 should be at least 0.01".to_owned()),
        ("targetUtilizationPercentage", "101", "expected 1 <= 101 <= 100".to_owned()),
        ("target-burst-capacity", "-2", "invalid value: -2".to_owned()),
        ("window", "5s", "expected 6s <= 5s <= 1h0m0s".to_owned()),
        ("window", "7", "invalid value: 7".to_owned()),
        ("window", "6500ms", "must be specified with at most second precision".to_owned()),
        ("scale-down-delay", "2h", "expected 0s <= 2h <= 1h0m0s".to_owned()),
        ("scale-down-delay", "1.5s", "must be specified with at most second precision".to_owned()),
        ("scale-to-zero-pod-retention-period", "-1s", "expected 0s <= -1s <= 1h0m0s".to_owned()),
    ] {
        let text = scaling(&[(key, value)], &config(&[]));
        assert_eq!(text, format!("{message}: {PLACE}{SCALING}{key}"), "{key}: {value}");
    }
}

#[test]
fn settings_for_scaling_agree_with_each_other() {
    let at = |key: &str| format!("{PLACE}{SCALING}{key}");
    for (annotations, message) in [
        (
            &[("min-scale", "3"), ("maxScale", "2")][..],
            format!("max-scale=2 is less than min-scale=3: {}, {}", at("max-scale"), at("min-scale")),
        ),
        (
            &[("min-scale", "3"), ("activation-scale", "2")],
            format!("min-scale=3 is greater than activation-scale=2: {}", at("activation-scale")),
        ),
        (
            &[("max-scale", "3"), ("activation-scale", "4")],
            format!("max-scale=3 is less than activation-scale=4: {}", at("activation-scale")),
        ),
        (
            &[("initial-scale", "0")],
            format!("invalid value: 0: {}\nwant an integer of at least 1", at("initial-scale")),
        ),
    ] {
        assert_eq!(scaling(annotations, &config(&[])), message);
    }
}

#[test]
fn the_clusters_limit_holds() {
    let mut limited = Config::default();
    limited.autoscaler.max_scale_limit = NonZeroU32::new(5);
    let at = format!("{PLACE}{SCALING}max-scale");
    for (value, text) in [
        ("5", String::new()),
        ("6", format!("expected 1 <= 6 <= 5: {at}")),
        ("0", format!("max-scale=0 (unlimited), must be less than 5: {at}")),
    ] {
        assert_eq!(scaling(&[("max-scale", value)], &limited), text);
    }
}

#[test]
fn what_only_ebb_refuses_says_why() {
    for (annotations, start) in [
        (
            &[("target", "NaN")][..],
            format!("invalid value: NaN: {PLACE}{SCALING}target\n\"NaN\" is not finite"),
        ),
        (
            &[("class", "hpa.autoscaling.knative.dev")],
            format!("invalid value: hpa.autoscaling.knative.dev: {PLACE}{SCALING}class\n"),
        ),
        (
            &[("min-scale", "1"), ("minScale", "2")],
            format!("invalid value: 1: {PLACE}{SCALING}min-scale\n\"1\" contradicts \"2\""),
        ),
    ] {
        let text = scaling(annotations, &config(&[]));
        assert!(text.starts_with(&start), "{text}");
    }
}

#[test]
fn a_misspelled_setting_is_a_warning() {
    let faults = faults(&[("autoscaling.knative.dev/min_scale", "1"), ("example.com/x", "1")], &config(&[]));
    assert_eq!(faults.text(), None);
    let warnings = faults.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("unknown, has no effect"), "{warnings:?}");
    assert!(warnings[0].ends_with(&format!(": {PLACE}{SCALING}min_scale")), "{warnings:?}");
}

#[test]
fn keys_of_the_network_are_known() {
    let known = [
        "ingress-class",
        "ingress.class",
        "certificate-class",
        "certificate.class",
        "disable-external-domain-tls",
        "disableAutoTLS",
        "disable-auto-tls",
        "http-protocol",
        "httpOption",
    ];
    for key in known {
        assert_eq!(text(&[(&format!("networking.knative.dev/{key}"), "x")], &config(&[])), "");
    }
    let said = text(&[("networking.knative.dev/visibility", "x")], &config(&[]));
    assert_eq!(said, "invalid key name \"networking.knative.dev/visibility\": metadata.annotations");
}

#[test]
fn the_sidecars_resources_are_quantities() {
    for (key, value, message) in [
        ("cpu-resource-request", "100m", None),
        ("memory-resource-limit", "64Mi", None),
        ("cpu-resource-limit", "fast", Some("invalid value: fast")),
        ("ephemeral-storage-resource-request", "-1", Some("invalid value: -1")),
        ("resource-percentage", "0.1", None),
        ("resourcePercentage", "half", Some("invalid value: half")),
        ("resource-percentage", "NaN", Some("invalid value: NaN")),
        ("resource-percentage", "0.05", Some("expected 0.1 <= 0.05 <= 100")),
        ("resource-percentage", "101", Some("expected 0.1 <= 101 <= 100")),
    ] {
        let faults = faults(&[(&format!("{SIDECAR}{key}"), value)], &config(&[]));
        assert_eq!(
            faults.text(),
            message.map(|message| format!("{message}: {PLACE}{SIDECAR}{key}")),
            "{value}"
        );
    }
}

#[test]
fn the_deadline_is_a_positive_number_of_seconds() {
    let key = "serving.knative.dev/progress-deadline";
    for (value, message) in [
        ("10m", None),
        ("1s", None),
        ("600", Some("invalid value: 600")),
        ("", Some("invalid value: ")),
        ("1500ms", Some("progress-deadline=1500ms is not at second precision")),
        ("-5s", Some("progress-deadline=-5s must be positive")),
        ("0s", Some("progress-deadline=0s must be positive")),
    ] {
        let said = text(&[(key, value)], &config(&[]));
        assert_eq!(said, message.map(|message| format!("{message}: {PLACE}{key}")).unwrap_or_default());
    }
}

#[test]
fn a_template_without_a_spec_has_no_containers() {
    let said = template_faults(&RevisionTemplate::default(), &Config::default()).text();
    assert_eq!(said.as_deref(), Some("missing field(s): spec.containers"));
}
