//! The averages and counts of `request_stats.json`, to the last bit.

use ebb_core::{
    Tick,
    request_stats::{Origin, Report, RequestStats},
};
use ebb_vectors::{Vectors, float, integer, list};
use serde_json::{Value, json};

#[test]
fn vectors_request_stats() {
    let vectors = Vectors::load("request_stats.json");
    let reports: usize = vectors.rows("cases").iter().map(compare).sum();
    assert!(reports > 0, "no reports");
    println!("{reports} reports compared");
}

/// Returns how many reports were compared.
fn compare(case: &Value) -> usize {
    // Some operations lie in the past; the epoch leaves room for them.
    let epoch = 1 << 60;
    let mut stats = RequestStats::new(Tick::from_nanos(epoch));
    let mut reports = 0;
    for op in list(&case["ops"]) {
        let now = Tick::from_nanos(epoch.checked_add_signed(integer(&op[1])).expect("a time"));
        match op[0].as_str().expect("the name of an operation") {
            "in" => stats.begin(now, Origin::Direct),
            "pin" => stats.begin(now, Origin::Proxied),
            "out" => stats.end(now, Origin::Direct),
            "pout" => stats.end(now, Origin::Proxied),
            "rep" => {
                assert_eq!(stats.report(now), wanted(op), "{}: at {}", case["name"], op[1]);
                reports += 1;
            }
            other => panic!("{}: unknown operation {other}", case["name"]),
        }
    }
    reports
}

#[test]
fn times_may_lie_in_the_past_and_averages_below_zero() {
    let ops =
        json!([["out", 0], ["rep", 2_000_000_000_u64, -1, 0, 0, 0], ["in", -5], ["rep", -5, 0, 0, 1, 0]]);
    assert_eq!(compare(&json!({"name": "forms", "ops": ops})), 2);
    assert_eq!(compare(&json!({"name": "forms", "ops": null})), 0);
}

fn wanted(op: &Value) -> Report {
    Report {
        average_concurrency: float(&op[2]),
        average_proxied_concurrency: float(&op[3]),
        requests: float(&op[4]),
        proxied_requests: float(&op[5]),
    }
}
