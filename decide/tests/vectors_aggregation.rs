//! `aggregation.json`: windows, operation by operation.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

use ebb_annotations::{Aggregation, Rules};
use ebb_core::Tick;
use ebb_decide::windows::{MaxWindow, Smoothing, Window};
use ebb_vectors::{Vectors, agree, float, instant, integer, list, millis};
use serde_json::{Value, json};

/// The time `value`, which counts from the epoch of `case`.
fn at(case: &Value, value: &Value) -> Tick {
    Tick::from_epoch(instant(&case["epoch_unix_s"], value))
}

/// Runs every case of `section`.
fn compare_windows(section: &str, aggregation: Aggregation) {
    let vectors = Vectors::load("aggregation.json");
    let compared: usize = vectors.rows(section).iter().map(|case| compare_window(case, aggregation)).sum();
    println!("{section}: {compared} values in {} cases", vectors.rows(section).len());
    assert_ne!(compared, 0);
}

/// Returns how many values were compared.
fn compare_window(case: &Value, aggregation: Aggregation) -> usize {
    let granularity = millis(&case["granularity_ms"]);
    let mut window = Window::new(aggregation, millis(&case["window_ms"]), granularity, Rules::Reference);
    let mut compared = 0;
    for (index, op) in list(&case["ops"]).iter().enumerate() {
        let now = at(case, &op[1]);
        let name = || format!("{aggregation:?} {} op {index}: {op}", case["name"]);
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
    compared
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
        let got = Smoothing::over(integer(&row[0])).weight();
        assert!(agree(got, float(&row[1])), "smoothing_coeff {row}: got {got}");
    }
    println!("smoothing_coeff: {} values", rows.len());
}

#[test]
fn vectors_aggregation_max() {
    let vectors = Vectors::load("aggregation.json");
    let compared: usize = vectors.rows("max_window").iter().map(compare_max_window).sum();
    println!("max_window: {compared} values");
    assert_ne!(compared, 0);
}

/// Returns how many values were compared.
fn compare_max_window(case: &Value) -> usize {
    let mut window = MaxWindow::new(millis(&case["duration_ms"]), millis(&case["granularity_ms"]));
    let (mut recorded, mut compared) = (false, 0);
    for (index, op) in list(&case["ops"]).iter().enumerate() {
        match op[0].as_str().unwrap() {
            "r" => {
                window.record(at(case, &op[1]), raised(integer(&op[2])));
                recorded = true;
            }
            "c" => {
                let want = if recorded { raised(integer(&op[1])) } else { 0 };
                assert_eq!(window.current(), want, "max_window {} op {index}: {op}", case["name"]);
                assert!(recorded || op[1] == 0, "max_window {} op {index}: {op}", case["name"]);
                compared += 1;
            }
            other => panic!("max_window {}: unknown operation {other}", case["name"]),
        }
    }
    compared
}

/// The reference records numbers with a sign, Ebb pods, of which there are never fewer than none. Raised by
/// as much as the least of them lacks, they keep their order, and that is all that a maximum looks at.
fn raised(signed: i64) -> u32 {
    u32::try_from(signed - i64::from(i32::MIN)).unwrap_or_else(|_| panic!("{signed} has more than 32 bits"))
}

#[test]
fn records_may_be_negative_and_times_may_lie_before_their_epoch() {
    let case = json!({"name": "signs", "granularity_ms": 2000, "duration_ms": 10000, "epoch_unix_s": 946_684_800, "ops": [
        ["c", 0], ["r", -4000, -3], ["c", -3], ["r", 0, -7], ["c", -3], ["r", 2000, 0], ["c", 0],
        ["r", 20000, i32::MIN], ["c", i32::MIN], ["r", 20000, i32::MAX], ["c", i32::MAX],
    ]});
    assert_eq!(compare_max_window(&case), 6);
    let case = json!({"name": "signs", "granularity_ms": 1000, "window_ms": 5000, "epoch_unix_s": 946_684_800, "ops": [
        ["r", -1500, -2.5], ["a", -1500, -2.5], ["r", 0, 7], ["a", 0, 1.5], ["e", 6000, true],
    ]});
    assert_eq!(compare_window(&case, Aggregation::Linear), 3);
}

/// Ebb leaves such records out, where the reference's windows would never be numbers again.
#[test]
fn records_that_are_no_numbers_are_read_and_a_case_may_have_no_operations() {
    let case = json!({"name": "odd", "granularity_ms": 1000, "window_ms": 5000, "epoch_unix_s": 946_684_800, "ops": [
        ["r", 0, 2], ["r", 0, "+Inf"], ["r", 0, "-Inf"], ["r", 0, "NaN"], ["a", 0, 2],
    ]});
    assert_eq!(compare_window(&case, Aggregation::Linear), 1);
    assert_eq!(compare_max_window(&json!({"granularity_ms": 2000, "duration_ms": 10000, "ops": null})), 0);
}

#[test]
#[should_panic(expected = "max_window \"wrong\" op 1")]
fn another_maximum_fails() {
    let ops = json!([["r", 0, -3], ["c", 0]]);
    compare_max_window(
        &json!({"name": "wrong", "granularity_ms": 2000, "duration_ms": 10000, "epoch_unix_s": 9, "ops": ops}),
    );
}
