//! `scale_to_zero.json`: the way down to zero, pass by pass.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

mod stock;

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use ebb_annotations::{ClusterDefaults, Reachability, ScalingSpec, TargetBurstCapacity, compat::effective};
use ebb_core::Tick;
use ebb_decide::zero::{
    ACTIVATION_BUFFER, ActivatorAnswer, Activity, Facts, InactiveCause, MIN_ACTIVATORS, Outcome,
    PROXY_RECHECK, Path, Probe, Published, ScaleState, Scaling, apply_bounds, next_activity, num_activators,
    scale, step,
};
use ebb_vectors::{Vectors, float, instant, list, millis};
use serde_json::{Value, json};
use stock::{burst_capacity, reference_spec};

/// Long after the epoch, so that times in the past can be said.
const NOW: Tick = Tick::from_secs(1_000_000_000);

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_else(|| panic!("{value} is no number of pods"))).unwrap()
}

/// Pods, where -1 means unknown, as whatever is absent is.
fn known(value: &Value) -> Option<u32> {
    (!value.is_null() && *value != -1).then(|| number(value))
}

/// The spec that `annotations` make under `config`.
fn spec_of(config: &Value, annotations: &Value, reachability: &Value) -> ScalingSpec {
    let defaults = ClusterDefaults {
        scale_to_zero: config["enable_scale_to_zero"].as_bool().unwrap(),
        scale_to_zero_grace_period: millis(&config["grace_ms"]),
        pod_retention_period: millis(&config["retention_ms"]),
        stable_window: millis(&config["stable_window_ms"]),
        target_burst_capacity: burst_capacity(float(&config["target_burst_capacity"])),
        allow_zero_initial_scale: config["allow_zero_initial_scale"].as_bool().unwrap(),
        initial_scale: number(&config["initial_scale"]),
        min_scale: number(&config["min_scale"]),
        max_scale: NonZeroU32::new(number(&config["max_scale"])),
        progress_deadline: millis(&config["progress_deadline_ms"]),
        ..ClusterDefaults::default()
    };
    under(&defaults, annotations, reachability)
}

/// The spec that `annotations` make under `defaults`, those among them too that admission would refuse.
fn under(defaults: &ClusterDefaults, annotations: &Value, reachability: &Value) -> ScalingSpec {
    let reachability =
        if reachability == "Unreachable" { Reachability::Unreachable } else { Reachability::Reachable };
    let effective = effective(&texts(annotations), defaults, None, reachability);
    ScalingSpec {
        scale_to_zero: defaults.scale_to_zero,
        scale_to_zero_grace_period: defaults.scale_to_zero_grace_period,
        pod_retention_period: effective.pod_retention_period.to_std(),
        stable_window: effective.stable_window.to_std(),
        progress_deadline: effective.progress_deadline.to_std(),
        target_burst_capacity: effective.target_burst_capacity,
        total: effective.total,
        initial_scale: bound(effective.initial_scale),
        min_scale: bound(effective.min_scale),
        max_scale: NonZeroU32::new(bound(effective.max_scale)),
        reachable: reachability == Reachability::Reachable,
        ..reference_spec()
    }
}

/// A bound, of which a negative one bounds nothing.
fn bound(pods: i64) -> u32 {
    u32::try_from(pods.max(0)).unwrap()
}

