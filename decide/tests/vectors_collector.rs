//! `collector.json`: what the windows of one service answer, and what a round of scraping says.

#![allow(clippy::unwrap_used, reason = "a vector of another form must fail its test")]

mod stock;

use std::time::Duration;

use ebb_annotations::{Aggregation, Metric, ScalingSpec};
use ebb_core::{Tick, stat::Stat};
use ebb_decide::{
    sampling::{Refusal, Sample, SampleError, sample_size},
    windows::{Averages, MetricWindows, NoData},
};
use ebb_vectors::{Vectors, agree, float, instant, integer, list, millis};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use stock::{burst_capacity, reference_spec};

/// A stat of `[concurrency, proxied concurrency, requests, proxied requests]`.
fn stat_of(numbers: &[Value]) -> Stat {
    Stat {
        average_concurrent_requests: float(&numbers[0]),
        average_proxied_concurrent_requests: float(&numbers[1]),
        request_count: float(&numbers[2]),
        proxied_request_count: float(&numbers[3]),
        ..Stat::default()
    }
}

fn fields(stat: &Stat) -> [f64; 4] {
    [
        stat.average_concurrent_requests,
        stat.average_proxied_concurrent_requests,
        stat.request_count,
        stat.proxied_request_count,
    ]
}

/// One collection of the reference: windows that may not exist.
struct Collection {
    spec: ScalingSpec,
    windows: Option<MetricWindows>,
    /// The error of the last scrape, as whoever watches was told.
    error: String,
}

impl Collection {
    fn of(trace: &Value) -> Self {
        let spec = ScalingSpec {
            aggregation: match trace["algorithm"].as_str().unwrap() {
                "weighted-exponential" | "weightedExponential" => Aggregation::WeightedExponential,
                _ => Aggregation::Linear,
            },
            stable_window: millis(&trace["stable_window_ms"]),
            panic_window: millis(&trace["panic_window_ms"]),
            // Without a scrape target nothing is scraped, and that follows from an unlimited capacity.
            target_burst_capacity: burst_capacity(if trace["scrape_target"] == "" { -1.0 } else { 211.0 }),
            ..reference_spec()
        };
        let windows = Some(MetricWindows::new(&spec));
        Self { spec, windows, error: String::new() }
    }

    fn record(&mut self, now: Tick, stat: &Stat) {
        if let Some(windows) = &mut self.windows {
            windows.record(now, stat);
        }
    }

    fn set_lengths(&mut self, stable: &Value, panic: &Value) {
        self.spec =
            ScalingSpec { stable_window: millis(stable), panic_window: millis(panic), ..self.spec.clone() };
    }

    /// `want` is `[stable, panic, error]`.
    fn compare(&mut self, metric: Metric, now: Tick, want: &[Value], name: &str) {
        let got = self.windows.as_mut().map(|windows| windows.averages(metric, now));
        match (got, want[2].as_str().unwrap()) {
            (None, "not_collecting") | (Some(Err(NoData)), "no_data") => {}
            (Some(Ok(Averages { stable, panic })), "") => {
                assert!(
                    agree(stable, float(&want[0])),
                    "{name}: {metric:?} stable {stable}, not {}",
                    want[0]
                );
                assert!(agree(panic, float(&want[1])), "{name}: {metric:?} panic {panic}, not {}", want[1]);
            }
            (got, _) => panic!("{name}: {metric:?} {got:?}, not {want:?}"),
        }
    }

    fn run(&mut self, epoch: &Value, op: &[Value], name: &str) -> usize {
        let now = Tick::from_epoch(instant(epoch, &op[1]));
        match op[0].as_str().unwrap() {
            "rec" => self.record(now, &stat_of(&op[3..7])),
            "scr" => {
                if let Some(numbers) = op[3].as_array() {
                    self.record(now, &stat_of(numbers));
                }
                if self.windows.is_some() {
                    let error = op[2].as_str().unwrap().to_owned();
                    let informed = std::mem::replace(&mut self.error, error) != self.error;
                    assert_eq!(informed, op[4].as_bool().unwrap(), "{name}: informed");
                }
            }
            "upd" => {
                self.set_lengths(&op[2], &op[3]);
                if let Some(windows) = &mut self.windows {
                    windows.resize(now, &self.spec);
                }
            }
            "del" => self.windows = None,
            "create" => {
                self.set_lengths(&op[2], &op[3]);
                self.windows = Some(MetricWindows::new(&self.spec));
            }
            "q" => {
                self.compare(Metric::Concurrency, now, &op[2..5], name);
                self.compare(Metric::Rps, now, &op[5..8], name);
                return 1;
            }
            other => panic!("{name}: unknown operation {other}"),
        }
        0
    }
}

#[test]
fn vectors_collector_traces() {
    let vectors = Vectors::load("collector.json");
    let compared: usize = vectors.rows("traces").iter().map(compare_trace).sum();
    println!("traces: {compared} queries in {} traces", vectors.rows("traces").len());
    assert_ne!(compared, 0);
}

