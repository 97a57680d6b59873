//! The cost of one service to the autoscaler: recording a report, reading a window, making a decision.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use ebb_annotations::{Aggregation, ClusterDefaults, Metric, Reachability, Rules, ScalingSpec, parse};
use ebb_core::{Tick, stat::Stat};
use ebb_decide::{
    decider::{Decider, Observation},
    windows::{MetricWindows, Window},
};

const MINUTE: Duration = Duration::from_secs(60);
const AGGREGATIONS: [(Aggregation, &str); 2] =
    [(Aggregation::Linear, "linear"), (Aggregation::WeightedExponential, "weighted")];

/// A service without annotations, with this aggregation.
fn spec(aggregation: Aggregation) -> ScalingSpec {
    let stock = parse(&BTreeMap::default(), &ClusterDefaults::default(), Reachability::Reachable);
    ScalingSpec { aggregation, ..stock.expect("no annotation, no fault").spec }
}

/// The second after a full minute of records.
fn end_of_minute() -> Tick {
    Tick::from_epoch(MINUTE)
}

fn stat(in_flight: f64) -> Stat {
    Stat { average_concurrent_requests: in_flight, request_count: in_flight * 3.0, ..Stat::default() }
}

fn full_windows(spec: &ScalingSpec) -> MetricWindows {
    let mut windows = MetricWindows::new(spec);
    for second in 0..MINUTE.as_secs() {
        windows.record(Tick::from_secs(second), &stat(second as f64));
    }
    windows
}

fn record(c: &mut Criterion) {
    let mut windows = full_windows(&spec(Aggregation::Linear));
    let report = stat(7.0);
    c.bench_function("record/same second", |b| {
        b.iter(|| windows.record(black_box(end_of_minute()), black_box(&report)));
    });
    let mut second = MINUTE.as_secs();
    c.bench_function("record/next second", |b| {
        b.iter(|| {
            second += 1;
            windows.record(black_box(Tick::from_secs(second)), black_box(&report));
        });
    });
}

fn average(c: &mut Criterion) {
    for (aggregation, name) in AGGREGATIONS {
        for (rules, by) in [(Rules::Mended, ""), (Rules::Reference, ", the reference's arithmetic")] {
            let mut window = Window::new(aggregation, MINUTE, Duration::from_secs(1), rules);
            for second in 0..=MINUTE.as_secs() {
                window.record(Tick::from_secs(second), second as f64);
            }
            c.bench_function(&format!("average/{name} 60 s{by}"), |b| {
                b.iter(|| window.average(black_box(end_of_minute())));
            });
        }
    }
}

/// The cost of a window per second: one record and one average, including work that is done only now and
/// then.
fn second(c: &mut Criterion) {
    for (aggregation, name) in AGGREGATIONS {
        let mut window = Window::new(aggregation, MINUTE, Duration::from_secs(1), Rules::Mended);
        let mut second = 0;
        c.bench_function(&format!("record and average/{name} 60 s, second by second"), |b| {
            b.iter(|| {
                second += 1;
                let now = Tick::from_secs(second);
                window.record(now, black_box(7.0));
                window.average(now)
            });
        });
    }
}

fn decision(c: &mut Criterion) {
    for (aggregation, name) in AGGREGATIONS {
        let spec = ScalingSpec { scale_down_delay: MINUTE, ..spec(aggregation) };
        let mut windows = full_windows(&spec);
        let mut decider = Decider::new(Tick::ZERO, 3, &spec);
        c.bench_function(&format!("decision/{name} with window reads"), |b| {
            b.iter(|| {
                let now = black_box(end_of_minute());
                let averages = |metric| windows.averages(metric, now).expect("a full window has data");
                let [concurrency, rps] = [Metric::Concurrency, Metric::Rps].map(averages);
                let seen = Observation {
                    ready_pods: 3,
                    concurrency,
                    rps,
                    fresh: true,
                    regular: true,
                    ..Observation::default()
                };
                decider.decide(now, &spec, &seen)
            });
        });
    }
}

criterion_group!(decider, record, average, second, decision);
criterion_main!(decider);
