//! `autoscaler.json`: decisions, tick by tick.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

mod stock;

use std::num::NonZeroU32;

use ebb_annotations::{Metric, ScalingSpec, TargetBurstCapacity};
use ebb_core::Tick;
use ebb_decide::{
    decider::{Decider, Decision, Mode, Observation, Status},
    windows::Averages,
};
use ebb_vectors::{Vectors, float, instant, integer, list, millis};
use serde_json::{Value, json};
use stock::{burst_capacity, reference_spec};

/// What `flags` of the file says about a tick's inputs.
mod flag {
    pub(crate) const PODS_NOT_FOUND: u64 = 3;
    pub(crate) const PODS_ERROR: u64 = 4;
    /// Without these the caller does not ask for a decision.
    pub(crate) const NOT_ASKED: [u64; 3] = [1, 2, PODS_ERROR];
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_else(|| panic!("{value} is no number of pods"))).unwrap()
}

/// Every negative number is unlimited for a decider; annotations have -1 only.
fn traced_burst_capacity(number: f64) -> TargetBurstCapacity {
    if number < 0.0 { TargetBurstCapacity::Unlimited } else { burst_capacity(number) }
}

fn spec_of(value: &Value) -> ScalingSpec {
    ScalingSpec {
        metric: if value["scaling_metric"] == "rps" { Metric::Rps } else { Metric::Concurrency },
        target: float(&value["target_value"]),
        total: float(&value["total_value"]),
        target_burst_capacity: traced_burst_capacity(float(&value["target_burst_capacity"])),
        max_scale_up_rate: float(&value["max_scale_up_rate"]),
        max_scale_down_rate: float(&value["max_scale_down_rate"]),
        panic_threshold: float(&value["panic_threshold"]),
        stable_window: millis(&value["stable_window_ms"]),
        scale_down_delay: millis(&value["scale_down_delay_ms"]),
        // Up to one it asks for nothing.
        activation_scale: u32::try_from(integer(&value["activation_scale"])).ok().and_then(NonZeroU32::new),
        reachable: value["reachable"].as_bool().unwrap(),
        ..reference_spec()
    }
}

/// Compares one tick: the decision, if one is to be made, and the panic after it.
fn compare_tick(decider: &mut Decider, spec: &ScalingSpec, epoch: &Value, row: &Value, name: &str) {
    let now = Tick::from_epoch(instant(epoch, &row[0]));
    let flag = row[4].as_u64().unwrap();
    let asked = !flag::NOT_ASKED.contains(&flag);
    assert_eq!(asked, row[7] == 1, "{name}: whether the result is valid");
    if asked {
        // The other metric holds unrelated numbers.
        let averages = Averages { stable: float(&row[1]), panic: float(&row[2]) };
        let seen = Observation {
            ready_pods: if flag == flag::PODS_NOT_FOUND { 0 } else { number(&row[3]) },
            concurrency: averages,
            rps: averages,
            fresh: true,
            regular: true,
            ..Observation::default()
        };
        let got = decider.decide(now, spec, &seen);
        let want = (integer(&row[5]), integer(&row[6]));
        assert_eq!((i64::from(got.desired_pods), got.excess_burst_capacity), want, "{name}: {got:?}");
    }
    let panic = decider.panic();
    let got = (panic.mode() == Mode::Panic, i64::from(panic.peak()));
    assert_eq!(got, (row[8] == 1, integer(&row[9])), "{name}: panic");
}

#[test]
fn vectors_autoscaler_traces() {
    let vectors = Vectors::load("autoscaler.json");
    let compared: usize = vectors.rows("traces").iter().map(compare_trace).sum();
    println!("traces: {compared} ticks in {} traces", vectors.rows("traces").len());
    assert_ne!(compared, 0);
}

/// Returns how many ticks were compared.
fn compare_trace(trace: &Value) -> usize {
    let epoch = &trace["epoch_unix_s"];
    let mut spec = spec_of(&trace["spec"]);
    let pods_known = trace["initial_flag"].as_u64().unwrap() < flag::PODS_NOT_FOUND;
    let ready_at_start = if pods_known { number(&trace["initial_ready"]) } else { 0 };
    let mut decider = Decider::new(Tick::from_epoch(instant(epoch, &json!(0))), ready_at_start, &spec);
    let ticks = list(&trace["ticks"]);
    for (index, row) in ticks.iter().enumerate() {
        for update in list(&trace["updates"]).iter().filter(|update| update["before_tick"] == index) {
            spec = spec_of(&update["spec"]);
        }
        compare_tick(&mut decider, &spec, epoch, row, &format!("{} tick {index}", trace["name"]));
    }
    ticks.len()
}

#[test]
fn updates_may_be_absent_and_every_negative_burst_capacity_is_unlimited() {
    let trace = json!({
        "name": "forms", "epoch_unix_s": 946_684_800, "initial_ready": 1, "initial_flag": 0, "updates": null,
        "spec": {
            "scaling_metric": "", "target_value": 10, "total_value": 20, "target_burst_capacity": -2.5,
            "max_scale_up_rate": "+Inf", "max_scale_down_rate": 2, "panic_threshold": 2,
            "stable_window_ms": 60000, "scale_down_delay_ms": 0, "activation_scale": -1, "reachable": true,
        },
        "ticks": [[2000, 15, 15, 1, 0, 2, -1, 1, 1, 2], [4000, 0, 0, 0, 1, 0, 0, 0, 1, 2]],
    });
    assert_eq!(compare_trace(&trace), 2);
}

#[test]
fn vectors_autoscaler_initial_status() {
    let vectors = Vectors::load("autoscaler.json");
    let rows = vectors.rows("initial_status");
    for row in rows {
        let spec = ScalingSpec {
            target_burst_capacity: burst_capacity(float(&row[0])),
            total: float(&row[1]),
            initial_scale: number(&row[2]),
            ..reference_spec()
        };
        let status = Status::initial(&spec);
        assert_eq!(row[3], -1, "the scale is unknown at first");
        assert_eq!(status.desired_pods(), None);
        assert_eq!(status.excess_burst_capacity(), integer(&row[4]), "initial_status {row}");
    }
    println!("initial_status: {} rows", rows.len());
}

#[test]
fn vectors_autoscaler_status_updates() {
    let vectors = Vectors::load("autoscaler.json");
    let mut compared = 0;
    for case in vectors.rows("status_updates") {
        let mut status = Status::initial(&reference_spec());
        let decision = |pods: &Value, capacity: &Value| Decision {
            desired_pods: number(pods),
            excess_burst_capacity: integer(capacity),
            ..Decider::new(Tick::ZERO, 0, &reference_spec()).decide(
                Tick::ZERO,
                &reference_spec(),
                &Observation::default(),
            )
        };
        // An unknown scale is the initial status; its burst capacity only matters by its sign, and a
        // first decision changes the scale, so that it is told in any case.
        if case["initial_desired"] != -1 {
            let _told = status.update(&decision(&case["initial_desired"], &case["initial_ebc"]));
        }
        for (index, step) in list(&case["steps"]).iter().enumerate() {
            let told = status.update(&decision(&step[0], &step[1]));
            assert_eq!(told, step[2].as_bool().unwrap(), "status_updates step {index} of {case}");
            compared += 1;
        }
    }
    println!("status_updates: {compared} steps");
    assert_ne!(compared, 0);
}