/// Returns how many queries were compared.
fn compare_trace(trace: &Value) -> usize {
    let mut collection = Collection::of(trace);
    let mut compared = 0;
    for (index, op) in list(&trace["ops"]).iter().enumerate() {
        let name = format!("{} op {index}", trace["name"]);
        compared += collection.run(&trace["epoch_unix_s"], list(op), &name);
    }
    compared
}

#[test]
fn stats_may_be_absent_or_no_numbers_and_times_may_lie_before_their_epoch() {
    let trace = json!({
        "name": "forms", "epoch_unix_s": 946_684_800, "algorithm": "linear", "stable_window_ms": 60000,
        "panic_window_ms": 6000, "scrape_target": "svc", "has_scraper": true, "ops": [
            ["scr", -2000, "err-1", null, true], ["q", -2000, 0, 0, "no_data", 0, 0, "no_data"],
            ["rec", -1000, "pod", 3, 1.5, 4, 0], ["q", -1000, 1.5, 1.5, "", 4, 4, ""],
            ["rec", -1000, "pod", "+Inf", 0, "NaN", 0], ["q", -1000, 1.5, 1.5, "", 4, 4, ""],
        ],
    });
    assert_eq!(compare_trace(&trace), 3);
}

#[test]
fn vectors_collector_sample_size() {
    let vectors = Vectors::load("collector.json");
    let rows = vectors.rows("sample_size");
    for row in rows {
        // Fewer than no pods cannot be said here; the reference asks none of them.
        let pods = usize::try_from(integer(&row[0])).unwrap_or(0);
        assert_eq!(sample_size(pods) as u64, row[1].as_u64().unwrap(), "sample_size {row}");
    }
    println!("sample_size: {} values", rows.len());
}

/// How a round reaches the pods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Directly,
    ThroughService,
}

/// Asks the pods of a round in the order of the sample until enough answered.
fn scrape(round: &Value, way: Way, window: Duration, rng: &mut StdRng) -> Result<Option<Stat>, SampleError> {
    let pods = list(&round["pods"])
        .iter()
        .filter(|pod| pod["phase"] == "Running" && pod["ready"] == true && pod["terminating"] == false);
    let sample = Sample::draw(pods.map(|pod| (pod, millis(&pod["age_ms"]))), window, rng);
    sample.conclude(sample.candidates.iter().map(|pod| {
        let outcome = if way == Way::Directly { &pod["direct"] } else { &round["service"] };
        match outcome.as_str().unwrap() {
            "ok" => Ok(stat_of(pod["stat"].as_array().unwrap())),
            "mesh" => Err(Refusal::MeshLike),
            _ => Err(Refusal::Other),
        }
    }))
}

fn compare_round(got: Result<Option<Stat>, SampleError>, way: Way, round: &Value, name: &str) {
    let error = match (&got, way) {
        (Ok(_), _) => "",
        (Err(_), Way::ThroughService) => "other",
        (Err(SampleError::PodsExhausted), _) => "pods_exhausted",
        (Err(SampleError::DirectScrapingNotAvailable), _) => "direct_scraping_not_available",
    };
    assert_eq!(error, round["error"].as_str().unwrap(), "{name}");
    let got = got.ok().flatten();
    assert_eq!(got.is_none(), round["stat"].is_null(), "{name}: {got:?}");
    if let (Some(got), Some(want)) = (got, round["stat"].as_array()) {
        for (got, want) in fields(&got).into_iter().zip(want) {
            assert!(agree(got, float(want)), "{name}: {got}, not {want}");
        }
    }
}

/// What a round says, whichever way it took. Ebb asks pods directly always; which way the reference takes is
/// followed here, so that its samples through a service's address are compared, too.
#[test]
fn vectors_collector_scrapes() {
    let vectors = Vectors::load("collector.json");
    let mut rng = StdRng::seed_from_u64(1);
    let mut compared = 0;
    for case in vectors.rows("scrapes") {
        let window = millis(&case["window_ms"]);
        let (mesh_mode, falls_back) = (
            case["mesh_mode"].as_str().unwrap(),
            case["mesh_mode"] == "auto" && case["passthrough"] == false,
        );
        let mut addressable = true;
        for (index, round) in list(&case["rounds"]).iter().enumerate() {
            let name = format!("{} round {index}", case["name"]);
            let mut way = match mesh_mode {
                "enabled" => Way::ThroughService,
                _ if falls_back && !addressable => Way::ThroughService,
                _ => Way::Directly,
            };
            let mut got = scrape(round, way, window, &mut rng);
            if way == Way::Directly && falls_back && got == Err(SampleError::DirectScrapingNotAvailable) {
                way = Way::ThroughService;
                got = scrape(round, way, window, &mut rng);
                addressable &= got.is_err();
            }
            compare_round(got, way, round, &name);
            assert_eq!(addressable, round["pods_addressable_after"].as_bool().unwrap(), "{name}");
            compared += 1;
        }
    }
    println!("scrapes: {compared} rounds");
    assert_ne!(compared, 0);
}