fn texts(annotations: &Value) -> BTreeMap<String, String> {
    let pairs = annotations.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// The activity of a condition that has its status since `since`; one that is missing begins now.
fn activity_of(status: &Value, since: Tick) -> Activity {
    match status.as_str().unwrap() {
        "True" => Activity::Active { since },
        "Unknown" => Activity::Activating { since },
        "Missing" => Activity::Activating { since: NOW },
        "False" => Activity::Inactive { since, cause: InactiveCause::NoTraffic },
        other => panic!("{other} is no status"),
    }
}

fn path_of(mode: &Value) -> Path {
    if mode == "Serve" { Path::Serve } else { Path::Proxy }
}

fn condition(activity: &Activity) -> Value {
    match activity {
        Activity::Active { .. } => json!(["True", ""]),
        Activity::Activating { .. } => json!(["Unknown", "Queued"]),
        Activity::Inactive { cause: InactiveCause::NoTraffic, .. } => json!(["False", "NoTraffic"]),
        Activity::Inactive { cause: InactiveCause::TimedOut, .. } => json!(["False", "TimedOut"]),
    }
}

fn since(activity: &Activity) -> Tick {
    match activity {
        Activity::Active { since } | Activity::Activating { since } | Activity::Inactive { since, .. } => {
            *since
        }
    }
}

/// Makes a pass, and again with the probe's answer if it asks for one. Returns the probes made as well.
fn with_probe<T>(
    facts: &Facts,
    answer: &Value,
    mut pass: impl FnMut(&Facts) -> T,
    wants: fn(&T) -> Option<Probe>,
) -> (T, [u64; 2]) {
    let first = pass(facts);
    if wants(&first) != Some(Probe::Now) {
        return (first, [0, 0]);
    }
    let activator_answer = if answer == "ok" { ActivatorAnswer::Yes } else { ActivatorAnswer::No };
    let second = pass(&Facts { activator_answer, ..*facts });
    let in_background = u64::from(wants(&second) == Some(Probe::UntilAnswered));
    (second, [1, in_background])
}

/// What the shell writes: the decision, if it differs.
fn written(apply: Option<u32>, replicas: &Value) -> Value {
    let replicas = if replicas.is_null() { 1 } else { number(replicas) };
    apply.filter(|pods| *pods != replicas).map_or(Value::Null, Value::from)
}

fn requeued(wake_after: Option<Duration>) -> Vec<Value> {
    wake_after.iter().map(|delay| u64::try_from(delay.as_millis()).unwrap().into()).collect()
}

#[test]
fn vectors_scale_to_zero_constants() {
    let constants = Vectors::load("scale_to_zero.json").value("constants").clone();
    assert_eq!(ACTIVATION_BUFFER, millis(&constants["activation_timeout_buffer_ms"]));
    assert_eq!(PROXY_RECHECK, millis(&constants["proxy_mode_requeue_ms"]));
    assert_eq!(MIN_ACTIVATORS, number(&constants["min_activators"]));
}

#[test]
fn vectors_scale_to_zero_cases() {
    let vectors = Vectors::load("scale_to_zero.json");
    let cases = vectors.rows("cases");
    for case in cases {
        let (pa, out) = (&case["pa"], &case["out"]);
        let spec = spec_of(&case["config"], &pa["annotations"], &pa["reachability"]);
        let state = ScaleState {
            activity: activity_of(&pa["active"], NOW.before(millis(&pa["active_since_ms"]))),
            initialized: pa["scale_target_initialized"].as_bool().unwrap(),
            wanted_pods: None,
        };
        let published = Published {
            path: path_of(&case["sks"]["mode"]),
            proxied_since: case["sks"]["proxy_for_ms"]
                .as_u64()
                .map(|ms| NOW.before(Duration::from_millis(ms))),
        };
        let facts = Facts {
            desired_pods: known(&case["desired"]),
            excess_burst_capacity: 0,
            ready_pods: 0,
            scheduled_pods: 0,
            published: Some(published),
            service_known: true,
            activator_answer: ActivatorAnswer::NotAsked,
        };
        let (got, probes): (Scaling, _) = with_probe(
            &facts,
            &case["probe"],
            |facts| scale(&spec, &state, facts, &published, NOW),
            |scaling| scaling.probe,
        );
        let name = format!("case {}: {got:?}", case["name"]);
        let missing = case["deployment_missing"] == true;
        let write = if missing { Value::Null } else { written(got.apply, &case["replicas"]) };
        let error = got.apply.is_some() && missing || !write.is_null() && case["patch_refused"] == true;
        assert_eq!(got.wanted_pods, known(&out["scale"]), "{name}");
        assert_eq!(error, out["error"].as_bool().unwrap(), "{name}: error");
        assert_eq!(write, out["patched"], "{name}: patched");
        assert_eq!(requeued(got.wake_after), list(&out["requeue_ms"]), "{name}: requeue");
        assert_eq!(json!(probes), json!([out["sync_probes"], out["async_probes"]]), "{name}: probes");
    }
    println!("cases: {}", cases.len());
}

#[test]
fn vectors_scale_to_zero_apply_bounds() {
    let vectors = Vectors::load("scale_to_zero.json");
    let rows = vectors.rows("apply_bounds");
    for row in rows {
        let max = NonZeroU32::new(number(&row[1]));
        // Below any minimum there is nothing, so unknown is bounded as zero is.
        let got = apply_bounds(number(&row[0]), max, known(&row[2]).unwrap_or(0));
        assert_eq!(got, number(&row[3]), "apply_bounds {row}");
    }
    println!("apply_bounds: {}", rows.len());
}

#[test]
fn vectors_scale_to_zero_num_activators() {
    let vectors = Vectors::load("scale_to_zero.json");
    let rows = vectors.rows("num_activators");
    for row in rows {
        let spec = ScalingSpec {
            target_burst_capacity: burst_capacity(float(&row[1])),
            total: float(&row[2]),
            activator_capacity: float(&row[3]),
            ..reference_spec()
        };
        assert_eq!(num_activators(&spec, number(&row[0])), number(&row[4]), "num_activators {row}");
    }
    println!("num_activators: {}", rows.len());
}

#[test]
fn vectors_scale_to_zero_active_condition() {
    let vectors = Vectors::load("scale_to_zero.json");
    let cases = vectors.rows("active_condition");
    for case in cases {
        let defaults = ClusterDefaults {
            allow_zero_initial_scale: case["allow_zero_initial_scale"] == true,
            ..ClusterDefaults::default()
        };
        let spec = under(&defaults, &case["annotations"], &case["reachability"]);
        let initialized = case["scale_target_initialized"] == true;
        let threshold = spec.active_threshold(initialized);
        let ready = number(&case["ready"]);
        let before = activity_of(&case["active"], NOW);
        let after = next_activity(before, known(&case["want"]), ready, threshold, NOW);
        let out = &case["out"];
        // A reason that the reference had not set stays unset; here a service always rests for a cause.
        let kept = before.is_inactive() && after == before && out["reason"] == "";
        let want = if kept { json!(["False", "NoTraffic"]) } else { json!([out["active"], out["reason"]]) };
        assert_eq!(condition(&after), want, "active_condition {case}");
        let initialized = initialized || case["has_service"] == true && ready >= threshold;
        assert_eq!(initialized, out["scale_target_initialized"] == true, "active_condition {case}");
    }
    println!("active_condition: {}", cases.len());
}

/// The time `value` in `trace`.
fn at(trace: &Value, value: &Value) -> Tick {
    Tick::from_epoch(instant(&trace["epoch_unix_s"], value))
}

/// A service that is followed through a trace of passes.
struct Followed<'a> {
    trace: &'a Value,
    spec: ScalingSpec,
    state: ScaleState,
    service_known: bool,
}

