//! Tests every case of `annotations.json`, under every configuration that it names.

use std::collections::{BTreeMap, BTreeSet};

use ebb_vectors::{Vectors, agree, float, list};
use serde_json::{Value, json};

use super::*;
use crate::effective::RPS_UTILIZATION;
use crate::{
    Aggregation, FaultKind, GoDuration, TargetBurstCapacity,
    annotations::{text_of, value_of},
    keys, parse,
};

/// A case under one configuration.
struct Case<'a> {
    label: String,
    annotations: Texts,
    container_concurrency: Option<NonZeroU32>,
    reachability: Reachability,
    defaults: &'a ClusterDefaults,
    want: &'a Value,
}

impl Case<'_> {
    fn effective(&self) -> Effective {
        effective(&self.annotations, self.defaults, self.container_concurrency, self.reachability)
    }
}

/// Runs `check` on every case under every configuration, and prints how many there were.
fn for_every_case(check: impl Fn(&Case<'_>)) {
    let vectors = Vectors::load("annotations.json");
    let configs: BTreeMap<_, _> = vectors
        .rows("configs")
        .iter()
        .map(|row| (text(&row["id"]), defaults(&texts(&row["data"])).unwrap()))
        .collect();
    let mut compared = 0;
    for row in vectors.rows("cases") {
        for want in list(&row["results"]) {
            let config = text(&want["config"]);
            check(&Case {
                label: format!("{} under {config}: {}", row["name"], row["annotations"]),
                annotations: texts(&row["annotations"]),
                container_concurrency: NonZeroU32::new(pods(&row["container_concurrency"])),
                reachability: reachability(&row["reachability"]),
                defaults: &configs[&config],
                want,
            });
            compared += 1;
        }
    }
    assert!(compared > 0, "no cases");
    println!("{compared} cases compared");
}

fn texts(object: &Value) -> Texts {
    object.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Returns a number of pods or requests; an absent one is zero.
fn pods(value: &Value) -> u32 {
    value.as_u64().unwrap_or_else(|| if value.is_null() { 0 } else { panic!("{value}") }).try_into().unwrap()
}

/// Unknown counts as reachable.
fn reachability(value: &Value) -> Reachability {
    match value.as_str().unwrap() {
        "Unreachable" => Reachability::Unreachable,
        "Unknown" | "Reachable" => Reachability::Reachable,
        other => panic!("{other}"),
    }
}

fn burst_capacity(capacity: TargetBurstCapacity) -> f64 {
    match capacity {
        TargetBurstCapacity::Unlimited => -1.0,
        TargetBurstCapacity::Requests(requests) => requests,
    }
}

#[test]
fn maps_and_limits_may_be_absent_and_floats_no_numbers() {
    assert_eq!(texts(&Value::Null), Texts::new());
    assert_eq!(texts(&json!({"a": "0"})), Texts::from([("a".to_owned(), "0".to_owned())]));
    assert_eq!((pods(&Value::Null), pods(&json!(7))), (0, 7));
    for (number, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf")] {
        assert_agree("forms", "float", number, &json!(shown));
    }
    assert_agree("forms", "float", 70.0, &json!(70));
}

#[test]
#[should_panic(expected = "forms: float: got inf, want 70")]
fn an_infinity_is_no_number() {
    assert_agree("forms", "float", f64::INFINITY, &json!(70));
}

#[track_caller]
fn assert_agree(label: &str, what: &str, got: f64, want: &Value) {
    assert!(agree(got, float(want)), "{label}: {what}: got {got}, want {want}");
}

#[test]
fn vectors_annotations_faults() {
    for_every_case(|case| {
        let faults = faults(&case.annotations, case.defaults);
        let got: BTreeSet<_> = faults.iter().map(|f| (f.key.clone(), kind_name(f.kind).to_owned())).collect();
        let want: BTreeSet<_> =
            list(&case.want["errors"]).iter().map(|e| (text(&e[0]), text(&e[1]))).collect();
        assert_eq!(got, want, "{}", case.label);
    });
}

fn kind_name(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Invalid => "invalid",
        FaultKind::OutOfBounds => "bounds",
        FaultKind::Other => "other",
    }
}

#[test]
fn vectors_annotations_effective_values() {
    for_every_case(|case| {
        let (label, want, got) = (&case.label, case.want, case.effective());
        assert_eq!(json!([got.min_scale, got.max_scale]), want["scale_bounds"], "{label}: scale bounds");
        assert_agree(label, "target", got.target, &want["metric_target"][0]);
        assert_agree(label, "total", got.total, &want["metric_target"][1]);
        assert_eq!(json!(got.stable_window.as_nanos()), want["stable_window_ns"], "{label}: stable window");
        let panic_window = got.panic_window.map(GoDuration::as_nanos);
        assert_eq!(json!(panic_window), want["panic_window_ns"], "{label}: panic window");
        let retention = got.pod_retention_period.as_nanos();
        assert_eq!(json!(retention), want["last_pod_retention_ns"], "{label}: retention");
        let thresholds = json!([got.first_active_threshold(), got.active_threshold()]);
        assert_eq!(thresholds, want["active_threshold"], "{label}: active thresholds");
    });
}

#[test]
fn vectors_annotations_decider() {
    for_every_case(|case| {
        let (label, want, got) = (&case.label, &case.want["decider"], case.effective());
        assert_eq!(got.metric, want["scaling_metric"], "{label}: metric");
        assert_agree(label, "target", got.target, &want["target_value"]);
        assert_agree(label, "total", got.total, &want["total_value"]);
        let burst_capacity = burst_capacity(got.target_burst_capacity);
        assert_agree(label, "burst capacity", burst_capacity, &want["target_burst_capacity"]);
        assert_agree(label, "activator", case.defaults.activator_capacity, &want["activator_capacity"]);
        assert_agree(label, "panic threshold", got.panic_threshold, &want["panic_threshold"]);
        assert_agree(label, "up rate", case.defaults.max_scale_up_rate, &want["max_scale_up_rate"]);
        assert_agree(label, "down rate", case.defaults.max_scale_down_rate, &want["max_scale_down_rate"]);
        assert_eq!(json!(got.stable_window.as_nanos()), want["stable_window_ns"], "{label}: stable window");
        assert_eq!(json!(got.scale_down_delay.as_nanos()), want["scale_down_delay_ns"], "{label}: delay");
        assert_eq!(json!(got.initial_scale), want["initial_scale"], "{label}: initial scale");
        assert_eq!(json!(got.activation_scale), want["activation_scale"], "{label}: activation scale");
        let reachable = got.reachability == Reachability::Reachable;
        assert_eq!(json!(reachable), want["reachable"], "{label}: reachable");
    });
}

#[test]
fn vectors_annotations_accessors() {
    let vectors = Vectors::load("annotations.json");
    let rows = vectors.rows("cases");
    for row in rows {
        let annotations = texts(&row["annotations"]);
        let (label, want, got) = (&row["annotations"], &row["accessors"], Annotations::read(&annotations));
        let resolved = effective(&annotations, &ClusterDefaults::default(), None, Reachability::Reachable);
        assert_eq!(resolved.class, want["class"], "{label}: class");
        assert_eq!(resolved.metric, want["metric"], "{label}: metric");
        assert_eq!(json!(value_of(got.activation_scale.as_ref())), want["activation_scale"], "{label}");
        let initial_scale = value_of(got.initial_scale.as_ref()).and_then(|wide| i32::try_from(wide).ok());
        assert_eq!(json!(initial_scale), want["initial_scale"], "{label}: initial scale");
        let algorithm = match text_of(got.aggregation.as_ref()).unwrap_or_default() {
            "weightedExponential" => "weighted-exponential",
            other => other,
        };
        assert_eq!(algorithm, want["aggregation_algorithm"], "{label}: aggregation algorithm");
        for (reading, unit, name) in [
            (&got.target, 1.0, "target"),
            (&got.target_utilization, 100.0, "target_utilization"),
            (&got.target_burst_capacity, 1.0, "target_burst_capacity"),
            (&got.panic_window, 1.0, "panic_window_percentage"),
            (&got.panic_threshold, 1.0, "panic_threshold_percentage"),
        ] {
            match value_of(reading.as_ref()) {
                None => assert!(want[name].is_null(), "{label}: {name}: got none, want {}", want[name]),
                Some(value) => assert_agree(&label.to_string(), name, value / unit, &want[name]),
            }
        }
        for (reading, name) in [
            (&got.window, "window_ns"),
            (&got.scale_down_delay, "scale_down_delay_ns"),
            (&got.pod_retention, "pod_retention_ns"),
            (&got.progress_deadline, "progress_deadline_ns"),
        ] {
            let nanos = value_of(reading.as_ref()).map(GoDuration::as_nanos);
            assert_eq!(json!(nanos), want[name], "{label}: {name}");
        }
    }
    println!("{} cases compared", rows.len());
}

#[test]
fn vectors_annotations_config_maps() {
    let vectors = Vectors::load("annotations.json");
    let (configs, maps) = (vectors.rows("configs"), vectors.rows("config_maps"));
    for row in configs.iter().chain(maps) {
        let got = defaults(&texts(&row["data"]));
        let accepted = row.get("ok").is_none_or(|ok| ok == true);
        assert_eq!(got.is_ok(), accepted, "{}: {got:?}", row["data"]);
        if let Ok(defaults) = got {
            assert_config(&row["data"].to_string(), &defaults, &row["config"]);
        }
    }
    println!("{} maps compared", configs.len() + maps.len());
}

fn assert_config(label: &str, got: &ClusterDefaults, want: &Value) {
    let or_zero = |pods: Option<NonZeroU32>| pods.map_or(0, NonZeroU32::get);
    for (got, name) in [
        (json!(got.scale_to_zero), "enable_scale_to_zero"),
        (json!(got.allow_zero_initial_scale), "allow_zero_initial_scale"),
        (json!(got.initial_scale), "initial_scale"),
        (json!(got.min_scale), "min_scale"),
        (json!(or_zero(got.max_scale)), "max_scale"),
        (json!(or_zero(got.max_scale_limit)), "max_scale_limit"),
        (json!(got.class), "pod_autoscaler_class"),
    ] {
        assert_eq!(got, want[name], "{label}: {name}");
    }
    for (got, name) in [
        (got.utilization, "container_concurrency_target_fraction"),
        (got.total, "container_concurrency_target_default"),
        (got.rps_total, "rps_target_default"),
        // No key sets it, so Ebb has no field for it.
        (RPS_UTILIZATION, "target_utilization"),
        (burst_capacity(got.target_burst_capacity), "target_burst_capacity"),
        (got.activator_capacity, "activator_capacity"),
        (got.max_scale_up_rate, "max_scale_up_rate"),
        (got.max_scale_down_rate, "max_scale_down_rate"),
        (got.panic_window_percentage, "panic_window_percentage"),
        (got.panic_threshold_percentage, "panic_threshold_percentage"),
    ] {
        assert_agree(label, name, got, &want[name]);
    }
    for (got, name) in [
        (got.stable_window, "stable_window_ns"),
        (got.scale_to_zero_grace_period, "scale_to_zero_grace_period_ns"),
        (got.pod_retention_period, "scale_to_zero_pod_retention_period_ns"),
        (got.scale_down_delay, "scale_down_delay_ns"),
    ] {
        assert_eq!(json!(GoDuration::from(got).as_nanos()), want[name], "{label}: {name}");
    }
}

/// The reference accepts everything that Ebb accepts, with the same meaning.
#[test]
fn vectors_annotations_ebb_accepts_less_and_means_the_same() {
    for_every_case(|case| {
        let label = &case.label;
        let mut annotations = case.annotations.clone();
        let capacity = case.container_concurrency.map_or(0, NonZeroU32::get);
        annotations.insert(keys::CONTAINER_CONCURRENCY.name.to_owned(), capacity.to_string());
        let Ok(parsed) = parse(&annotations, case.defaults, case.reachability) else { return };
        assert_eq!(list(&case.want["errors"]), [] as [Value; 0], "{label}");
        let (spec, want) = (parsed.spec, case.effective());
        assert_eq!(spec.metric.as_str(), want.metric, "{label}");
        assert_eq!((spec.target, spec.total), (want.target, want.total), "{label}");
        assert_eq!(spec.target_burst_capacity, want.target_burst_capacity, "{label}");
        assert_eq!(i64::from(spec.min_scale), want.min_scale, "{label}");
        assert_eq!(spec.max_scale.map_or(0, |max| i64::from(max.get())), want.max_scale, "{label}");
        assert_eq!(i64::from(spec.initial_scale), want.initial_scale, "{label}");
        assert_eq!(spec.activation_scale.map_or(0, |s| i64::from(s.get())), want.activation_scale, "{label}");
        assert_eq!(i64::from(spec.active_threshold(false)), want.first_active_threshold(), "{label}");
        assert_eq!(i64::from(spec.active_threshold(true)), want.active_threshold(), "{label}");
        assert_eq!(GoDuration::from(spec.stable_window), want.stable_window, "{label}");
        assert_eq!(Some(GoDuration::from(spec.panic_window)), want.panic_window, "{label}");
        assert_eq!(spec.panic_threshold, want.panic_threshold, "{label}");
        assert_eq!(spec.serving.container_concurrency, case.container_concurrency, "{label}");
    });
}

#[test]
fn an_unknown_algorithm_averages_linearly_in_the_reference() {
    let annotations = Texts::from([(keys::AGGREGATION.name.to_owned(), "cubic".to_owned())]);
    let defaults = ClusterDefaults::default();
    assert_eq!(faults(&annotations, &defaults), []);
    let effective = effective(&annotations, &defaults, None, Reachability::Reachable);
    assert_eq!(effective.aggregation, Aggregation::Linear);
}
