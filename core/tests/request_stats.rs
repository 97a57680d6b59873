//! The averages and counts of `request_stats.json`, to the last bit.

use ebb_core::{
    Tick,
    request_stats::{Origin, Report, RequestStats},
};
use ebb_vectors::{Vectors, float};
use serde_json::Value;

#[test]
fn vectors_request_stats() {
    let vectors = Vectors::load("request_stats.json");
    let mut reports = 0;
    for case in vectors.rows("cases") {
        // Some operations lie in the past; the epoch leaves room for them.
        let epoch = 1 << 60;
        let mut stats = RequestStats::new(Tick::from_nanos(epoch));
        for op in case["ops"].as_array().unwrap() {
            let now = Tick::from_nanos(epoch.checked_add_signed(op[1].as_i64().unwrap()).unwrap());
            match op[0].as_str().unwrap() {
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
    }
    assert!(reports > 0, "no reports");
    println!("{reports} reports compared");
}

fn wanted(op: &Value) -> Report {
    Report {
        average_concurrency: float(&op[2]),
        average_proxied_concurrency: float(&op[3]),
        requests: float(&op[4]),
        proxied_requests: float(&op[5]),
    }
}