impl<'a> Followed<'a> {
    fn of(trace: &'a Value) -> Self {
        let spec = spec_of(&trace["config"], &trace["annotations"], &trace["reachability"]);
        let state = ScaleState::new(at(trace, &json!(0)));
        Self { trace, spec, state, service_known: false }
    }

    fn facts(&mut self, row: &Value, now: Tick) -> Facts {
        let sks = &row["sks"];
        let published = (sks["private_service"] == true).then(|| Published {
            path: path_of(&sks["mode"]),
            proxied_since: sks["proxy_for_ms"].as_u64().map(|ms| now.before(Duration::from_millis(ms))),
        });
        if published.is_some() {
            self.service_known = sks["service"] == true;
        }
        Facts {
            desired_pods: known(&row["desired"]),
            excess_burst_capacity: row["ebc"].as_i64().unwrap_or_default(),
            ready_pods: number(&row["pods"][0]),
            scheduled_pods: 0,
            published,
            service_known: self.service_known,
            activator_answer: ActivatorAnswer::NotAsked,
        }
    }

    /// One pass, compared with the reference's. Conditions that only sum up others (`ready`, `sks_ready`)
    /// are left out: Ebb has no object to carry them.
    fn pass(&mut self, index: usize, row: &Value) {
        let now = at(self.trace, &row["t_ms"]);
        let facts = self.facts(row, now);
        let (got, probes): (Outcome, _) = with_probe(
            &facts,
            &row["probe"],
            |facts| step(&self.spec, &self.state, facts, now),
            |outcome| outcome.probe,
        );
        let name = format!("{} step {index}: {got:?}", self.trace["name"]);
        let out = &row["out"];
        assert_eq!(got.state.wanted_pods, known(&out["desired_scale"]), "{name}: desired scale");
        assert_eq!(condition(&got.state.activity), out["active"], "{name}: active");
        assert_eq!(
            since(&got.state.activity),
            at(self.trace, &out["active_since_ms"]),
            "{name}: active since"
        );
        assert_eq!(got.state.initialized, out["initialized"][0] == "True", "{name}: initialized");
        assert_eq!(got.path, path_of(&out["sks_mode"]), "{name}: mode");
        assert_eq!(got.activators, number(&out["sks_activators"]), "{name}: activators");
        if let Some(scrapes) = out["scrapes"].as_bool() {
            let scraped = self.spec.target_burst_capacity != TargetBurstCapacity::Unlimited;
            assert_eq!(scraped, scrapes, "{name}: scrapes");
        }
        assert_eq!(written(got.apply, &row["replicas"]), out["patched"], "{name}: patched");
        assert_eq!(requeued(got.wake_after), list(&out["requeue_ms"]), "{name}: requeue");
        assert_eq!(json!(probes), json!([out["sync_probes"], out["async_probes"]]), "{name}: probes");
        self.state = got.state;
    }
}

