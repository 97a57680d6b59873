//! `autoscaler.json`: decisions, tick by tick.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

mod stock;

use std::{num::NonZeroU32, time::Duration};

use autoscaler::{
    decider::{Decider, Decision, Mode, Observation, Status},
    windows::Averages,
};
use ebb_core::{
    Tick,
    scaling::{Metric, ScalingSpec},
};
use ebb_vectors::{Vectors, float};
use serde_json::Value;
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

fn spec_of(value: &Value) -> ScalingSpec {
    let millis = |name: &str| Duration::from_millis(value[name].as_u64().unwrap());
    ScalingSpec {
        metric: if value["scaling_metric"] == "rps" { Metric::Rps } else { Metric::Concurrency },
        target: float(&value["target_value"]),
        total: float(&value["total_value"]),
        target_burst_capacity: burst_capacity(float(&value["target_burst_capacity"])),
        max_scale_up_rate: float(&value["max_scale_up_rate"]),
        max_scale_down_rate: float(&value["max_scale_down_rate"]),
        panic_threshold: float(&value["panic_threshold"]),
        stable_window: millis("stable_window_ms"),
        scale_down_delay: millis("scale_down_delay_ms"),
        activation_scale: NonZeroU32::new(number(&value["activation_scale"])),
        reachable: value["reachable"].as_bool().unwrap(),
        ..reference_spec()
    }
}

/// Compares one tick: the decision, if one is to be made, and the panic after it.
fn compare_tick(decider: &mut Decider, spec: &ScalingSpec, epoch: Tick, row: &Value, name: &str) {
    let now = epoch.after(Duration::from_millis(row[0].as_u64().unwrap()));
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
        let want = (number(&row[5]), row[6].as_i64().unwrap());
        assert_eq!((got.desired_pods, got.excess_burst_capacity), want, "{name}: {got:?}");
    }
    let panic = decider.panic();
    assert_eq!((panic.mode() == Mode::Panic, panic.peak()), (row[8] == 1, number(&row[9])), "{name}: panic");
}

#[test]
fn vectors_autoscaler_traces() {
    let vectors = Vectors::load("autoscaler.json");
    let mut compared = 0;
    for trace in vectors.rows("traces") {
        let epoch = Tick::from_secs(trace["epoch_unix_s"].as_u64().unwrap());
        let mut spec = spec_of(&trace["spec"]);
        let pods_known = trace["initial_flag"].as_u64().unwrap() < flag::PODS_NOT_FOUND;
        let ready_at_start = if pods_known { number(&trace["initial_ready"]) } else { 0 };
        let mut decider = Decider::new(epoch, ready_at_start, &spec);
        let updates = trace["updates"].as_array().map_or(&[][..], Vec::as_slice);
        for (index, row) in trace["ticks"].as_array().unwrap().iter().enumerate() {
            for update in updates.iter().filter(|update| update["before_tick"] == index) {
                spec = spec_of(&update["spec"]);
            }
            compare_tick(&mut decider, &spec, epoch, row, &format!("{} tick {index}", trace["name"]));
            compared += 1;
        }
    }
    println!("traces: {compared} ticks in {} traces", vectors.rows("traces").len());
    assert_ne!(compared, 0);
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
        assert_eq!(status.excess_burst_capacity(), row[4].as_i64().unwrap(), "initial_status {row}");
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
            excess_burst_capacity: capacity.as_i64().unwrap(),
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
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            let told = status.update(&decision(&step[0], &step[1]));
            assert_eq!(told, step[2].as_bool().unwrap(), "status_updates step {index} of {case}");
            compared += 1;
        }
    }
    println!("status_updates: {compared} steps");
    assert_ne!(compared, 0);
}
