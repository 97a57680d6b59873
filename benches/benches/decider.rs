//! What one service costs the autoscaler: a report recorded, a window read, a decision made.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use autoscaler::{
    decider::{Decider, Observation},
    windows::{MetricWindows, Window, WindowRules},
};
use criterion::{Criterion, criterion_group, criterion_main};
use ebb_core::{
    Tick,
    scaling::{Aggregation, ClusterDefaults, Metric, Reachability, ScalingSpec, parse},
    stat::Stat,
};

const MINUTE: Duration = Duration::from_secs(60);
const AGGREGATIONS: [(Aggregation, &str); 2] =
    [(Aggregation::Linear, "linear"), (Aggregation::WeightedExponential, "weighted")];

/// A service without annotations, averaging as `aggregation` says.
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
    let mut windows = MetricWindows::new(spec, WindowRules::Mended);
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
        let mut window = Window::new(aggregation, MINUTE, Duration::from_secs(1), WindowRules::Mended);
        for second in 0..MINUTE.as_secs() {
            window.record(Tick::from_secs(second), second as f64);
        }
        c.bench_function(&format!("average/{name} 60 s"), |b| {
            b.iter(|| black_box(&window).average(black_box(end_of_minute())));
        });
    }
}

fn decision(c: &mut Criterion) {
    for (aggregation, name) in AGGREGATIONS {
        let spec = ScalingSpec { scale_down_delay: MINUTE, ..spec(aggregation) };
        let windows = full_windows(&spec);
        let mut decider = Decider::new(Tick::ZERO, 3, &spec);
        c.bench_function(&format!("decision/{name} with window reads"), |b| {
            b.iter(|| {
                let now = black_box(end_of_minute());
                let averages = windows.averages(Metric::Concurrency, now).expect("a full window has data");
                let seen = Observation { ready_pods: 3, stable: averages.stable, panic: averages.panic };
                decider.decide(now, &spec, &seen)
            });
        });
    }
}

criterion_group!(decider, record, average, decision);
criterion_main!(decider);