#[test]
fn vectors_scale_to_zero_reconcile_traces() {
    let vectors = Vectors::load("scale_to_zero.json");
    let mut compared = 0;
    for trace in vectors.rows("reconcile_traces") {
        let mut followed = Followed::of(trace);
        for (index, row) in list(&trace["steps"]).iter().enumerate() {
            followed.pass(index, row);
            compared += 1;
        }
    }
    println!("reconcile_traces: {compared} passes in {} traces", vectors.rows("reconcile_traces").len());
    assert_ne!(compared, 0);
}

/// A case's annotations under a configuration that says nothing.
fn annotated(annotations: &Value) -> ScalingSpec {
    under(&ClusterDefaults::default(), annotations, &json!("Reachable"))
}

#[test]
fn durations_have_every_form_that_the_reference_reads() {
    for (text, want) in [
        ("0", 0),
        ("+0", 0),
        ("-0s", 0),
        ("+45s", 45_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        (".5m", 30_000),
        ("6000ms", 6_000),
        ("7000000us", 7_000),
        ("7000000µs", 7_000),
        ("7000000μs", 7_000),
        ("8000000000ns", 8_000),
    ] {
        let spec = annotated(&json!({
            "autoscaling.knative.dev/window": text,
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period": text,
            "serving.knative.dev/progress-deadline": text,
        }));
        let got = [spec.stable_window, spec.pod_retention_period, spec.progress_deadline];
        assert_eq!(got, [Duration::from_millis(want); 3], "{text:?}");
    }
}

#[test]
fn numbers_have_every_form_that_the_reference_reads_and_older_keys_count() {
    let spec = annotated(&json!({
        "autoscaling.knative.dev/minScale": "+2",
        "autoscaling.knative.dev/max-scale": "007",
        "autoscaling.knative.dev/initialScale": "3",
        "autoscaling.knative.dev/targetBurstCapacity": "0x1p4",
        "autoscaling.knative.dev/target": "1_2e1",
    }));
    assert_eq!((spec.min_scale, spec.max_scale, spec.initial_scale), (2, NonZeroU32::new(7), 3));
    assert_eq!(spec.target_burst_capacity, TargetBurstCapacity::Requests(16.0));
    assert_eq!(spec.total, 120.0);
}

#[test]
fn annotations_that_cannot_be_read_count_as_absent() {
    let (plain, odd) = (annotated(&Value::Null), [" 5", "5x", "", "2147483648", "1e3", "five"]);
    for text in odd {
        let spec = annotated(&json!({
            "autoscaling.knative.dev/min-scale": text,
            "autoscaling.knative.dev/max-scale": text,
            "autoscaling.knative.dev/initial-scale": text,
            "autoscaling.knative.dev/window": text,
            "serving.knative.dev/progress-deadline": text,
            "example.com/other": text,
        }));
        assert_eq!(spec, plain, "{text:?}");
    }
    assert_eq!(annotated(&json!({"autoscaling.knative.dev/min-scale": "-4"})), plain);
}

#[test]
fn what_is_absent_is_null() {
    assert_eq!((known(&json!(-1)), known(&Value::Null), known(&json!(3))), (None, None, Some(3)));
    assert_eq!(written(Some(2), &Value::Null), json!(2), "replicas that are not set are one");
    assert_eq!(written(Some(1), &Value::Null), Value::Null);
    assert_eq!(requeued(None), list(&Value::Null));
    assert_eq!(requeued(Some(Duration::from_micros(1_500))), list(&json!([1])));
}
