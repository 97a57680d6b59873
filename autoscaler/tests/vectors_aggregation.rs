//! `aggregation.json`: windows, operation by operation.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

use std::time::Duration;

use autoscaler::windows::{MaxWindow, Smoothing, Window};
use ebb_core::{
    Tick,
    scaling::{Aggregation, Rules},
};
use ebb_vectors::{Vectors, agree, float};
use serde_json::Value;

fn millis(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().expect("milliseconds"))
}

/// The time `value`, which counts from the epoch of `case`.
fn at(case: &Value, value: &Value) -> Tick {
    Tick::from_secs(case["epoch_unix_s"].as_u64().expect("an epoch")).after(millis(value))
}

/// Runs every case of `section`.
fn compare_windows(section: &str, aggregation: Aggregation) {
    let vectors = Vectors::load("aggregation.json");
    let mut compared = 0;
    for case in vectors.rows(section) {
        let granularity = millis(&case["granularity_ms"]);
        let mut window = Window::new(aggregation, millis(&case["window_ms"]), granularity, Rules::Reference);
        for (index, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            let now = at(case, &op[1]);
            let name = || format!("{section} {} op {index}: {op}", case["name"]);
            match op[0].as_str().unwrap() {
                "r" => window.record(now, float(&op[2])),
                "w" => window.reshape(now, aggregation, millis(&op[2])),
                "e" => assert_eq!(window.is_empty(now), op[2].as_bool().unwrap(), "{}", name()),
                "a" => {
                    let got = window.average(now);
                    assert!(agree(got, float(&op[2])), "{}: got {got}", name());
                }
                other => panic!("{}: unknown operation {other}", name()),
            }
            compared += usize::from(matches!(op[0].as_str(), Some("a" | "e")));
        }
    }
    println!("{section}: {compared} values in {} cases", vectors.rows(section).len());
    assert_ne!(compared, 0);
}

#[test]
fn vectors_aggregation_linear() {
    compare_windows("linear", Aggregation::Linear);
}

#[test]
fn vectors_aggregation_weighted() {
    compare_windows("weighted", Aggregation::WeightedExponential);
}

#[test]
fn vectors_aggregation_smoothing() {
    let vectors = Vectors::load("aggregation.json");
    let rows = vectors.rows("smoothing_coeff");
    for row in rows {
        let got = Smoothing::over(row[0].as_i64().unwrap()).weight();
        assert!(agree(got, float(&row[1])), "smoothing_coeff {row}: got {got}");
    }
    println!("smoothing_coeff: {} values", rows.len());
}

#[test]
fn vectors_aggregation_max() {
    let vectors = Vectors::load("aggregation.json");
    let mut compared = 0;
    for case in vectors.rows("max_window") {
        let mut window = MaxWindow::new(millis(&case["duration_ms"]), millis(&case["granularity_ms"]));
        for (index, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            match op[0].as_str().unwrap() {
                "r" => window.record(at(case, &op[1]), u32::try_from(op[2].as_u64().unwrap()).unwrap()),
                "c" => {
                    let want = op[1].as_u64().unwrap();
                    assert_eq!(u64::from(window.current()), want, "{} op {index}", case["name"]);
                    compared += 1;
                }
                other => panic!("max_window {}: unknown operation {other}", case["name"]),
            }
        }
    }
    println!("max_window: {compared} values");
    assert_ne!(compared, 0);
}
